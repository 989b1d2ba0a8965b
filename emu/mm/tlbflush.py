"""Obligations to flush: what a change of a page table owes the TLBs.

Whoever changes an entry gets a :class:`Flush` and must discharge it, by :meth:`Flush.flush` or by saying why none is
needed. The audit reports one that was forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmu import Mmu

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace


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
        self._flusher.flush_range(self.mm, self.start, self.end)

    def none_needed(self, why: str) -> None:
        """Discharge the obligation without a flush; ``why`` is the argument, for the reader."""
        assert why
        self._flusher.pending -= 1


class TlbFlusher:
    """Knows which address space each vCPU has loaded, and flushes."""

    def __init__(self, mmu: Mmu) -> None:
        self._mmu = mmu
        self._loaded: AddressSpace | None = None
        #: Obligations that nobody has discharged yet.
        self.pending = 0

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
