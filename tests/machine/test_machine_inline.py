"""Blocks that count themselves (emu.inline): every count, event and stop is what the hook makes it."""

from __future__ import annotations

import ctypes
import threading
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pytest
from unicorn import UC_HOOK_BLOCK, UC_HOOK_CODE, UC_HOOK_MEM_READ, UcError

import guests
import msharefs.module
from emu.inline.proof import Unproven, _prove
from emu.inline.sites import MOST_BLOCKS
from emu.testing import GuestMachine
from mmu import unicorn_abi
from mmu.objectcode import load
from tests.exhaustive import by_default
from tests.machine.both_ways import compare
from tests.machine.inline_programs import TEXT, elf, hold
from tests.native.guest import Guest, all_guests

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "calls": ("say 42; a = mmap 0 8K RW MAP_PRIVATE|MAP_ANON -1 0; store a 1; fork c; load a; exit 3",),
    "faults": ("regs",),
    "region_stress": ("3", "2", "256K"),
    "concurrent_populate": ("2", "1M"),
}


@pytest.mark.parametrize("name", guests.NAMES[:: by_default(2, 1)])
def test_a_guest_runs_the_same_both_ways(name: str) -> None:
    compare(guests.path(name), ARGUMENTS.get(name, ()), modules={"msharefs": msharefs.module.init})


def of_each_subject(step: int) -> list[Guest]:
    """Every ``step``-th guest of those of each directory, from the first one on."""
    subjects = groupby(all_guests(), lambda guest: guest.source.parent)
    return [guest for _, guests_of_it in subjects for guest in islice(guests_of_it, 0, None, step)]


@pytest.mark.parametrize("guest", of_each_subject(by_default(24, 6)), ids=lambda guest: guest.name)
def test_a_guest_held_against_linux_runs_the_same_both_ways(guest: Guest) -> None:
    """``python -m tests.machine.inline_programs --guests`` has them all."""
    compare(guest.program, most=100_000, cpus=2 if "two cpus" in guest.needs else 1)


TURNS: list[dict[str, Any]] = [{"turn": 1000}, {"turn": (1, 300)}, {"cpus": 3, "turn": (20, 500)}]
WITH_TURNS = ("threads", "pthreads", "pipes", "handlers", "exec_self", "timers")


@pytest.mark.parametrize(
    ("name", "options"),
    by_default(
        [(name, TURNS[number % len(TURNS)]) for number, name in enumerate(WITH_TURNS)],
        [(name, options) for name in WITH_TURNS for options in TURNS],
    ),
)
def test_turns_end_at_the_same_instruction(name: str, options: dict[str, Any]) -> None:
    compare(guests.path(name), ARGUMENTS.get(name, ()), **options)


@pytest.mark.parametrize("seed", range(8))
def test_a_random_program_runs_the_same_both_ways(seed: int, tmp_path: Path) -> None:
    hold(seed, tmp_path)


# -- what comes in between ---------------------------------------------------------------------------------------------

#: mov ecx, 100000; 1: mov rax, [rsp]; nop; dec ecx; jne 1b; mov edi, 5; mov eax, 231; syscall
LOOP = bytes.fromhex("b9a0860100488b042490ffc975f7bf05000000b8e70000000f05")


def looping(tmp_path: Path, **options: Any) -> GuestMachine:
    machine = GuestMachine(record=False, modules={}, turn=500, **options)
    path = tmp_path / "loop"
    path.write_bytes(elf(((TEXT, 5, LOOP),)))
    path.chmod(0o755)
    machine.spawn(machine.install(path, "/bin/loop"), in_guest=True)
    return machine


def run_on(machine: GuestMachine, instructions: int) -> None:
    end = machine.kernel.cpu.clock + instructions
    machine.run(lambda: machine.kernel.cpu.clock >= end)


@pytest.mark.parametrize("kind", [UC_HOOK_MEM_READ, UC_HOOK_BLOCK, UC_HOOK_CODE])
def test_a_hook_of_the_users_stops_emulation_where_it_does_without(kind: int, tmp_path: Path) -> None:
    """Once there is one, a hook counts each block, and the engine looks for a stop wherever it does."""
    seen = []
    for fast in (False, True):
        machine = looping(tmp_path, engine_fast=fast)
        run_on(machine, 2000)  # it is in the loop
        cpu = machine.kernel.cpu
        assert (cpu.inlining.record.made > 0) == fast
        calls: list[int] = []

        def stop(uc: Any, *_: Any, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) == 100:
                uc.emu_stop()

        cpu.uc.hook_add(kind, stop)
        cpu.blocks.forget()  # as always where code has been translated without the hook
        with pytest.raises(UcError):  # the machine does not know why it has stopped
            machine.run()
        seen.append((len(calls), cpu.rip, cpu.clock, cpu.read("rcx")))
        assert "not the machine's own" in cpu.inlining.state() or not fast
    assert seen[0] == seen[1]


