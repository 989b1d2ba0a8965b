"""Misses of a modelled TLB by reason, after Hill's three (cold, capacity, conflict), and invalidation.

What decides is a fully associative LRU TLB with as many entries as the arrays that could have held the page, beside
the model, and another one in which what is invalidated stays.  A miss of the model is cold where the page was never
touched before on that vCPU; for capacity, where even the one that keeps everything misses; for an invalidation, where
only the other one misses; and else for a conflict: of sets, of the replacement policy, or with another array.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emu.lab.batch import Batch, Op, Register, controls_of
from emu.lab.columns import Columns
from emu.lab.distances import COLD, LEFT_OUT
from emu.lab.finding import Finding, Listing, percent
from emu.lab.lru_stack import LruStack
from emu.lab.observed import Observed
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.registers import Access

if TYPE_CHECKING:
    import numpy.typing as npt

REASONS = ("cold", "capacity", "conflict", "invalidation")
_SHIFTS = {12: PageSizes.K4, 21: PageSizes.M2, 30: PageSizes.G1}
#: A kind that no access has: those are left out.
_NOBODY = 7


class _Set(NamedTuple):
    """Arrays of one level that hold the same accesses' pages."""

    level: int
    arrays: tuple[Array, ...]

    @property
    def entries(self) -> int:
        """Of all of them."""
        return sum(array.entries for array in self.arrays)

    @property
    def name(self) -> str:
        """Theirs."""
        return f"level {self.level}: {', '.join(array.name for array in self.arrays)}"


def array_sets(geometry: Geometry) -> dict[_Set, set[tuple[int, int]]]:
    """The arrays that could hold a page of an access, and for which kinds of access and logarithms of sizes."""
    found: dict[_Set, set[tuple[int, int]]] = {}
    for level in (1, 2):
        for access in Access:
            for shift, size in _SHIFTS.items():
                arrays = tuple(
                    array
                    for array in geometry.arrays
                    if array.level == level and array.kinds & Kinds(1 << access) and array.page_sizes & size
                )
                if arrays:
                    found.setdefault(_Set(level, arrays), set()).add((int(access), shift))
    return found


class Reasons:
    """Replays the stream through a model, and sorts its misses."""

    def __init__(self, geometry: Geometry, memory_bytes: int, seed: int = 0) -> None:
        self._geometry = geometry
        self._model = Observed(geometry, memory_bytes, seed)
        self._sets = array_sets(geometry)
        self._stacks: dict[tuple[_Set, int], tuple[LruStack, LruStack]] = {}
        self._counts: dict[_Set, Counter[str]] = {each: Counter() for each in self._sets}
        self._faults = 0
        self._cr4 = 0

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch."""
        levels = self._model.noted(batch).levels
        self._faults += int(np.count_nonzero(columns.shift == 0))
        vcpus = 1 + max((int(each.max()) for each in (columns.vcpu, batch.controls["vcpu"]) if len(each)), default=0)
        for each, pairs in self._sets.items():
            table = np.zeros((_NOBODY + 1, 64), bool)
            for access, shift in pairs:
                table[access, shift] = True
            kind = np.where(table[columns.kind, columns.shift], columns.kind, np.uint8(_NOBODY))
            chosen = columns._replace(kind=kind)
            missed = (levels != 1) if each.level == 1 else (levels == 0)
            for vcpu in range(vcpus):
                self._sort(each, vcpu, chosen, missed)
        controls = batch.controls
        written = controls["b"][(controls["op"] == Op.REGISTER) & (controls["a"] == Register.CR4)]
        if len(written):
            self._cr4 = int(written[-1])

    def _sort(self, each: _Set, vcpu: int, columns: Columns, missed: npt.NDArray[np.bool_]) -> None:
        if (each, vcpu) not in self._stacks:
            pair = LruStack(vcpu=vcpu), LruStack(vcpu=vcpu, invalidations=False)
            for stack in pair:
                stack.take(Batch.of(controls_of([(0, Op.REGISTER, 0, Register.CR4, self._cr4)])))
            self._stacks[each, vcpu] = pair
        held, kept = (np.zeros(len(columns.vaddr), np.uint64) for _ in range(2))
        for stack, distances in zip(self._stacks[each, vcpu], (held, kept), strict=True):
            stack.take(columns, distances)
        counted = held != LEFT_OUT
        missed, size = missed & counted, np.uint64(each.entries)
        cold = missed & (kept == COLD)
        capacity = missed & ~cold & (kept >= size)
        invalidation = missed & ~cold & ~capacity & (held >= size)
        counts = self._counts[each]
        for name, which in (("cold", cold), ("capacity", capacity), ("invalidation", invalidation)):
            counts[name] += int(np.count_nonzero(which))
        counts["misses"] += int(np.count_nonzero(missed))
        counts["accesses"] += int(np.count_nonzero(counted))
        counts["lucky"] += int(np.count_nonzero(counted & ~missed & (held >= size)))

    def finding(self) -> Finding:
        """A table: a row for each set of arrays."""
        rows, figures = [], dict[str, Any]()
        for each, counts in self._counts.items():
            if not counts["accesses"]:
                continue
            counts["conflict"] = counts["misses"] - sum(counts[name] for name in REASONS if name != "conflict")
            figures[each.name] = {"entries": each.entries, **counts}
            rows.append(
                (
                    each.name, f"{each.entries:,}", f"{counts['accesses']:,}", f"{counts['misses']:,}",
                    percent(counts["misses"], counts["accesses"]), *(f"{counts[name]:,}" for name in REASONS),
                )
            )  # fmt: skip
        headers = ("arrays", "entries", "accesses", "misses", "of accesses", *REASONS)
        remark = (
            f"{self._geometry.name}: the first access to a page on a vCPU is cold; capacity is what a fully associative"
            " LRU TLB of as many entries would miss too; conflict what it would not; invalidation what it would not if"
            f" nothing were invalidated. {self._faults:,} accesses that faulted are left out."
        )
        return Finding("reasons", "Misses by reason", remark, [Listing("", headers, rows)], [], figures)
