"""Hits and misses of both levels are those of pycachesim, a simulator of caches that others wrote."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import guests
from emu.bench.pycachesim import batches_of, is_installed, ours, theirs, two_levels
from emu.lab.batch import Batch
from emu.lab.recorder import record_machine
from emu.machine import Machine
from mmu.geometry import Replacement
from mmu.registers import Access

pytestmark = pytest.mark.skipif(not is_installed(), reason="pycachesim is not installed: pip install pycachesim")
ACCESSES = 30_000
Words = npt.NDArray[np.uint64]


def random_pages() -> Words:
    return np.random.default_rng(1).integers(0, 2500, ACCESSES, dtype=np.uint64) << np.uint64(12)


def cyclic_pages() -> Words:
    """Around both capacities: 70 pages, then 1,600, again and again."""
    pages = [np.arange(ACCESSES // 4, dtype=np.uint64) % np.uint64(number) for number in (70, 1600, 70, 1600)]
    return np.concatenate(pages) << np.uint64(12)


def recorded_pages() -> Words:
    """The loads and stores of a guest."""
    machine, batches = Machine(64 << 20, tlb="textbook", stdout=lambda data: None), list[Batch]()
    machine.spawn(guests.path("gups"), ("4M", "5000"))
    recorder = record_machine(machine, batches.append)
    machine.run()
    recorder.finish()
    return np.concatenate([batch.vaddr[batch.kind != Access.FETCH] for batch in batches])


@pytest.fixture(scope="module")
def streams() -> dict[str, Words]:
    return {"random": random_pages(), "cyclic": cyclic_pages(), "recorded": recorded_pages()}


@pytest.mark.parametrize("policy", [Replacement.LRU, Replacement.FIFO])
@pytest.mark.parametrize("shapes", [((16, 4), (128, 12)), ((1, 64), (256, 8)), ((8, 8), (1, 1536)), ((1, 3), (2, 5))])
def test_both_levels_count_what_pycachesim_counts(
    shapes: tuple[tuple[int, int], tuple[int, int]], policy: Replacement, streams: dict[str, Words]
) -> None:
    geometry = two_levels(*shapes, policy)
    for name, vaddrs in streams.items():
        counted = ours(geometry, batches_of(vaddrs))
        assert counted == theirs(geometry, vaddrs.tolist()), name
        assert counted[0].hits + counted[0].misses == len(vaddrs)
        assert sum(counted[1]) == counted[0].misses > 0 < counted[1].misses, "the stream says nothing of this shape"
