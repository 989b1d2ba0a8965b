"""An exception in a callback of the engine comes out of Machine.run unchanged and once; Ctrl-C at any moment."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import guests
import msharefs.module
from emu.cpu.cpu import Cpu
from emu.instructions.blocks import Blocks
from emu.instructions.hits import Hits
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.mm.address_space import AddressSpace
from tests.booted import MakeMachine
from tests.exhaustive import by_default
from tests.raising import RAISES, Broken, interrupt

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("nothing_is_left")


def jump_to(code: str) -> str:
    """A script that runs these bytes, and then says 7."""
    number = int.from_bytes(bytes.fromhex(code + "c3"), "little")
    return f"@p = mmap 0 4K RWX PRIVATE -1 0; @store p {number:#x}; @jump p; say 7"


PORT_IN_A_CHILD = (
    "@p = mmap 0 4K RWX PRIVATE -1 0; @store p 0xc360e4; @fork c; jump p; end; wait c; say 7"  # in al, 60h
)
IN_A_CHILD = "@p = mmap 0 4K RWX PRIVATE -1 0; @store p 0xc303cd; @fork c; jump p; end; wait c; say 7"  # int 3; ret

#: Callback -> where it is, and a script that gets there.
CALLBACKS: dict[str, tuple[Any, str]] = {
    "handle_fault": (AddressSpace, "@p = mmap 0 64K RW PRIVATE -1 0; touch p 64K; scan p 64K; say 7"),
    "_new_block": (Blocks, "say 7"),
    "_page_seen": (Blocks, "say 7"),
    "_on_hit": (Hits, PORT_IN_A_CHILD),
    "_on_rdtsc": (Cpu, jump_to("0f31")),
    "_on_rdtscp": (Cpu, jump_to("0f01f9")),
    "_on_interrupt": (Cpu, IN_A_CHILD),
}


class Once:
    """Acts before a call of a function, the Nth after ``left`` was set to N."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, act: Callable[[], None]) -> None:
        self.left = 0
        function = getattr(where, name)

        def called(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                act()
            return function(*arguments)

        monkeypatch.setattr(where, name, called)


OPTIONS: tuple[dict[str, object], ...] = ({}, {"tlb": "textbook"}, {"cpus": 2, "turn": 500})


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    by_default(
        [
            (name, kind, OPTIONS[(first + second) % len(OPTIONS)])
            for first, name in enumerate(CALLBACKS)
            for second, kind in enumerate(RAISES)
        ],
        list(product(CALLBACKS, RAISES, OPTIONS)),
    ),
)
def test_it_comes_out_of_run_once_and_the_machine_goes_on(
    machine: MakeMachine,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: type[BaseException],
    options: dict[str, object],
) -> None:
    where, script = CALLBACKS[name]
    undisturbed = machine(**options)
    expected = undisturbed.outcome("calls", script)
    once = Once(monkeypatch, where, name, RAISES[kind])
    booted = machine(**options)
    task = booted.spawn(guests.path("calls"), [script])
    once.left = 1
    with pytest.raises(kind):
        booted.run(timeout_s=60)
    assert once.left <= 0
    assert booted.run(timeout_s=60) == StopReason.EXITED
    assert task.exit_code == 0
    if kind is KeyboardInterrupt:
        assert booted.stdout == expected.stdout
        assert booted.kernel.cpu.clock == undisturbed.kernel.cpu.clock, "not an instruction more or less"


def test_an_exception_and_then_an_interrupt(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> None:
        interrupt()
        raise Broken

    once = Once(monkeypatch, AddressSpace, "handle_fault", act)
    booted = machine()
    booted.spawn(guests.path("hello"))
    once.left = 1
    with pytest.raises(KeyboardInterrupt) as caught:
        booted.run()
    assert isinstance(caught.value.__context__, Broken)
    booted.run()
    assert booted.stdout


def test_an_interrupt_in_a_destructor(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would print what __del__ raises."""

    class Dropped:
        def __del__(self) -> None:
            interrupt()

    def drop() -> None:
        Dropped()

    booted = machine()
    booted.spawn(guests.path("hello"))
    once = Once(monkeypatch, Cpu, "syscall_return", drop)
    once.left = 1
    with pytest.raises(KeyboardInterrupt):
        booted.run()
    booted.run()
    assert booted.stdout


def test_a_machine_within_a_machine(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback of one runs another: a Ctrl-C in a callback of the inner one ends both, and both can go on."""
    inner, outer = machine(), machine()
    faults: list[object] = []
    real = AddressSpace.handle_fault

    def fault(*arguments: Any) -> Any:
        faults.append(arguments)
        if len(faults) == 1:
            inner.run()
        elif len(faults) == 5:
            interrupt()
        return real(*arguments)

    tasks = [booted.spawn(guests.path("touch_pages"), ["64K"]) for booted in (inner, outer)]
    monkeypatch.setattr(AddressSpace, "handle_fault", fault)
    with pytest.raises(KeyboardInterrupt):
        outer.run()
    assert len(faults) == 5
    assert [booted.run() for booted in (inner, outer)] == [StopReason.EXITED] * 2
    assert [task.exit_code for task in tasks] == [0, 0]


@pytest.mark.usefixtures("no_garbage")
def test_an_interrupt_at_moments_by_chance() -> None:
    """Before instructions of Python all over a run, kernel code included, after which there is no going on."""

    def run(number: int) -> int:
        booted = Machine(
            8 << 20, modules={"msharefs": msharefs.module.init}, stdout=lambda _data: None, log=lambda _message: None
        )
        booted.spawn(guests.path("hello"))
        left = number

        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal left
            frame.f_trace_opcodes = True
            if event in ("call", "opcode"):
                left -= 1
                if left == 0:
                    interrupt()
            return trace

        before = sys.gettrace()
        gc.disable()  # what is raised in finalizers of what is collected is lost
        sys.settrace(trace)
        try:
            booted.run()
        finally:
            sys.settrace(before)
            gc.enable()
        return number - left

    total = run(-1)
    assert total > 5000
    for number in sorted(random.Random(4711).sample(range(1, total - 50), by_default(20, 60))):
        with pytest.raises(KeyboardInterrupt):
            run(number)


PROGRAM = """
import msharefs.module, guests
from emu.engine import hooks
from emu.machine import Machine
booted = Machine(8 << 20, modules={}, log=print)
booted.spawn(guests.path("hello"))
for name in ("enter_block", "call1"):
    real = getattr(hooks, name)
    def broken(*arguments):
        setattr(hooks, name, real)
        raise LookupError(name)
    setattr(hooks, name, broken)
    try:
        booted.run()
    except LookupError as error:
        print("raised", error, flush=True)
booted.run()
"""


def test_reference_mode() -> None:
    """There the block hook and the system-call hook are Python too."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.splitlines()[:2] == ["raised enter_block", "raised call1"]
