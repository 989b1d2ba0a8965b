"""The machine's block hook in exact mode: the TLB model handles the fetches of a block, and its instructions are
counted (:mod:`emu.engine.hooks`)."""

from __future__ import annotations

from emu.engine.hooks import enter_block
from emu.engine.records import FAR, TrapState
from mmu.exact import fetch_block
from mmu.native import entry
from mmu.state import MmuState

#: What the clock is made of is a part of the state (:class:`emu.engine.records.Count`).
_COUNT = MmuState.granted.offset  # type: ignore[attr-defined]


@entry("void", "u64", "u64", "u32", "u64")
def on_modelled_block(uc: int, address: int, size: int, record: int) -> None:
    """UC_HOOK_BLOCK: a fetch, then the block is counted, or emulation stops before it.  ``record``: the host address of
    the TrapState, with FAR."""
    trap = TrapState.from_address(record ^ FAR)
    fetch_block(MmuState.from_address(trap.count - _COUNT), address, size)
    enter_block(uc, address, size, trap, 0)
