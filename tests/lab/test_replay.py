"""A recorded stream, replayed through any model, gives what that model counts when the program runs there."""

from __future__ import annotations

import numpy as np
import pytest

from emu.lab.batch import Batch, Op
from emu.lab.simulation import Simulation, less, parted
from emu.machine import Mount
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement
from mmu.presets import all_presets, load_preset
from tests.exhaustive import EXHAUSTIVE
from tests.lab.recorded import MEMORY, Story, live, recorded

STORIES = {
    "fork": Story("fork_shared"),
    "copy on write": Story("cow"),
    "a region": Story("mshare_donor"),
    "threads on two vCPUs": Story("threads", cpus=2),
    "shootdowns": Story("stale_reader", cpus=2),
    "transparent huge pages": Story("gups", ("4M", "500", "thp")),
    "huge pages": Story("gups", ("4M", "500", "hugetlb"), hugepages=4),
    "swap": Story("touch_pages", ("3M",), memory=2 << 20, swap=16 << 20),
    "five levels": Story("touch_pages", ("1M",), la57=True),
}
PRESETS = [*all_presets()]
#: What no preset has: one array for everything, of 2 entries; arrays of loads and of stores apart; inclusion.
ODD = [
    Geometry("all in two", (Array("L1", 1, Kinds.ALL, PageSizes.ALL, sets=1, ways=2),), {2: 2}),
    Geometry(
        "three, LFU and random, inclusive",
        (
            Array("L", 1, Kinds.LOAD, PageSizes.ALL, sets=1, ways=3, replacement=Replacement.LFU),
            Array("S", 1, Kinds.STORE, PageSizes.K4, sets=2, ways=2, replacement=Replacement.BIT_PLRU),
            Array("I", 1, Kinds.FETCH, PageSizes.ALL, sets=1, ways=4, replacement=Replacement.FIFO),
            Array("L2", 2, Kinds.ALL, PageSizes.ALL, sets=4, ways=2, replacement=Replacement.RANDOM),
        ),
        {2: 3, 4: 1},
        inclusive=True,
    ),
    Geometry(
        "coalescing at one level only, skewed",
        (
            Array("I", 1, Kinds.FETCH, PageSizes.ALL, sets=1, ways=4, coalesce=2),
            Array("D", 1, Kinds.DATA, PageSizes.ALL, sets=2, ways=4, replacement=Replacement.TREE_PLRU),
            Array("L2", 2, Kinds.ALL, PageSizes.ALL, sets=8, ways=3, index_hash=IndexHash.SKEWED, coalesce=2),
            Array("L2-small", 2, Kinds.DATA, PageSizes.K4, sets=1, ways=3, replacement=Replacement.FIFO),
        ),
        {2: 2},
        inclusive=True,
    ),
]


@pytest.mark.parametrize("name", STORIES)
def test_each_preset_counts_what_it_counts_live(name: str) -> None:
    """Each model is held against live runs of two or three stories; all of them are in one replay."""
    story, turn = STORIES[name], list(STORIES).index(name)
    geometries = [*(load_preset(preset) for preset in PRESETS), *ODD]
    batches, while_recording = recorded(story)
    assert while_recording == live(story, "textbook"), "recording has changed what is counted"
    simulation = Simulation(geometries, MEMORY)
    for batch in batches:
        simulation.add(batch)
    for number, (geometry, found) in enumerate(zip(geometries, simulation.figures(), strict=True)):
        if EXHAUSTIVE or number % 4 == turn % 4:
            assert found == live(story, geometry), geometry.name


@pytest.mark.parametrize("preset", ["textbook", "skylake-sp", "none"])
def test_a_stale_translation_is_replayed_as_it_was(preset: str) -> None:
    """The guest sees whether it is there, and goes on otherwise: another model has another stream."""
    story = Story("stale_reader", cpus=2, mounts=(Mount("msharefs", "/sys/fs/mshare", "tlb=local"),))
    batches, counted = recorded(story, preset)
    simulation = Simulation([load_preset(preset)], MEMORY)
    for batch in batches:
        simulation.add(batch)
    assert simulation.figures() == [counted]


def test_the_model_that_recorded_makes_no_difference() -> None:
    story = STORIES["shootdowns"]
    (one,), (other,) = recorded(story, "none")[0], recorded(story, "zen5")[0]
    for name in ("vaddr", "kind", "rip", "pid", "space", "vcpu", "shift"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_what_stands_in_a_stream() -> None:
    (batch,), _ = recorded(STORIES["shootdowns"])
    controls = batch.controls
    assert set(batch.kind.tolist()) == {0, 1, 2} and set(batch.vcpu.tolist()) == {0, 1}
    assert len(set(batch.pid.tolist())) == len(set(batch.space.tolist())) == 2
    fetches = batch.kind == 2
    assert np.array_equal(batch.vaddr[fetches] >> np.uint64(12), batch.rip[fetches] >> np.uint64(12))
    turns = controls[controls["op"] == Op.TURN]
    assert np.array_equal(batch.vcpu[turns["at"]], turns["vcpu"])
    assert len(turns) == 1 + np.count_nonzero(np.diff(batch.vcpu.astype(int)))
    told = controls[(controls["op"] == Op.INVLPG) | (controls["op"] == Op.INVALIDATE)]
    there = told[(told["at"] > 0) & (told["at"] < len(batch))]
    assert np.any(batch.vcpu[there["at"]] != there["vcpu"]), "no vCPU was told by another one"


def test_the_first_accesses_may_be_left_out() -> None:
    batches, _ = recorded(STORIES["fork"])
    length = sum(map(len, batches))
    whole, parts = (Simulation([load_preset("zen4")], MEMORY) for _ in range(2))
    for batch in batches:
        whole.add(batch)
    for some in parted(iter(batches), 50):
        parts.add(some)
        if parts.accesses == 50:
            before = parts.figures()
    assert parts.figures() == whole.figures()
    (grown,) = (less(now, old) for now, old in zip(parts.figures(), before, strict=True))
    counted = grown["perf"]
    assert sum(counted[name] for name in ("dTLB-loads", "dTLB-stores", "iTLB-loads")) <= length - 50
    assert grown["geometry"] == "zen4" and 0 < counted["iTLB-loads"] < whole.figures()[0]["perf"]["iTLB-loads"]


def test_filtered_mode_has_nothing_to_record() -> None:
    with pytest.raises(ValueError, match="no TLB is modelled"):
        recorded(Story("hello"), "off")


def test_parts_of_a_batch() -> None:
    (batch,), _ = recorded(STORIES["fork"])
    first, second = batch.part(0, 7), batch.part(7, len(batch))
    assert len(first) == 7 and len(first.controls) + len(second.controls) == len(batch.controls)
    assert first.controls["at"].max() < 7 and second.controls["at"].max() == len(second)
    assert isinstance(second, Batch) and np.array_equal(second.vaddr, batch.vaddr[7:])
