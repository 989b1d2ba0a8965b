"""An exception in a hook stops the engine and comes out of emu_start unchanged and once; Ctrl-C at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from unicorn import (
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_INSN,
    UC_HOOK_INSN_INVALID,
    UC_HOOK_INTR,
    UC_HOOK_MEM_READ,
    UC_HOOK_TLB_FILL,
)
from unicorn.x86_const import UC_X86_INS_CPUID, UC_X86_INS_IN, UC_X86_INS_OUT, UC_X86_INS_SYSCALL

from mmu import EventKind, Mmu, PageFault
from mmu import guard as guard_module
from tests.mmu.exact_guest import ExactGuest, tiny
from tests.mmu.guest import CODE, DATA, DATA_PADDR, LOAD, OTHER, OTHER_PADDR, Guest
from tests.raising import RAISES, Broken, break_it, interrupt

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("nothing_is_left")
COUNT = "48ffc1"  # inc rcx


def plain() -> Guest:
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    return guest


def exact(**options: Any) -> ExactGuest:
    guest = ExactGuest(tiny(4), **options)
    guest.tables.map_page(DATA, DATA_PADDR)
    return guest


# ---- hooks of ours, and what they tell the user


def in_page_fault(act: Callable[[], None]) -> Guest:
    guest = plain()

    def on_page_fault(fault: PageFault) -> bool:
        act()
        guest.tables.map_page(fault.vaddr, OTHER_PADDR)
        return True

    guest.mmu.on_page_fault = on_page_fault
    guest.program(COUNT, LOAD, COUNT)
    return guest


def in_subscriber(act: Callable[[], None]) -> Guest:
    """Events of a filtered Mmu, when the ring is full."""
    guest = Guest(ring_capacity=64)
    for n in range(100):
        guest.tables.map_page(OTHER - 0x1000 * n, OTHER_PADDR)
    guest.mmu.events.enable(*EventKind)
    guest.mmu.events.subscribe(lambda events: act())
    guest.program(COUNT, "b964000000", "488b03", "4881eb00100000", "e2f4")  # 100 loads, a page each
    return guest


def in_exact_subscriber(act: Callable[[], None]) -> Guest:
    """The same in exact mode, told by the hook of a data access."""
    guest = exact(ring_capacity=64)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.mmu.events.subscribe(lambda events: act())
    guest.program(COUNT, "b964000000", "488b03", "e2fb")  # 100 loads of one page
    return guest


def in_stale_hit(act: Callable[[], None]) -> Guest:
    guest = exact()
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.mmu.check_tlb()
    guest.mmu.on_stale_hit = lambda hit: act()
    guest.program(LOAD)
    guest.run(rbx=OTHER)
    guest.tables.map_page(OTHER, DATA_PADDR)
    guest.program(COUNT, LOAD, COUNT)
    return guest


def in_code_looked_through(act: Callable[[], None]) -> Guest:
    """The search for privileged instructions in a page that is fetched."""
    guest = plain()
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.mmu.watch_privileged_instructions()
    read = guest.ram.read

    def reading(paddr: int, length: int) -> bytes:
        act()
        return read(paddr, length)

    guest.ram.read = reading  # type: ignore[method-assign]
    guest.program(COUNT, LOAD)
    return guest


OURS = (in_page_fault, in_subscriber, in_exact_subscriber, in_stale_hit, in_code_looked_through)


@pytest.mark.parametrize("kind", RAISES)
@pytest.mark.parametrize("make", OURS)
def test_our_hooks(make: Callable[[Callable[[], None]], Guest], kind: type[BaseException]) -> None:
    acts = [RAISES[kind]]

    def act() -> None:
        if acts:
            acts.pop()()

    guest = make(act)
    with pytest.raises(kind):
        guest.run(rbx=OTHER)
    assert guest.mmu.take_failure() is None, "it came out once"
    guest.run(rbx=OTHER)


def test_a_signal_leaves_the_access_for_later() -> None:
    """The handler of the fault has done its work; nothing of the instruction has happened, and it can go on."""
    acts = [interrupt]
    guest = in_page_fault(lambda: acts.pop()())
    with pytest.raises(KeyboardInterrupt):
        guest.run(rbx=OTHER, rcx=0)
    assert (guest["rip"], guest["rcx"]) == (CODE + 3, 1)
    guest.run(guest["rip"])
    assert (guest["rcx"], acts) == (2, [])


# ---- hooks of the user's

SPECIAL = {
    "block": (UC_HOOK_BLOCK, "90", 0),
    "code": (UC_HOOK_CODE, "90", 0),
    "memory": (UC_HOOK_MEM_READ, LOAD, 0),
    "interrupt": (UC_HOOK_INTR, "cc", 0),
    "in": (UC_HOOK_INSN, "e460", UC_X86_INS_IN),
    "out": (UC_HOOK_INSN, "e660", UC_X86_INS_OUT),
    "cpuid": (UC_HOOK_INSN, "0fa2", UC_X86_INS_CPUID),
    "syscall": (UC_HOOK_INSN, "0f05", UC_X86_INS_SYSCALL),
    "invalid": (UC_HOOK_INSN_INVALID, "0f0b", 0),
}


def hooked(name: str, act: Callable[[], None]) -> Guest:
    kind, code, instruction = SPECIAL[name]
    guest = plain()
    guest.program(COUNT, code, COUNT)

    def hook(*_arguments: Any) -> bool:
        act()
        return True

    guest.uc.hook_add(kind, hook, None, 1, 0, instruction)
    return guest


@pytest.mark.parametrize("kind", RAISES)
@pytest.mark.parametrize("name", SPECIAL)
def test_hooks_of_the_user(name: str, kind: type[BaseException]) -> None:
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        RAISES[kind]()

    guest = hooked(name, act)
    with pytest.raises(kind):
        guest.run(rbx=DATA)
    assert guest.mmu.take_failure() is None
    guest.uc.mem_write(0x60_0000, b"\xf4")  # a HLT, by its physical address
    guest.tables.map_page(0x70_0000, 0x60_0000)
    if name not in ("block", "code"):
        guest.run(0x70_0000)
    assert calls == [1]


def test_a_fill_hook_of_the_user_behind_ours() -> None:
    """The error of the access that could not be made does not hide it."""
    guest = plain()
    guest.program(LOAD)
    guest.uc.hook_add(UC_HOOK_TLB_FILL, lambda *_arguments: break_it())
    with pytest.raises(Broken):
        guest.run(rbx=OTHER)
    assert guest.mmu.take_failure() is None
    guest.run(rbx=DATA)


def test_what_an_exception_says_of_its_cause_stays() -> None:
    cause = KeyError("cause")

    def act() -> None:
        raise Broken from cause

    guest = in_page_fault(act)
    with pytest.raises(Broken) as caught:
        guest.run(rbx=OTHER)
    assert caught.value.__cause__ is cause


def test_a_hook_that_runs_the_engine() -> None:
    """An exception within comes out of the inner emu_start first."""
    guest = plain()
    seen: list[BaseException] = []
    guest.program(COUNT, "cc", COUNT)
    inner = CODE + 0x100
    guest.ram.write(0x10_0100, bytes.fromhex(LOAD + "f4"))

    def on_page_fault(fault: PageFault) -> bool:
        raise Broken

    def on_interrupt(*_arguments: Any) -> None:
        try:
            guest.uc.emu_start(inner, 0)
        except Broken as error:
            seen.append(error)
        interrupt()

    guest.mmu.on_page_fault = on_page_fault
    guest.uc.hook_add(UC_HOOK_INTR, on_interrupt)
    with pytest.raises(KeyboardInterrupt):
        guest.run(rbx=OTHER)
    assert len(seen) == 1


# ---- the worst moments


class Opcodes:
    """Calls a function before the Nth instruction of Python's that runs, in whatever function."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.left = number
        self._act = act

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes = True
        if event in ("call", "opcode"):
            self.left -= 1
            if self.left == 0:
                self._act()
        return self


