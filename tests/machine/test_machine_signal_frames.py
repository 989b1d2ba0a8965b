"""Frames of signal handlers, wherever they lie: natively in one page, through a buffer in two."""

from __future__ import annotations

import random

import pytest

import guests
from emu.cpu.registers import GENERAL
from emu.kernel.sigframe import SignalFrames
from emu.kernel.signal_state import SaFlags, SiCode, Sig, SigAction, SigInfo
from emu.mm.usercopy import UserCopy
from tests.booted import MakeMachine
from tests.machine.test_machine_fpu_image import image_of

_HANDLER, _RESTORER, _CODE = 0x40_0500, 0x40_0600, 0x40_1234
_RFLAGS = 0x246


@pytest.mark.parametrize("guest", ["fpu", "traps", "restart", "costs signals 20"])
def test_a_frame_in_two_pages_is_like_one_in_one(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, guest: str
) -> None:
    name, *words = guest.split()
    usual = machine().outcome(name, *words)
    assert usual.exit_status == 0
    monkeypatch.setattr(UserCopy, "window", lambda self, address, length, access: None)
    assert machine().outcome(name, *words) == usual


@pytest.mark.parametrize("unmasked", [False, True])
def test_registers_come_back_from_every_place(machine: MakeMachine, unmasked: bool) -> None:
    """An exception that is not masked is for Python to see, on the way back."""
    booted, draw = machine(), random.Random(unmasked)
    task, cpu = booted.spawn(guests.path("hello")), booted.kernel.cpu
    frames = SignalFrames(cpu)
    action = SigAction(_HANDLER, int(SaFlags.RESTORER), _RESTORER)
    for down in range(0, 4096, 16 * 7):
        registers = [draw.getrandbits(64) for _ in range(16)]
        registers[GENERAL["rsp"]] = (task.mm.start_stack & -4096) - down
        image = bytearray(image_of(draw))
        image[0], image[24], image[25] = (
            (image[0] & ~1, image[24], image[25]) if unmasked else (image[0] | 0x3F, image[24] | 0x80, image[25] | 0x1F)
        )
        cpu.set_general((*registers, 0), _RFLAGS)
        cpu.fpu.load(bytes(image))
        task.rip = _CODE
        assert frames.setup(task, SigInfo(Sig.USR1, SiCode.USER, pid=1), action, 0)
        frame = cpu.read("rsp")
        assert task.rip == cpu.read("rip") == _HANDLER and frame % 16 == 8 and cpu.rflags == _RFLAGS
        assert (cpu.read("rdi"), cpu.read("rsi"), cpu.read("rdx")) == (Sig.USR1, frame + 312, frame + 8)
        assert task.mm.read_u64(frame) == _RESTORER and task.mm.read_u32(frame + 312) == Sig.USR1
        assert cpu.fpu.save()[:5] == b"\x7f\x03\0\0\0" and not any(cpu.fpu.save()[32:])
        cpu.set_general((*([0] * 4), frame + 8, *([0] * 12)), 0x202)
        assert frames.restore(task) == registers[0]
        assert [cpu.read(name) for name in GENERAL][:16] == registers
        assert task.rip == cpu.read("rip") == _CODE and cpu.rflags == _RFLAGS and cpu.fpu.save() == image
