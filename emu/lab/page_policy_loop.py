"""The native loop that maps each page of a stream when it is first used."""

from __future__ import annotations

import ctypes

from mmu.access_log import Op
from mmu.entries import ADDRESS, PS, RW, US, A, D, P
from mmu.native import entry, load64, native, store32, store64
from mmu.state import fields

CONTROL_BYTES = 24
#: How many pages the loop remembers to have mapped.
REMEMBERED = 1 << 12
#: The most entries that one access needs.
_MOST = 4
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


class Mapper(ctypes.Structure):
    """Page tables that grow, and the controls that tell of them.  Every field is a uint64."""

    ram: int  # host address of the memory of tables
    ram_bytes: int
    next_table: int  # physical addresses: of the table that comes next, and of the page
    next_page: int
    leaf: int  # the level of the entries that map pages
    identity: int  # pages are at the physical address that is their virtual one
    controls: int  # address of the controls, and how many there may be, and are
    capacity: int
    made: int
    known: int  # address of uint64[REMEMBERED][2]: pages that are mapped, each with its PML4
    frames: int  # address of uint64[frames_number][2]: where pages are, by rising address; 0: one after the other
    frames_number: int
    refused: int  # why an access cannot be mapped: NOT_CANONICAL, NO_MEMORY, NO_FRAME

    _fields_ = fields(__annotations__)


#: In ``refused``: there is no such address, no more memory for tables, or no frame is given for the page.
NOT_CANONICAL, NO_MEMORY, NO_FRAME = 1, 2, 3


@native
def _new_table(mapper: Mapper) -> int:
    table = mapper.next_table
    mapper.next_table = table + 0x1000
    return table


@native
def _set_entry(mapper: Mapper, index: int, slot: int, value: int) -> None:
    store64(mapper.ram + slot, value)
    at = mapper.controls + mapper.made * CONTROL_BYTES
    store64(at, slot)
    store64(at + 8, value)
    store32(at + 16, index)
    store32(at + 20, Op.ENTRY)
    mapper.made += 1


@native
def _given(mapper: Mapper, page: int) -> int:
    """Where a page is that begins at this address, if that is given."""
    low, high = 0, mapper.frames_number
    while low < high:
        middle = (low + high) >> 1
        if load64(mapper.frames + middle * 16) < page:
            low = middle + 1
        else:
            high = middle
    if low < mapper.frames_number and load64(mapper.frames + low * 16) == page:
        return load64(mapper.frames + low * 16 + 8)
    mapper.refused = NO_FRAME
    return 0


@native
def _page_for(mapper: Mapper, vaddr: int, shift: int) -> int:
    """The physical address of the page, of 1 << shift bytes, that holds ``vaddr``."""
    if mapper.frames != 0:
        return _given(mapper, vaddr >> shift << shift)
    if mapper.identity != 0:
        return vaddr
    page = mapper.next_page
    mapper.next_page = page + (1 << shift)
    return page


@native
def _map(mapper: Mapper, pml4: int, vaddr: int, index: int) -> bool:
    """Make the entries that are missing; False if that is not possible."""
    high = vaddr >> 47
    if high != 0 and high != 0x1FFFF:
        mapper.refused = NOT_CANONICAL
        return False
    if mapper.next_table + _MOST * 0x1000 > mapper.ram_bytes:
        mapper.refused = NO_MEMORY
        return False
    table, level, leaf = pml4, 4, mapper.leaf
    while True:
        shift = 12 + 9 * (level - 1)
        slot = table | (((vaddr >> shift) & 511) << 3)
        found = load64(mapper.ram + slot)
        if level == leaf:
            if found == 0:
                page = _page_for(mapper, vaddr, shift)
                if mapper.refused != 0:
                    return False
                flags = P | RW | US | A | D if level == 1 else P | RW | US | A | D | PS
                _set_entry(mapper, index, slot, page & ADDRESS & (_ALL_ONES ^ ((1 << shift) - 1)) | flags)
            return True
        if found == 0:
            found = _new_table(mapper) | P | RW | US | A
            _set_entry(mapper, index, slot, found)
        table = found & ADDRESS
        level -= 1


@entry("u64", Mapper, "u64", "u64", "u64", "u64")
def map_pages(mapper: Mapper, pml4: int, vaddrs: int, begin: int, end: int) -> int:
    """Map the pages of the accesses from number ``begin`` to ``end``, of uint64 addresses, in the tables below a PML4.
    Returns the number of the first that was left, since there was no room for its controls, or it was refused."""
    i = begin
    while i < end:
        vaddr = load64(vaddrs + i * 8)
        page = vaddr & _PAGE_MASK
        known = mapper.known + ((page >> 12) & (REMEMBERED - 1)) * 16
        if load64(known) != page or load64(known + 8) != pml4:
            if mapper.made + _MOST > mapper.capacity or not _map(mapper, pml4, vaddr, i):
                return i
            store64(known, page)
            store64(known + 8, pml4)
        i += 1
    return i
