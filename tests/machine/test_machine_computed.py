"""Instructions give what a CPU gives: the guest ``instructions`` against what it printed on one, and against the host.

``instructions.txt`` and ``operands.txt`` are the output of ``instructions 20 1`` and of ``operands`` on an Intel CPU
(family 6, model 167).  More: ``UNIMMU_INSTRUCTIONS=COUNT:SEED`` in the environment.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

import guests
from emu.instructions.computed import ROWS
from emu.instructions.row import ExecuteNative
from mmu import Access
from mmu.virtual import HookedAccess
from tests.booted import MakeMachine, native
from tests.exhaustive import by_default
from tests.machine.native_host import needs_host

HERE = Path(__file__).parent
#: What the engine is left alone with, and what differs (docs/instructions.md).
LEFT = {
    "sse_exceptions": {"control"}, "sse_flush": {"xmm"}, "sse_two_nans": {"xmm"}, "daz_minps": {"xmm"},
    "x87_exceptions": {"status"}, "x87_flush": {"memory"}, "x87_overflow": {"st"}, "x87_underflow": {"st"},
    "x87_signalling": {"memory"}, "mmx_exponents": {"st"}, "cmpxchg32_memory": {"registers"},
}  # fmt: skip


class Printed(NamedTuple):
    """What the guest printed."""

    #: By name: the hashes by what they are of.  A star at the end of the name: CPUs differ.
    hashes: dict[str, dict[str, str]]
    #: By name: the values of instructions that approximate, each the number of the register, exponent and significand.
    values: dict[str, list[tuple[int, int, int]]]


def parsed(output: str) -> Printed:
    printed = Printed({}, {})
    for line in output.splitlines():
        first, *words = line.split()
        if "=" in first:
            name, number = first.split("=")
            printed.values.setdefault(name, []).append((int(number), int(words[0], 16), int(words[1], 16)))
        else:
            printed.hashes[first] = dict(zip(words[::2], words[1::2], strict=True))
    return printed


def differences(ours: Printed, cpu: Printed, *, vendors: bool) -> dict[str, set[str]]:
    """By name, what differs; without ``vendors``, only of instructions that all CPUs execute alike."""
    assert list(ours.hashes) == list(cpu.hashes) and list(ours.values) == list(cpu.values)
    found = {
        name: {what for what, value in hashes.items() if value != cpu.hashes[name][what]}
        for name, hashes in ours.hashes.items()
        if vendors or not name.endswith("*")
    }
    for name, values in ours.values.items():
        if (vendors or not name.endswith("*")) and not all(map(close, values, cpu.values[name])):
            found[name].add("value")
    return {name: what for name, what in found.items() if what}


def close(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two values are the same, or neighbours."""
    ranks = [(exponent & 0x7FFF) * (1 << 63) + (mantissa & (1 << 63) - 1) for _, exponent, mantissa in (one, other)]
    return one[0] == other[0] and (one[1] ^ other[1]) & 0x8000 == 0 and abs(ranks[0] - ranks[1]) <= 1


def test_results_are_those_of_a_cpu(machine: MakeMachine) -> None:
    ours = parsed(machine().outcome("instructions", 20, 1).stdout)
    assert differences(ours, parsed((HERE / "instructions.txt").read_text()), vendors=True) == LEFT


@needs_host
def test_results_are_those_of_the_host(machine: MakeMachine) -> None:
    count, _, seed = os.environ.get("UNIMMU_INSTRUCTIONS", by_default("40:2", "200:2")).partition(":")
    ours = parsed(machine(max_instructions=10**11, timeout_s=3600).outcome("instructions", count, seed).stdout)
    cpu = parsed(native(guests.path("instructions"), (count, seed)).stdout)
    found = differences(ours, cpu, vendors=False)
    if "GenuineIntel" in Path("/proc/cpuinfo").read_text():
        assert found == LEFT
    else:  # others differ in flags that some results set
        assert {name: what - {"status"} for name, what in found.items() if what != {"status"}} == {
            name: what for name, what in LEFT.items() if what != {"status"}
        }


@pytest.mark.parametrize("tlb", ["off", "skylake-sp"])
def test_operands_that_fault(machine: MakeMachine, tlb: str) -> None:
    assert machine(tlb=tlb).outcome("operands").stdout == (HERE / "operands.txt").read_text()


@needs_host
def test_operands_that_fault_on_the_host() -> None:
    assert native(guests.path("operands")).stdout == (HERE / "operands.txt").read_text()


def test_every_row_is_tested(machine: MakeMachine) -> None:
    """Each row stands in the way of at least one instruction of the guest."""
    booted = machine()
    booted.outcome("instructions", 1, 1)
    booted.outcome("operands")
    hits = booted.kernel.cpu.blocks.hits
    assert hits is not None
    known = [instruction for instruction, _ in hits._known.values()]
    assert [row.name for row in ROWS if not any(row.matches(instruction) for instruction in known)] == []


@pytest.mark.parametrize("tlb", ["off", "skylake-sp"])
@pytest.mark.parametrize(
    ("name", "access", "size"),
    [
        ("fisttp_m32", Access.WRITE, 4), ("fisttp_m64", Access.WRITE, 8), ("fbstp", Access.WRITE, 10),
        ("lock_neg32", Access.WRITE, 4), ("pcmpistri_4c", Access.READ, 16), ("dppd_12", Access.READ, 16),
    ],
)  # fmt: skip
def test_an_operand_is_one_access(machine: MakeMachine, name: str, access: Access, size: int, tlb: str) -> None:
    booted, seen = machine(tlb=tlb), list[HookedAccess]()
    mmu, blocks = booted.kernel.cpu.mmu, booted.kernel.cpu.blocks
    mmu.add_memory_hook(seen.append)
    booted.outcome("instructions", 7, 1, name)
    assert blocks.hits is not None
    places = {i.address for i, action in blocks.hits._known.values() if type(action) is ExecuteNative}
    told = [(each.access, each.size) for each in seen if each.rip in places]
    assert told == [(access, size)] * 7


def test_every_row_is_documented() -> None:
    page = (HERE.parents[1] / "docs" / "instructions.md").read_text()
    names = [name.split()[0] for row in ROWS for name in row.name.split(", ")]
    assert [name for name in names if name not in page] == []


def test_processes_take_turns_between_the_instructions_of_a_block(machine: MakeMachine) -> None:
    """However long a turn is, on however many vCPUs, each process has its own results."""
    alone = Counter(machine().outcome("instructions", 1, 5).stdout.splitlines())
    for turn in by_default((333,), (50, 333)):
        booted = machine(cpus=2, turn=turn)
        tasks = [booted.spawn(guests.path("instructions"), ["1", "5"]) for _ in range(2)]
        for task in tasks:
            booted.outcome_of(task)
        assert Counter(bytes(booted.out).decode().splitlines()) == alone + alone
