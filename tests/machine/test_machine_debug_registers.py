"""Breakpoints and watchpoints of a traced task, as its debug registers say."""

from __future__ import annotations

import errno

import pytest

from emu.kernel.debug_registers import DebugRegisters
from emu.linux.errors import LinuxError

_END = 1 << 47
_DR6, _DR7, _NOTHING, _STEP = 6, 7, 0xFFFF_0FF0, 0x4000
#: R/W and LEN of the first register, and its enabling bit.
_WRITE_4, _EXECUTE, _READ, _IO = 0xD0001, 0x00001, 0xF0001, 0x20001


def test_they_are_kept() -> None:
    registers = DebugRegisters()
    assert [registers[number] for number in range(8)] == [0, 0, 0, 0, 0, 0, _NOTHING, 0]
    registers.set(3, 0x1234, _END)
    registers.set(_DR7, 1 << 40 | 0x400, _END)
    assert (registers[3], registers[_DR7], registers.active) == (0x1234, 0, False)


@pytest.mark.parametrize(
    ("number", "value", "error"),
    [(4, 0, errno.EIO), (0, _END, errno.EINVAL), (_DR7, _IO, errno.EINVAL), (_DR7, _READ, errno.ENOSPC),
     (_DR7, 0x40001, errno.EINVAL)],
)  # fmt: skip
def test_what_is_refused_changes_nothing(number: int, value: int, error: int) -> None:
    registers = DebugRegisters()
    registers.set(0, 0x1000, _END)
    with pytest.raises(LinuxError) as raised:
        registers.set(number, value, _END)
    assert raised.value.errno == error
    assert (registers[0], registers[_DR7], registers.active) == (0x1000, 0, False)


def test_a_watchpoint_is_aligned() -> None:
    registers = DebugRegisters()
    registers.set(0, 0x1002, _END)
    with pytest.raises(LinuxError):
        registers.set(_DR7, _WRITE_4, _END)


def test_a_watchpoint_is_hit_by_a_change() -> None:
    memory = bytearray(0x2000)
    registers = DebugRegisters()
    registers.set(0, 0x1000, _END)
    registers.set(_DR7, _WRITE_4, _END)

    def step(*, stepping: bool = False) -> tuple[bool, int]:
        hit = registers.stepped(lambda address, length: bytes(memory[address : address + length]), stepping=stepping)
        return hit, registers[_DR6]

    def look() -> None:
        registers.look(lambda address, length: bytes(memory[address : address + length]))

    look()
    assert step() == (False, _NOTHING)
    look()
    memory[0x1004] = 1
    assert step() == (False, _NOTHING)
    look()
    memory[0x1003] = 1
    assert step() == (True, _NOTHING | 1)
    look()
    assert step(stepping=True) == (False, _NOTHING | _STEP)


def test_a_breakpoint_is_hit_once_each_time() -> None:
    registers = DebugRegisters()
    registers.set(0, 0x1000, _END)
    registers.set(_DR7, _EXECUTE, _END)
    hits = []
    for rip in (0x0FFF, 0x1000, 0x1000, 0x1001, 0x1000):
        hits.append(registers.breaks_at(rip))
        if not hits[-1]:
            registers.stepped(lambda address, length: b"", stepping=False)
    assert hits == [False, True, False, False, True]
    assert registers[_DR6] == _NOTHING | 1
    registers.clear()
    assert not registers.active