def traced(number: int, act: Callable[[], None], run: Callable[[], object]) -> int:
    """Run it so; how many instructions were left."""
    tracer = Opcodes(number, act)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        run()
    finally:
        sys.settrace(before)
    return tracer.left


@pytest.mark.usefixtures("no_garbage")
def test_an_interrupt_before_any_instruction_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every wrapper before its ``try`` and within its ``except``, in Unicorn's own, and in the guard itself.

    Python looks for signals before some instructions only; here they come before each.
    """
    monkeypatch.setattr(guard_module, "_SIGNALS", (signal.SIGINT, signal.SIGTERM))
    guest = in_page_fault(lambda: None)
    guest.uc.hook_add(UC_HOOK_CODE, lambda *_arguments: None, None, CODE, CODE)

    def run() -> None:
        guest.tables.map_page(OTHER, OTHER_PADDR, P=0)
        guest.mmu.flush()
        guest.run(rbx=OTHER, rcx=0)

    run()
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    number, left = 0, 0
    while left <= 0:
        number += 1
        try:
            left = traced(number, interrupt, run)
        except KeyboardInterrupt:
            left = 0
        else:
            assert left > 0, f"what came before instruction {number} was lost"
        assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before, number
        assert guest.mmu.guard.interruption is None and guest.mmu.guard.failure is None
    assert number > 200
    run()
    assert guest["rcx"] == 2


def test_an_exception_and_then_an_interrupt_within_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt comes out; the exception is its context."""
    guest = in_page_fault(break_it)
    fail = guest.mmu.guard.fail

    def failing(error: BaseException) -> None:
        interrupt()
        fail(error)
        interrupt()

    monkeypatch.setattr(guest.mmu.guard, "fail", failing)
    with pytest.raises(KeyboardInterrupt) as caught:
        guest.run(rbx=OTHER)
    assert isinstance(caught.value.__context__, (Broken, KeyboardInterrupt))
    guest.run(rbx=DATA)


