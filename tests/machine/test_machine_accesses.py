"""What a guest's accesses are on a processor: faults, flushes, fetches and instructions are counted as there."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from emu.bench.loops import program
from emu.machine import exit_status
from mmu.perf_events import perf_events
from tests.booted import Booted, MakeMachine

TEXT, DATA = 0x40_0000, 0x50_0000
PAGES = 200
STORE = "c70301000000"  # mov dword [rbx], 1
UPDATES = {"add": "830301", "lock xadd": "f00fc103", "bts": "0fba2b03", "cmpxchg": "0fb103", "cmpxchg16b": "480fc70b"}
EXIT_WITH_EAX = "89c7" + "b83c000000" + "0f05"  # mov edi, eax; mov eax, 60 (exit); syscall
#: Where an ELF file of :func:`program` has the flags of its text.
TEXT_FLAGS = 64 + 4
#: And how much of it is in the file, and in memory.
TEXT_SIZES = 64 + 32
RWX = 7


def load(opcode: str, value: int) -> str:
    """mov r32, value (bb: EBX, b9: ECX, bf: EDI)."""
    return opcode + struct.pack("<I", value).hex()


def touches(instruction: str) -> str:
    """The instruction at the beginning of each page of data."""
    body = instruction + "4881c300100000" + "ffc9"  # add rbx, 0x1000; dec ecx; jnz
    return load("bb", DATA) + load("b9", PAGES) + body + "75" + struct.pack("b", -len(body) // 2 - 2).hex()


def stores(count: int) -> str:
    """rep stosb"""
    return load("bf", DATA) + load("b9", count) + "f3aa"


def image(tmp_path: Path, code: str) -> Path:
    path = tmp_path / f"guest{len(list(tmp_path.iterdir()))}"
    path.write_bytes(program(bytes.fromhex(code), TEXT, DATA, PAGES << 12))
    return path


def ended(booted: Booted, *paths: Path) -> list[Any]:
    tasks = [booted.spawn(path) for path in paths]
    booted.run()
    assert [exit_status(task.exit_code) for task in tasks] == [0] * len(paths)
    return booted.processes()


@pytest.mark.parametrize("tlb", ["off", "textbook"])
@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_updates_fault_and_flush_as_stores_do(machine: MakeMachine, tmp_path: Path, tlb: str, update: str) -> None:
    counted = []
    for instruction in (STORE, update):
        booted = machine(tlb=tlb)
        (process,) = ended(booted, image(tmp_path, touches(instruction)))
        names = ("page_faults", "walks", "walk_loads", "fills", "flushes")
        counted.append([process["minor_faults"], *(booted.counters[name] for name in names)])
    assert counted[0] == counted[1]
    assert counted[0][0] >= PAGES


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_a_repeated_instruction_is_one_instruction_and_one_fetch(
    machine: MakeMachine, tmp_path: Path, tlb: str
) -> None:
    counted = []
    for count in (0, 1, 2, 5000):
        booted = machine(tlb=tlb)
        (process,) = ended(booted, image(tmp_path, stores(count)))
        fetched = perf_events(booted.kernel.cpu.mmu).get("iTLB-loads")
        counted.append((process["instructions"], booted.counters["instructions"], fetched))
        if tlb != "off":
            assert perf_events(booted.kernel.cpu.mmu)["dTLB-stores"] == count
    assert counted == [counted[0]] * 4


@pytest.mark.parametrize(("cpus", "turn"), [(1, 100), (1, 7), (2, 100), (1, None)])
def test_turns_within_it_do_not_count_it_again(
    machine: MakeMachine, tmp_path: Path, cpus: int, turn: int | None
) -> None:
    """It can be left between two iterations, and goes on where another process has run the same code."""
    booted = machine(cpus=cpus, turn=turn)
    path = image(tmp_path, stores(5000))
    instructions = [process["instructions"] for process in ended(booted, path, path)]
    assert instructions == [instructions[0]] * 2 and instructions[0] < 20
    if turn is not None and cpus == 1:
        assert booted.counters["context_switches"] > 10


def test_a_loop_that_comes_back_to_it_counts_it_each_time(machine: MakeMachine, tmp_path: Path) -> None:
    # mov edx, 5; mov edi, DATA; mov ecx, 9; rep stosb; dec edx; jnz
    code = "ba05000000" + stores(9) + "ffca" + "75f0"
    (process,) = ended(machine(), image(tmp_path, code))
    assert process["instructions"] == 1 + 5 * 5 + 3


@pytest.mark.parametrize("tlb", ["off", "none", "textbook", "zen4"])
def test_code_that_patches_the_next_instruction_executes_it(machine: MakeMachine, tmp_path: Path, tlb: str) -> None:
    # movl $42, 1(%rip); mov $0, %eax
    path = image(tmp_path, "c705010000002a000000" + "b800000000" + EXIT_WITH_EAX)
    elf = bytearray(path.read_bytes())
    elf[TEXT_FLAGS] = RWX
    path.write_bytes(elf)
    booted = machine(tlb=tlb)
    task = booted.spawn(path)
    booted.run()
    assert exit_status(task.exit_code) == 42


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_a_fetch_ahead_that_fails_is_no_fault(machine: MakeMachine, tmp_path: Path, tlb: str) -> None:
    """Code that runs off the end of its page: the page of code, and then the one behind it, when that is reached."""
    path = image(tmp_path, "90" * 0x2000)
    elf = bytearray(path.read_bytes()[:0x1000])
    elf[TEXT_SIZES : TEXT_SIZES + 16] = struct.pack("<QQ", len(elf), len(elf))
    path.write_bytes(elf)
    booted = machine(tlb=tlb)
    task = booted.spawn(path)
    booted.run()
    (process,) = booted.processes()
    assert exit_status(task.exit_code) == 139
    assert (process["minor_faults"], process["hardware_faults"], booted.counters["page_faults"]) == (1, 2, 2)
