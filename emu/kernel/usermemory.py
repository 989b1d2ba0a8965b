"""User memory as native code reaches it: what the tables allow as they are (emu.mm.usercopy takes faults too)."""

from __future__ import annotations

from mmu.entries import ADDRESS, PS, RW, US, P
from mmu.native import load8, load64, native, store64
from mmu.state import MmuState

#: What an entry must have for a load and for a store.
READABLE, WRITABLE = P | US, P | US | RW
#: No physical address.
NOWHERE = 0xFFFF_FFFF_FFFF_FFFF
_TABLE = P | PS
_PAGE, _IN_PAGE, _IN_HUGE_PAGE = 4096, 0xFFF, 0x1F_FFFF
_HUGE_FRAME = 0x000F_FFFF_FFE0_0000


@native
def leaf(state: MmuState, cr3: int, vaddr: int) -> int:
    """The host address of the entry that maps a user address, or 0."""
    at = state.ram + (cr3 & ADDRESS) + ((vaddr >> 39) & 511) * 8
    shift = 30
    while shift != 3:
        upper = load64(at)
        if upper & _TABLE != P:
            return at if upper & PS != 0 and shift == 12 else 0
        at = state.ram + (upper & ADDRESS) + ((vaddr >> shift) & 511) * 8
        shift -= 9
    return at


@native
def translated(state: MmuState, cr3: int, vaddr: int, needed: int) -> int:
    """The physical address of a user address, if the tables allow the access as they are."""
    at = leaf(state, cr3, vaddr)
    if at == 0:
        return NOWHERE
    found = load64(at)
    if found & needed != needed:
        return NOWHERE
    if found & PS != 0:
        return (found & _HUGE_FRAME) | (vaddr & _IN_HUGE_PAGE)
    return (found & ADDRESS) | (vaddr & _IN_PAGE)


@native
def use(state: MmuState, cr3: int, vaddr: int, used: int) -> None:
    """The access is made: A, and D of a store."""
    at = leaf(state, cr3, vaddr)
    if load64(at) & used != used:
        store64(at, load64(at) | used)


@native
def buffer(state: MmuState, task_size: int, cr3: int, vaddr: int, length: int, needed: int) -> int:
    """The physical address of a buffer within one page; to be stored to only where no code is."""
    if vaddr >= task_size or task_size - vaddr < length or (vaddr & _IN_PAGE) + length > _PAGE:
        return NOWHERE
    paddr = translated(state, cr3, vaddr, needed)
    if paddr != NOWHERE and needed == WRITABLE and load8(state.has_code + (paddr >> 12)) != 0:
        return NOWHERE
    return paddr
