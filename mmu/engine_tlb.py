"""How large the engine's own translation cache is: as large as what a program uses, within bounds.

The engine doubles it where it is flushed, if 70 % of it were used since it had the last size, and has 256 entries at
first.  A program that works in one address space never has it flushed.  So it is flushed between two turns where it was
filled many times over; that depends on the guest alone, as all turns do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmu import unicorn_abi

if TYPE_CHECKING:
    from mmu.plugin import Mmu

#: The engine looks at every entry whenever it translates a block, and empties each in a flush.
MOST_ENTRIES = 16384
#: It is looked at after so many instructions, and flushed if each entry was filled so many times by then.
INSTRUCTIONS, TIMES = 1_000_000, 8


class EngineTlb:
    """That of one engine."""

    def __init__(self, mmu: Mmu) -> None:
        self._mmu = mmu
        self._clock = self._fills = 0

    def turn_is_over(self, clock: int) -> None:
        """A turn is over, and so many instructions are retired.  Not within emulation."""
        if clock - self._clock < INSTRUCTIONS:
            return
        state = self._mmu.state
        fills = state.fills + state.plain_fills
        made, self._fills, self._clock = fills - self._fills, fills, clock
        if made < unicorn_abi.FIRST_TLB_ENTRIES * TIMES:
            return
        entries = unicorn_abi.tlb_entries(self._mmu.uc)
        if made >= entries * TIMES and entries < MOST_ENTRIES:
            unicorn_abi.flush_tlb(self._mmu.uc)
            state.epoch += 1
