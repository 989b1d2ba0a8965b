"""The exhaustive matrix: our walk, native and as plain Python, against the manual.

In the manner of access.c of kvm-unit-tests: the bits of the leaf and of an entry above it × the controls × access ×
privilege × page size.  Unicorn's own walker has the same cases in test_mmu_matrix_unicorn.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest

from mmu import Access, PhysicalMemory
from mmu.native import reference_mode
from mmu.state import Status
from tests.exhaustive import by_default
from tests.mmu.matrix_cases import (
    FAR_SHAPES,
    LA57_SHAPES,
    RAM_BYTES,
    SHAPES,
    Forest,
    Manual,
    Setting,
    Shape,
    sample,
    settings,
)
from tests.mmu.matrix_walks import NativeWalks, ReferenceWalks

pytestmark = pytest.mark.skipif(reference_mode(), reason="millions of cases")


def compare(shape: Shape, chosen: Iterable[Setting]) -> int:
    """How many cases agreed; every code and every address, and the tables word by word."""
    forest = Forest(PhysicalMemory(RAM_BYTES), shape)
    manual, walks = Manual(forest), NativeWalks(forest)
    compared = 0
    for setting in chosen:
        outcomes = walks.run(setting)
        assert not (wrong := manual.expect(setting).differences(outcomes, forest.tables())), (shape, setting, wrong)
        compared += forest.size
    return compared


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_combination(shape: Shape) -> None:
    assert compare(shape, settings()) > 2_000_000


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_supervisor_keys_and_implicit_accesses(shape: Shape) -> None:
    chosen = settings(
        nxe=(True,), smep=(True,), pkru=(None, 1, 2), pkrs=(None, 0, 1, 2, 3), implicit=(False, True)
    )  # fmt: skip
    assert compare(shape, chosen) > 3_000_000


@pytest.mark.parametrize("shape", FAR_SHAPES, ids=str)
def test_an_entry_far_above_the_leaf(shape: Shape) -> None:
    assert compare(shape, settings(smep=(True,), pkru=(None, 1), pkrs=(None, 2))) > 300_000


@pytest.mark.parametrize("shape", LA57_SHAPES, ids=str)
def test_five_levels(shape: Shape) -> None:
    assert compare(shape, settings(levels=5, pkru=(None, 1, 2), pkrs=(None, 3))) > 900_000


@pytest.mark.parametrize("shape", [*SHAPES, *LA57_SHAPES], ids=str)
def test_the_plain_python_walk(shape: Shape) -> None:
    """A sample of the cases of every setting, through the functions as they stand in mmu.walk."""
    forest = Forest(PhysicalMemory(RAM_BYTES), shape)
    native, reference = NativeWalks(forest), ReferenceWalks(forest)
    manual, rng = Manual(forest), random.Random(str(shape))
    four = shape.levels == 4
    chosen = settings(
        levels=shape.levels,
        nxe=(False, True) if four else (True,),
        pkru=(None, 0, 1, 2, 3) if four else (None, 1, 2),
        pkrs=(None, 1) if four else (2,),
        implicit=(False, True),
    )
    seen = set()
    for setting in chosen:
        cases = sample(rng, manual, by_default(2 if four else 6, 6))
        outcomes = native.run(setting)
        after = forest.tables().copy()
        for case in cases:
            assert reference.run(setting, case) == tuple(outcomes[case].tolist()), (setting, case)
            assert reference.entries(case) == (after[forest.directory_at[case]], after[forest.leaf_at[case]])
        seen |= {int(code) for code in outcomes["error_code"][cases]}
    assert {0, 2, 3, 4, 6, 7, 9, 0xB, 0xD, 0xF, 0x14, 0x15, 0x1D, 0x21, 0x23, 0x25, 0x27} <= seen


def test_the_oracle_of_the_matrix_and_the_other_one() -> None:
    """Two people reading the manual: tests.mmu.oracle goes entry by entry."""
    from tests.mmu.oracle import oracle

    rng = random.Random(9)
    every = {n: list(settings(levels=n, pkrs=(None, 0, 1, 2, 3), implicit=(False, True))) for n in (4, 5)}
    for shape in (*SHAPES, *FAR_SHAPES, *LA57_SHAPES):
        forest = Forest(PhysicalMemory(RAM_BYTES), shape)
        manual = Manual(forest)
        for setting in rng.sample(every[shape.levels], by_default(20, 60)):
            expected = manual.expect(setting)
            for case in sample(rng, manual, 20):
                open_entry = 0x27
                entries = dict.fromkeys(range(shape.levels, 0, -1), open_entry)
                entries[shape.directory] = int(forest.directory[case])
                entries[shape.leaf] = int(forest.leaf[case])
                answer = oracle(entries, int(forest.vaddrs[case]), setting.access, setting.registers)
                assert (answer.error or 0) == expected.error_code[case]
                assert (answer.error is None) == (expected.status[case] == Status.OK)
                assert (answer.paddr or 0) == expected.paddr[case]
                after = [int(expected.tables[at[case]]) for at in (forest.directory_at, forest.leaf_at)]
                assert [answer.entries[shape.directory], answer.entries[shape.leaf]] == after


def test_the_forest_is_what_it_says() -> None:
    forest = Forest(PhysicalMemory(RAM_BYTES), SHAPES[0])
    for cr3, start, end in forest.chunks:
        assert len(np.unique(forest.vaddrs[start:end])) == end - start and cr3 % 4096 == 0
    assert (forest.pristine[forest.directory_at] == forest.directory).all()
    assert (forest.pristine[forest.leaf_at] == forest.leaf).all()
    assert len(set(forest.directory_at) | set(forest.leaf_at)) == 2 * forest.size
    assert {setting.access for setting in settings()} == set(Access)
