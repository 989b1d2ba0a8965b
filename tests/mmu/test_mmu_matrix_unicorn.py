"""The exhaustive matrix once more: our walk against Unicorn's own, another implementation of the same manual."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from mmu import EFER, Access, PhysicalMemory
from mmu.native import reference_mode
from mmu.state import Status
from tests.exhaustive import by_default
from tests.mmu.matrix_cases import (
    LA57_SHAPES,
    MAXPHYADDR,
    RAM_BYTES,
    SHAPES,
    XD,
    A,
    Flags,
    Forest,
    Manual,
    Setting,
    Shape,
    Words,
    has,
    sample,
    settings,
)
from tests.mmu.matrix_walks import NativeWalks
from tests.mmu.unicorn_walks import HLT, RAX, UnicornWalks

pytestmark = pytest.mark.skipif(reference_mode(), reason="millions of cases")


class EarlyAccessed:
    """The one deviation in these cases: Unicorn sets A while it walks, so also above an entry that then faults.

    In a PDPTE that maps a page it does so before it looks at the rights and at the low reserved bits.
    """

    def __init__(self, manual: Manual) -> None:
        self.manual, self.forest, self.seen = manual, manual.forest, 0

    def apply(self, setting: Setting, faults: Flags, levels: npt.NDArray[np.int64], tables: Words) -> None:
        """Change the tables as we leave them to what Unicorn leaves."""
        forest = self.forest
        below_directory = faults & (levels == forest.shape.leaf)
        self._set(tables, forest.directory_at[below_directory])
        if forest.shape.leaf == 3:
            checked_first = (1 << 52) - (1 << MAXPHYADDR) | (0 if setting.registers.efer & EFER.NXE else XD)
            walked = ~self.manual.missing[1] & ~has(forest.leaf, checked_first)
            self._set(tables, forest.leaf_at[below_directory & walked])

    def _set(self, tables: Words, at: npt.NDArray[np.int64]) -> None:
        self.seen += int((tables[at] & np.uint64(A) == 0).sum())
        tables[at] |= np.uint64(A)


def compare(shape: Shape, chosen: Iterable[Setting]) -> int:
    """Which accesses fault, the addresses of the others, and every table word; returns the number of cases."""
    forest = Forest(PhysicalMemory(RAM_BYTES), shape)
    native, unicorn, early = NativeWalks(forest), UnicornWalks(forest), EarlyAccessed(Manual(forest))
    compared = 0
    for setting in chosen:
        ours = native.run(setting)
        expected = forest.tables().copy()
        early.apply(setting, ours["status"] == Status.PAGE_FAULT, ours["level"], expected)
        theirs = unicorn.run(setting)
        assert np.array_equal(ours["paddr"], theirs), (shape, setting, np.flatnonzero(ours["paddr"] != theirs)[:5])
        tables = forest.tables()
        assert np.array_equal(expected, tables), (shape, setting, np.flatnonzero(expected != tables)[:5])
        compared += forest.size
    assert early.seen, "Unicorn no longer sets A above an entry that faults: strike the deviation"
    return compared


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("wp", [False, True])
def test_every_combination(shape: Shape, wp: bool) -> None:
    chosen = list(settings(wp=(wp,)))
    part = random.Random(f"{shape} {wp}").sample(chosen, by_default(len(chosen) // 5, len(chosen)))
    assert compare(shape, part) > by_default(200_000, 1_000_000)


@pytest.mark.parametrize("shape", LA57_SHAPES, ids=str)
def test_five_levels(shape: Shape) -> None:
    assert compare(shape, settings(levels=5, nxe=(True,), smep=(True,), pkru=(None, 1))) > 200_000


def access_memory(forest: Forest, unicorn: UnicornWalks, setting: Setting, case: int, paddr: int) -> None:
    """One instruction, and that the byte went where it should."""
    engine, ram, access = unicorn.engine, forest.ram, setting.access
    ram.view[paddr] = 0 if access == Access.WRITE else HLT
    assert engine.execute(int(forest.vaddrs[case]), access, setting.registers.cpl) is None
    assert ram.view[paddr] == engine.general[RAX] & 0xFF == HLT


@pytest.mark.parametrize("shape", [*SHAPES, LA57_SHAPES[0], LA57_SHAPES[5]], ids=str)
def test_executed_instructions(shape: Shape) -> None:
    """A sample of every setting: vector, error code, CR2; or the byte that was accessed, and A and D."""
    forest = Forest(PhysicalMemory(RAM_BYTES), shape)
    manual, unicorn = Manual(forest), UnicornWalks(forest)
    rng = random.Random(f"instructions {shape}")
    seen: Counter[tuple[Access, int]] = Counter()
    few = shape.levels == 5
    some = settings(levels=5, nxe=(True,), pkru=(None, 1)) if few else settings(levels=4)
    for setting in some:
        registers, access = setting.registers, setting.access
        expected = manual.expect(setting)
        forest.restore()
        for case in sample(rng, manual, by_default(4, 10)):
            cr3 = next(cr3 for cr3, start, end in forest.chunks if start <= case < end)
            unicorn.engine.load(registers, cr3)
            vaddr, error_code = int(forest.vaddrs[case]), int(expected.error_code[case])
            if expected.status[case] == Status.OK:
                access_memory(forest, unicorn, setting, case, int(expected.paddr[case]))
                for at in (forest.directory_at[case], forest.leaf_at[case]):
                    assert forest.tables()[at] == expected.tables[at]
                error_code = -1
            else:
                assert unicorn.engine.execute(vaddr, access, registers.cpl) == (14, error_code, vaddr), (setting, case)
            seen[access, error_code] += 1
    for access, extra in ((Access.READ, 0), (Access.WRITE, 2), (Access.FETCH, 16)):
        codes = {0, 4, 9, 0xD, 1, 5} | ({0x21, 0x25} if access != Access.FETCH else set())
        assert {(access, code | extra) for code in codes} | {(access, -1)} <= set(seen)
