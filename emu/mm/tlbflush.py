"""Obligations to flush: what a change of a page table owes the TLBs.

Whoever changes an entry gets a :class:`Flush` and must discharge it, by :meth:`Flush.flush` or by saying why none is
needed. The audit reports one that was forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmu import Mmu
from mmu.plugin import StaleHit

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

_REMEMBERED = 10_000
#: Which vCPUs hear of a change of tables that others link to: every one (the flush_tlb_all of the third series), those
#: that have an address space loaded that shares them (the design of 2026), or only the one that makes the change (the
#: early series, whose other vCPUs then use stale translations).
TLB_POLICIES = ("all", "sharers", "local")


class Flush:
    """Translations of [start, end) of an address space may be stale in a TLB."""

    __slots__ = ("_flusher", "end", "mm", "start")

    def __init__(self, flusher: TlbFlusher, mm: AddressSpace, start: int, end: int) -> None:
        self._flusher = flusher
        self.mm = mm
        self.start = start
        self.end = end
        flusher.pending += 1

    def flush(self) -> None:
        """Invalidate the range wherever the address space may be loaded."""
        self._flusher.pending -= 1
        if self._flusher.changes is not None:
            self._flusher.note(self, "flushed")
        self._flusher.flush_range(self.mm, self.start, self.end)

    def none_needed(self, why: str) -> None:
        """Discharge the obligation without a flush; ``why`` is the argument, for the reader."""
        assert why
        self._flusher.pending -= 1
        if self._flusher.changes is not None:
            self._flusher.note(self, f"no flush: {why}")


@dataclass(frozen=True)
class Change:
    """One change of page tables: whose, where, when (instructions retired), by which process, and what became of its
    flush."""

    mm_name: str
    start: int
    end: int
    clock: int
    pid: int | None
    outcome: str


class TlbFlusher:
    """Knows which address space each vCPU has loaded, and flushes."""

    def __init__(self, mmu: Mmu) -> None:
        self._mmu = mmu
        self._loaded: AddressSpace | None = None
        #: Obligations that nobody has discharged yet.
        self.pending = 0
        #: The latest changes of tables, while somebody looks for stale translations.
        self.changes: deque[Change] | None = None
        #: Who runs, for the record of changes.
        self.current_pid: Callable[[], int | None] = lambda: None

    @property
    def loaded(self) -> AddressSpace | None:
        """The address space whose PGD is in CR3."""
        return self._loaded

    def switch_mm(self, mm: AddressSpace) -> None:
        """Load CR3 (which flushes), unless these tables are loaded already."""
        if mm is not self._loaded:
            self._loaded = mm
            self._mmu.load_cr3(mm.tables.pgd_paddr)

    def forget(self, mm: AddressSpace) -> None:
        """The address space is going away: its tables must not stay loaded."""
        if mm is self._loaded:
            self._loaded = None

    def flush_range(self, mm: AddressSpace, start: int, end: int) -> None:
        """Invalidate [start, end) of an address space; all of every TLB if its tables are shared with others."""
        if mm.shared_tables:
            self._mmu.flush()
        elif mm is self._loaded:
            self._mmu.flush_range(start, end - start)
        # else: no TLB holds anything of it, since loading CR3 without PCID flushed it all

    # -- the stale-translation detector ----------------------------------------------------------------------------

    def watch(self) -> None:
        """Hold every modelled TLB hit against the tables, and remember who changes these.

        ValueError without a TLB model.
        """
        self._mmu.check_tlb()
        self.changes = deque(maxlen=_REMEMBERED)

    def note(self, flush: Flush, outcome: str) -> None:
        """Remember a change of tables."""
        assert self.changes is not None
        clock = self._mmu.state.clock
        self.changes.append(Change(flush.mm.name, flush.start, flush.end, clock, self.current_pid(), outcome))

    def stale_findings(self) -> list[str]:
        """Every stale translation that was used, a sentence each: the first hit, and how many more there were."""
        hits: dict[tuple[int, ...], list[StaleHit]] = {}
        for hit in self._mmu.stale:
            hits.setdefault((hit.cpu, hit.asid, hit.vaddr >> 12, hit.cached_paddr >> 12), []).append(hit)
        return [
            self._explain(first) + (f" ({len(more)} more hits on it were seen)" if more else "")
            for first, *more in hits.values()
        ]

    def _explain(self, hit: StaleHit) -> str:
        fresh = "nothing" if hit.fresh_paddr is None else f"{hit.fresh_paddr:#x}"
        text = (
            f"stale translation: process {hit.asid} on CPU {hit.cpu} {hit.access.name.lower()}s {hit.vaddr:#x} at "
            f"{hit.cached_paddr:#x}, which its TLB holds, and the tables say {fresh}"
        )
        blame = [c for c in self.changes or () if c.start <= hit.vaddr < c.end and c.clock <= hit.clock]
        if not blame:
            return f"{text}; no change of that entry was announced, so CPU {hit.cpu} was never told"
        last = blame[-1]
        who = "the kernel" if last.pid is None else f"process {last.pid}"
        change = f"{who} changed it at instruction {last.clock} ({last.mm_name}; {last.outcome})"
        return f"{text}; {change}, and CPU {hit.cpu} was not told"