def test_a_handler_of_the_user_is_called_and_stays() -> None:
    calls: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        calls.append(number)
        if len(calls) == 2:
            raise Broken

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        guest = in_page_fault(lambda: signal.raise_signal(signal.SIGUSR1))
        guest.run(rbx=OTHER)
        guest.tables.map_page(OTHER, OTHER_PADDR, P=0)
        guest.mmu.flush()
        with pytest.raises(Broken):
            guest.run(rbx=OTHER)
        assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert calls == [signal.SIGUSR1] * 2


def test_a_handler_that_a_hook_installs_stays() -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Broken

    def install() -> None:
        signal.signal(signal.SIGINT, handler)

    before = signal.getsignal(signal.SIGINT)
    guest = in_page_fault(install)
    try:
        guest.run(rbx=OTHER)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_near_the_end_of_the_stack() -> None:
    """Where there is no room for a callback, the run does not begin."""
    guest = in_page_fault(lambda: None)
    handler, started = guest.mmu.on_page_fault, []

    def on_page_fault(fault: PageFault) -> bool:
        started.append(fault)
        assert handler is not None
        return handler(fault)

    def deeper(frames: int) -> None:
        if frames:
            deeper(frames - 1)
        else:
            guest.uc.emu_start(CODE, 0)

    guest.mmu.on_page_fault = on_page_fault
    outcomes = []
    for frames in range(sys.getrecursionlimit(), sys.getrecursionlimit() // 2, -1):
        guest.tables.map_page(OTHER, OTHER_PADDR, P=0)
        guest.mmu.flush()
        guest["rbx"], guest["rcx"] = OTHER, 0
        try:
            deeper(frames)
        except RecursionError:
            outcomes.append(False)
        else:
            assert guest["rcx"] == 2
            outcomes.append(True)
            if sum(outcomes) == 10:
                break
    assert outcomes.index(True) == len(outcomes) - 10
    assert len(started) in (10, 11)


PROGRAM = """
import signal, sys
from tests.mmu.test_mmu_guard import OURS, Broken, break_it, interrupt, OTHER
for make in OURS:
    for act, kind in ((break_it, Broken), (interrupt, KeyboardInterrupt)):
        acts = [act]
        guest = make(lambda: acts and acts.pop()())
        try:
            guest.run(rbx=OTHER)
        except kind:
            print(make.__name__, kind.__name__, guest.mmu.code)
        guest.run(rbx=OTHER)
library = guest.mmu._fill
from mmu import entries, hooks, walk
from tests.mmu.test_mmu_guard import plain, LOAD, DATA
guest = plain()
guest.program(LOAD)
real = hooks.walk
def walking(state, vaddr, access):
    hooks.walk = real
    raise Broken
hooks.walk = walking
try:
    guest.run(rbx=DATA)
except Broken:
    print("walk")
guest.run(rbx=DATA)
"""


def test_reference_mode() -> None:
    """There the hooks themselves are Python, and may raise too."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    expected = [f"{make.__name__} {kind} reference" for make in OURS for kind in ("Broken", "KeyboardInterrupt")]
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == ([*expected, "walk"], "", 0)


def test_another_start_of_emulation_is_not_hidden() -> None:
    """emu_start of the class takes what the user's own takes."""
    guest = plain()
    guest.program(LOAD)
    guest["rbx"] = DATA
    guest.uc.emu_start(begin=CODE, until=0, timeout=0, count=1)
    assert guest["rip"] == CODE + 3
    assert isinstance(guest.uc._unimmu, Mmu)  # type: ignore[attr-defined]


def test_each_thread_gets_what_was_raised_in_its_own_engine() -> None:
    """The main thread runs one too, in the middle of all others, and has its handlers and its hook back afterwards."""
    got: dict[int, list[str]] = {}
    together = threading.Barrier(5)

    def work(number: int) -> None:
        together.wait()
        said = got[number] = []
        for turn in range(20):
            guest = Guest()
            guest.program(COUNT)

            def broken(*_: object, what: str = f"{number}, {turn}") -> None:
                raise Broken(what)

            guest.uc.hook_add(UC_HOOK_CODE, broken)
            try:
                guest.run()
            except Broken as error:
                said.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    assert got == {number: [f"{number}, {turn}" for turn in range(20)] for number in range(5)}
