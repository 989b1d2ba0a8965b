"""The stale-translation detector: modelled hits that a fresh walk of the page tables does not confirm."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mmu.guard import Guard
from mmu.registers import Access
from mmu.shown import ShownInHex
from mmu.state import MmuState, Status

_MOST = 1000
_NOTICE = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)


@dataclass(frozen=True, repr=False)
class StaleHit(ShownInHex):
    """A modelled TLB hit that the page tables no longer bear out: what the TLB held, and what a walk finds (None: a
    fault)."""

    _hexadecimal: ClassVar[frozenset[str]] = frozenset(("vaddr", "cached_paddr", "fresh_paddr"))

    vaddr: int
    access: Access
    cached_paddr: int
    fresh_paddr: int | None
    asid: int
    cpu: int
    clock: int


class StaleHits:
    """Collects the first 1000 stale hits, and reports each."""

    def __init__(self, state: MmuState, guard: Guard) -> None:
        self._state = state
        self.hits: list[StaleHit] = []
        self.on_hit: Callable[[StaleHit], None] | None = None
        state.on_stale = guard.pointer(_NOTICE, self._on_stale)

    def _on_stale(self, vaddr: int, access: int, cached: int) -> int:
        """Called by native code, which has just walked."""
        state = self._state
        fresh = state.walked.paddr if state.status == Status.OK else None
        hit = StaleHit(vaddr, Access(access), cached, fresh, state.asid, state.cpu, state.clock)
        if len(self.hits) < _MOST:
            self.hits.append(hit)
        if self.on_hit is not None:
            self.on_hit(hit)
        return 0
