"""Whether all of a store across the end of a page can be made."""

from __future__ import annotations

from emu.engine.hooks import effective_address
from emu.engine.records import Hit
from emu.instructions.executed.engine import Engine, reachable
from mmu.native import entry

_PAGE, _OFFSET = 0x1000, 0xFFF


@entry("u64", "u64", Hit, "u64")
def check(uc: int, hit: Hit, address: int) -> int:
    """0 if the engine can make the store, of ``hit.number`` bytes."""
    engine = Engine.from_address(hit.engine)
    vaddr = effective_address(hit, engine.registers)
    if (vaddr & _OFFSET) + hit.number <= _PAGE or reachable(engine, vaddr, hit.number, True):
        return 0
    return 1