def test_two_machines_count_for_themselves(tmp_path: Path) -> None:
    """The code of each has its own place to count in, and they take turns."""
    alone = looping(tmp_path)
    alone.run()
    one, other = (looping(tmp_path) for _ in range(2))
    for machine in (one, other, one, other):
        run_on(machine, 10_000)
    for machine in (one, other):
        machine.run()
        assert machine.kernel.cpu.clock == alone.kernel.cpu.clock > 400_000


def test_a_conditional_branch_leads_to_the_next_block(tmp_path: Path) -> None:
    machine = looping(tmp_path, engine_fast=True)
    machine.run()
    record = machine.kernel.cpu.inlining.record
    assert 0 < record.straight <= record.made


def test_indirect_jumps_and_returns_find_the_next_block() -> None:
    """By our function; by the engine's where that is not the one that is known, byte for byte, which is said."""
    machine = GuestMachine(modules={}, engine_fast=True)
    machine.run_guest("hello_musl_pie")
    inlining = machine.kernel.cpu.inlining
    assert 0 < inlining.record.found < inlining.record.made
    assert "slowly" not in inlining.state()


def test_where_the_engine_finds_blocks_in_another_way_its_function_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.inline.stubs._FINDS", b"something else")
    _prove(load("emu.engine.hooks"))
    machine = GuestMachine(modules={}, engine_fast=True)
    assert machine.run_guest("hello_musl_pie").stdout
    inlining = machine.kernel.cpu.inlining
    assert (inlining.record.found, inlining.record.made > 0) == (0, True)
    assert "find others as slowly as the engine does" in inlining.state()


def test_another_thread_ends_turns_and_no_instruction_is_lost(tmp_path: Path) -> None:
    alone, machine = looping(tmp_path), looping(tmp_path)
    alone.run()
    over = threading.Event()

    def end_turns() -> None:
        while not over.wait(0.0001):
            machine.kernel.cpu.end_slice()

    thread = threading.Thread(target=end_turns)
    thread.start()
    try:
        machine.run()
    finally:
        over.set()
        thread.join()
    assert machine.kernel.cpu.clock == alone.kernel.cpu.clock > 400_000


def test_what_blocks_store_lies_apart_from_the_engines_registers(tmp_path: Path) -> None:
    """By the lowest 12 bits of addresses, by which the host compares them at first."""
    cpu = looping(tmp_path).kernel.cpu
    registers = ctypes.addressof(unicorn_abi.general_registers(cpu.uc))
    assert 0x100 < (registers - cpu.trap.count) % 0x1000 < 0x500


def test_where_no_more_blocks_can_count_themselves_the_engine_forgets_its_code() -> None:
    """The table is full: what comes after has the hook, until code is forgotten and the table empty."""
    plain, full = (GuestMachine(modules={}, engine_fast=True) for _ in range(2))
    record = full.kernel.cpu.inlining.record
    record.number = MOST_BLOCKS - 5
    results = [machine.run_guest("hello_musl_pie") for machine in (plain, full)]
    assert results[0].stdout == results[1].stdout
    assert plain.kernel.cpu.clock == full.kernel.cpu.clock
    assert 5 < record.number < 1000


def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIMMU_ENGINE_FAST", "off")
    assert GuestMachine(modules={}).kernel.cpu.inlining.state() == "a hook counts each block: as was asked for"
    assert not GuestMachine(modules={}, engine_fast=True).kernel.cpu.inlining.why_not


def test_an_engine_that_is_not_as_expected_has_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof fails, and a machine says so and counts all the same."""

    def disproved(hooks: object) -> None:
        raise Unproven("the call goes elsewhere")

    monkeypatch.setattr("emu.cpu.cpu.prove", disproved)
    machine = GuestMachine(modules={})
    assert machine.run_guest("hello").stdout == "hello, world\n"
    assert machine.kernel.cpu.inlining.state() == "a hook counts each block: the call goes elsewhere"


def test_what_is_not_as_expected_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that lead elsewhere than is expected: no block counts itself, and the proof fails."""
    machine = GuestMachine(modules={}, engine_fast=True)
    inlining = machine.kernel.cpu.inlining
    inlining.record.check += 16
    assert machine.run_guest("hello").stdout == "hello, world\n"
    assert (inlining.record.made, inlining.record.missed > 0) == (0, True)
    real = unicorn_abi.symbol_address
    monkeypatch.setattr(unicorn_abi, "symbol_address", lambda name: real(name) + ("check" in name))
    with pytest.raises(Unproven, match="not as expected"):
        _prove(load("emu.engine.hooks"))


def test_the_proof_where_there_was_a_machine_in_exact_mode() -> None:
    """The engine's code calls the helpers of exact mode then."""
    GuestMachine(modules={}, tlb="textbook", engine_fast=True)
    _prove(load("emu.engine.hooks"))
