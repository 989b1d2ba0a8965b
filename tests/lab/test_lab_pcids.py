"""A stream as if the kernel used PCIDs: what is flushed then, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from emu.cli.main import main
from emu.lab.batch import EVERY_PCID, GLOBALS, Batch, Op, Register, controls_of
from emu.lab.distances import COLD, INVALIDATED
from emu.lab.lru_stack import LruStack
from emu.lab.pcids import with_pcids
from emu.lab.simulation import Simulation
from emu.lab.stream import open_stream
from emu.lab.stream_file import facts_of
from mmu.presets import find_preset
from mmu.registers import CR4

PAGE = 0xFFFF_8000_0000_0000


def switches(spaces: list[int], vcpus: list[int] | None = None, *more: tuple[int, Op, int, int, int]) -> Batch:
    """An access in each of these address spaces, with the load of CR3 that flushes before each."""
    vcpus = vcpus or [0] * len(spaces)
    rows: list[tuple[int, Op, int, int, int]] = [(0, Op.REGISTER, 0, int(Register.CR4), 0x20)]
    for at, (space, vcpu) in enumerate(zip(spaces, vcpus, strict=True)):
        rows += [(at, Op.CR3, vcpu, space << 12, 0), (at, Op.INVALIDATE, vcpu, 0, 0)]
        rows += [row for row in more if row[0] == at]
    return Batch.of(controls_of(rows), vaddr=[PAGE] * len(spaces), space=spaces, vcpu=vcpus, shift=12)


def distances(batches: list[Batch], count: int, vcpu: int = 0) -> list[int]:
    stack, found = LruStack(vcpu=vcpu), []
    for batch in with_pcids(batches, count):
        each = np.zeros(len(batch), np.uint64)
        stack.take(batch, each)
        found += each[batch.vcpu == vcpu].tolist()
    return found


def test_a_switch_keeps_what_another_pcid_has() -> None:
    batch = switches([7, 8, 7, 8])
    stack, found = LruStack(), np.zeros(4, np.uint64)
    stack.take(batch, found)
    assert found.tolist() == [COLD, COLD, INVALIDATED, INVALIDATED]
    assert distances([batch], 6) == [COLD, COLD, 1, 1]
    (rewritten,) = with_pcids([batch], 6)
    assert rewritten.pcid.tolist() == [1, 2, 1, 2]
    ops = [(int(c["op"]), int(c["a"]), int(c["b"])) for c in rewritten.controls]
    assert ops[:3] == [(Op.REGISTER, Register.CR4, 0x20 | CR4.PCIDE), (Op.CR3, 0x7001, 0), (Op.INVALIDATE, 1, 0)]
    assert ops[-1] == (Op.CR3, 0x8002, 0)


def test_a_pcid_that_is_taken_from_another_space_is_flushed() -> None:
    assert distances([switches([7, 8, 9, 7, 9])], 2) == [COLD, COLD, COLD, INVALIDATED, 1]


def test_the_space_of_a_load_at_the_end_is_that_of_the_next_batch() -> None:
    first = Batch.of(controls_of([(1, Op.CR3, 0, 0x8000, 0), (1, Op.INVALIDATE, 0, 0, 0)]), vaddr=[PAGE], shift=12)
    second = Batch.of(vaddr=[PAGE], space=8, shift=12)
    third = switches([8])
    assert distances([first, second, third], 6) == [COLD, COLD, 0]


def test_what_a_vcpu_was_not_told_is_made_good() -> None:
    """Space 7 changes on vCPU 1 while vCPU 0 runs space 8."""
    changed = (3, Op.INVALIDATE, 1, 0, 0)
    spaces, vcpus = [7, 8, 7, 7, 7, 8], [0, 0, 1, 1, 0, 0]
    assert distances([switches(spaces, vcpus)], 6) == [COLD, COLD, 1, 1]
    assert distances([switches(spaces, vcpus, changed)], 6) == [COLD, COLD, INVALIDATED, 1]


def test_faults_and_flushes_go_by_the_pcid_that_is_loaded() -> None:
    fault = (2, Op.PAGE_FAULT, 0, PAGE + 9, 0)
    assert distances([switches([7, 8, 7, 8], None, fault)], 6) == [COLD, COLD, INVALIDATED, 1]
    invlpg = (2, Op.INVLPG, 0, PAGE, 0)
    assert distances([switches([7, 8, 7, 8], None, invlpg)], 6) == [COLD, COLD, INVALIDATED, 1]
    every = (2, Op.INVALIDATE, 0, 0, EVERY_PCID | GLOBALS)
    assert distances([switches([7, 8, 7, 8], None, every)], 6) == [COLD, COLD, INVALIDATED, INVALIDATED]


def test_loads_of_a_vcpu_that_makes_no_access_cost_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each a look at all accesses."""
    looked, plain = 0, np.flatnonzero

    def counted(values: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        nonlocal looked
        looked += len(values)
        return plain(values)

    def looked_at(number: int) -> int:
        nonlocal looked
        looked = 0
        rows = [(0, Op.CR3, 1, space << 12, 0) for space in range(number)]
        batch = Batch.of(controls_of(rows), vaddr=[PAGE] * number, space=1, vcpu=0, shift=12)
        (rewritten,) = with_pcids([batch], 6)
        assert len(rewritten.controls) == 2 * number
        return looked

    monkeypatch.setattr(np, "flatnonzero", counted)
    assert looked_at(400) == 4 * looked_at(100) > 0


@pytest.mark.parametrize("count", [0, 4095])
def test_a_number_that_there_cannot_be(count: int) -> None:
    with pytest.raises(ValueError, match="PCIDs from 1 to 4095"):
        next(with_pcids([], count))


def test_a_recorded_run_walks_less(tmp_path: Path) -> None:
    """Two processes that take turns; the models have the same accesses, and none is left out."""
    path = str(tmp_path / "a.parquet")
    assert main(["run", "--record", path, "pipes"]) == 0
    geometry, memory = find_preset("zen4").geometry, int(facts_of(path)["memory_bytes"])
    plain, tagged = (Simulation([geometry], memory) for _ in range(2))
    for batch in open_stream(path):
        plain.add(batch)
    for batch in with_pcids(open_stream(path)):
        tagged.add(batch)
    before, after = plain.figures()[0]["perf"], tagged.figures()[0]["perf"]
    assert before["iTLB-loads"] == after["iTLB-loads"] and before["dTLB-loads"] == after["dTLB-loads"]
    assert 0 < after["ITLB_MISSES.WALK_COMPLETED"] < before["ITLB_MISSES.WALK_COMPLETED"]
