"""A stream as it would be if the kernel used PCIDs, where it was recorded without: each load of CR3 flushed.

PCIDs are given as Linux gives them (arch/x86/mm/tlb.c, choose_new_asid): a few on each vCPU, in turns, and the one that
is taken from another address space is flushed then.  A change that this vCPU was not told of, since it had another
address space loaded, is made good when that one is loaded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emu.lab.batch import CONTROL, EVERY_PCID, Batch, Op, Register
from mmu.registers import CR4, PCID_MASK

if TYPE_CHECKING:
    import numpy.typing as npt

#: As many as Linux uses on each CPU (TLB_NR_DYN_ASIDS).
LINUX = 6
_Row = tuple[int, int, int, int, int]


class _Vcpu:
    """The PCIDs of one vCPU: slot n is PCID n + 1."""

    def __init__(self, count: int) -> None:
        self.slots: list[int | None] = [None] * count
        self.following = 0
        self.loaded: int | None = None
        self.pcid = 0
        #: Address spaces that have changed, unseen here.
        self.stale: set[int] = set()

    def load(self, space: int) -> bool:
        """An address space is loaded; whether its PCID must be flushed."""
        flush = space in self.stale
        if space not in self.slots:
            taken_from = self.slots[self.following]
            if taken_from is not None:
                self.stale.discard(taken_from)
            self.slots[self.following] = space
            self.following = (self.following + 1) % len(self.slots)
            flush = True
        self.stale.discard(space)
        self.loaded, self.pcid = space, self.slots.index(space) + 1
        return flush


class _Loads(NamedTuple):
    """Of one vCPU in one batch: before which access it loaded which PCID."""

    at: list[int]
    pcid: list[int]


def with_pcids(batches: Iterable[Batch], count: int = LINUX) -> Iterator[Batch]:
    """The batches, with so many PCIDs on each vCPU.  ValueError for a number that there cannot be."""
    if not 1 <= count < PCID_MASK:
        raise ValueError(f"a processor has PCIDs from 1 to {PCID_MASK}, not {count} of them")
    given = _Given(count)
    held: Batch | None = None
    for batch in batches:
        if held is not None:
            yield given.rewritten(held, batch)
        held = batch
    if held is not None:
        yield given.rewritten(held, None)


class _Given:
    """The PCIDs of all vCPUs."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._vcpus: dict[int, _Vcpu] = {}

    def _vcpu(self, number: int) -> _Vcpu:
        return self._vcpus.setdefault(number, _Vcpu(self._count))

    def rewritten(self, batch: Batch, following: Batch | None) -> Batch:
        """A batch; where its last loads of CR3 are for the accesses of the next one, that tells of which space."""
        rows: list[_Row] = []
        loads: dict[int, _Loads] = {}
        before = {number: vcpu.pcid for number, vcpu in self._vcpus.items()}
        controls: list[Any] = batch.controls.tolist()
        next_space = _NextSpace(batch, following)
        flushed_by_load = False
        for place, (a, b, at, op, number, _) in enumerate(controls):
            vcpu, skip, flushed_by_load = self._vcpu(number), flushed_by_load, False
            if op == Op.CR3:
                space = next_space.of(number, at)
                flush = vcpu.load(a >> 12 | 1 << 63 if space is None else space)
                rows.append((at, op, number, (a & ~PCID_MASK) | vcpu.pcid, b))
                if flush:
                    rows.append((at, Op.INVALIDATE, number, vcpu.pcid, 0))
                of_vcpu = loads.setdefault(number, _Loads([], []))
                of_vcpu.at.append(at)
                of_vcpu.pcid.append(vcpu.pcid)
                flushed_by_load = _flushes(controls[place + 1 : place + 2], at, number)
            elif not skip:
                rows.append(self._row(vcpu, at, op, number, a, b))
        return replace(batch, pcid=_pcids(batch, loads, before), controls=_controls(rows))

    def _row(self, vcpu: _Vcpu, at: int, op: int, number: int, a: int, b: int) -> _Row:
        """A control other than a load of CR3 and the flush of that."""
        if op == Op.REGISTER and a == Register.CR4:
            b |= int(CR4.PCIDE)
        elif op in (Op.PAGE_FAULT, Op.INVPCID):
            b = vcpu.pcid
        elif op == Op.INVALIDATE and not b & EVERY_PCID:
            a = vcpu.pcid
        if op in (Op.INVLPG, Op.INVPCID, Op.INVALIDATE) and vcpu.loaded is not None:
            for other in self._vcpus.values():
                if other.loaded != vcpu.loaded and vcpu.loaded in other.slots:
                    other.stale.add(vcpu.loaded)
        return at, op, number, a, b


def _flushes(following: list[Any], at: int, number: int) -> bool:
    """Whether the control that follows a load of CR3 is what that has flushed."""
    return any(op == Op.INVALIDATE and (there, of) == (at, number) and not b & EVERY_PCID
               for _, b, there, op, of, _ in following)  # fmt: skip


class _NextSpace:
    """The address spaces of the accesses of a batch and of the one behind it, by vCPU."""

    def __init__(self, batch: Batch, following: Batch | None) -> None:
        self._batch, self._following = batch, following
        #: By vCPU: the numbers of its accesses, and the address space of its first one in the batch behind.
        self._known: dict[int, tuple[npt.NDArray[np.intp], int | None]] = {}

    def of(self, vcpu: int, at: int) -> int | None:
        """That of the next access of a vCPU from number ``at`` on; None if none is near."""
        if vcpu not in self._known:
            self._known[vcpu] = np.flatnonzero(self._batch.vcpu == vcpu), self._behind(vcpu)
        places, behind = self._known[vcpu]
        place = int(np.searchsorted(places, at))
        return int(self._batch.space[places[place]]) if place < len(places) else behind

    def _behind(self, vcpu: int) -> int | None:
        if self._following is None:
            return None
        found = np.flatnonzero(self._following.vcpu == vcpu)
        return int(self._following.space[found[0]]) if len(found) else None


def _pcids(batch: Batch, loads: dict[int, _Loads], before: dict[int, int]) -> npt.NDArray[np.uint16]:
    """The PCID of each access."""
    pcids = np.zeros(len(batch), np.uint16)
    for number in {*loads, *before}:
        of_vcpu = loads.get(number, _Loads([], []))
        places = np.flatnonzero(batch.vcpu == number)
        known = np.array([before.get(number, 0), *of_vcpu.pcid], np.uint16)
        pcids[places] = known[np.searchsorted(np.array(of_vcpu.at, np.int64), places, side="right")]
    return pcids


def _controls(rows: list[_Row]) -> npt.NDArray[Any]:
    made = np.zeros(len(rows), CONTROL)
    if rows:
        at, op, vcpu, a, b = zip(*rows, strict=True)
        made["at"], made["op"], made["vcpu"] = at, op, vcpu
        made["a"], made["b"] = np.array(a, np.uint64), np.array(b, np.uint64)
    return made
