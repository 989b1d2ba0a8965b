"""Logical processors that take turns on one engine: the private state of each.

There is one :class:`mmu.state.MmuState`, which native code looks at.  The registers, translation caches and counters of
a processor that does not have its turn are kept here.  Everything else (control registers, memory, the event ring,
marks of code) is common to all.
"""

from __future__ import annotations

from mmu.state import MmuState

#: The registers that each processor has for itself; ``asid`` identifies the process that runs there.
REGISTERS = ("cr3", "pcid", "asid")
#: The counters, which :class:`mmu.Counters` sums up.
COUNTERS = ("fills", "walks", "walk_loads", "page_faults", "ad_updates", "flushes", "cr3_loads")
#: Fills that are counted only here, each with a walk of four entries.
PLAIN_FILLS = "plain_fills"
#: The addresses of the translation caches.
MODEL = (
    "tlb_number", "tlb_arrays", "tlb_lists", "tlb_shared", "small_pages", "tlb_time", "tlb_random", "structure_caches",
    "access_counts", "walk_cost", "smashed", "pieces", "pieces_number",
)  # fmt: skip
_FIELDS = (*REGISTERS, *COUNTERS, PLAIN_FILLS, *MODEL)


class Processors:
    """``number`` logical processors on one state; the first one has the state to begin with."""

    def __init__(self, state: MmuState, number: int) -> None:
        if number < 1:
            raise ValueError(f"a machine has at least one processor, not {number}")
        self._state = state
        self.number = number
        self.current = 0
        fresh = [0] * len(_FIELDS)
        self._aside = [list(fresh) for _ in range(number)]

    def _check(self, processor: int) -> None:
        if not 0 <= processor < self.number:
            raise ValueError(f"processors are numbered from 0 to {self.number - 1}; there is no {processor}")

    def select(self, processor: int) -> None:
        """Let ``processor`` have the state; the engine's own translations are the caller's affair."""
        self._check(processor)
        state = self._state
        self._aside[self.current] = [getattr(state, name) for name in _FIELDS]
        for name, value in zip(_FIELDS, self._aside[processor], strict=True):
            setattr(state, name, value)
        state.cpu = self.current = processor

    def register(self, processor: int, name: str) -> int:
        """A field of one processor, whoever has the state."""
        self._check(processor)
        if processor == self.current:
            return int(getattr(self._state, name))
        return self._aside[processor][_FIELDS.index(name)]

    def set_register(self, processor: int, name: str, value: int) -> None:
        """Set a field of one processor, whoever has the state."""
        self._check(processor)
        if processor == self.current:
            setattr(self._state, name, value)
        else:
            self._aside[processor][_FIELDS.index(name)] = value
