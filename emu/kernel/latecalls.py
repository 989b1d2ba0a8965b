"""System calls that are answered natively at once, while their work is done when the kernel goes on: memory is mapped
where it is known what comes of it, and a task is woken that waits for a word.

:mod:`emu.kernel.latework` says when that is possible, and does the work.
"""

from __future__ import annotations

from emu.kernel.faststate import FastState
from emu.kernel.faultfill import FaultRange, FaultState
from emu.linux.cost import Cost
from emu.mm.entrystate import MARKERS, EntryWork
from emu.mm.entrywork import clear_range, table_of
from emu.mm.pagetable import ADDRESS, HERE
from mmu.native import call3, load64, native, store64
from mmu.state import MmuState

_RDX, _RSI, _RDI, _R8, _R9, _R10 = 16, 48, 56, 64, 72, 80
_PAGE, _IN_PAGE = 4096, 0xFFF
_WHOLE_PAGES = 0xFFFF_FFFF_FFFF_F000
_PAGE_SHIFT, _IN_TABLE = 12, 511
_MAPPED = Cost.MAPPED
#: So many frames may be taken again.
MOST_FRAMES = 8
#: It is left to the kernel.
REFUSED = (1 << 64) - 1


@native
def maps_as_before(path: FastState, registers: int) -> bool:
    """Whether mmap(2) asks for the mapping that is known."""
    length = load64(registers + _RSI)
    if path.place == 0 or path.stands != 0 or path.mapped != 0 or length == 0 or length > path.length:
        return False
    if (length + _IN_PAGE) & _WHOLE_PAGES != path.length or load64(registers + _RDI) != 0:
        return False
    if load64(registers + _RDX) != path.prot or load64(registers + _R10) != path.flags:
        return False
    return load64(registers + _R9) & _IN_PAGE == 0


@native
def protects_as_before(path: FastState, registers: int) -> bool:
    """Whether mprotect(2) gives a part of it these rights, once."""
    start, length = load64(registers + _RDI), load64(registers + _RSI)
    if path.mapped == 0 or path.high != 0 or length == 0 or length > path.length:
        return False
    if start & _IN_PAGE != 0 or start < path.place or load64(registers + _RDX) != path.rights:
        return False
    return start + ((length + _IN_PAGE) & _WHOLE_PAGES) <= path.place + path.length


@native
def protects(path: FastState, registers: int) -> None:
    """That part."""
    path.low = load64(registers + _RDI)
    path.high = path.low + ((load64(registers + _RSI) + _IN_PAGE) & _WHOLE_PAGES)


@native
def expect_faults(path: FastState) -> None:
    """What has been unmapped is there again, as it was: the frames that it had are those that its pages get next."""
    if path.faults == 0 or path.unmapped != 1 or path.low != path.guard or path.high != path.place + path.length:
        return
    work, faults = EntryWork.from_address(path.entries), FaultState.from_address(path.faults)
    if work.freed == 0 or work.freed > MOST_FRAMES:
        return
    last, number = 0, 0
    while number < work.freed:  # the lowest is taken first
        at, least = 0, REFUSED
        while at < work.freed:
            frame = load64(work.freed_frames + at * 8)
            if frame > last and frame < least:
                least = frame
            at += 1
        store64(faults.listed + number * 8, least)
        last, number = least, number + 1
    found = FaultRange.from_address(faults.ranges)
    found.start, found.end, found.read, found.write, found.copy = path.low, path.high, 0, path.page_bits, 0
    faults.first, faults.frames, faults.zeroing, faults.number = 0, number, path.zeroing, 1
    path.turn_end = 0  # as it is not known


@native
def unmappable(path: FastState, registers: int, cost: int) -> int:
    """How many pages the mapping has, if munmap(2) asks for all of it and its entries, of one table, say nothing else;
    else REFUSED."""
    length, end = load64(registers + _RSI), path.place + path.length
    if path.stands == 0 or load64(registers + _RDI) != path.place or length == 0 or length > path.length:
        return REFUSED
    state = MmuState.from_address(path.mmu)
    if (length + _IN_PAGE) & _WHOLE_PAGES != path.length or state.large_epoch == state.epoch or state.event_mask != 0:
        return REFUSED
    work = EntryWork.from_address(path.entries)
    table = table_of(work, (state.cr3 & ADDRESS) >> _PAGE_SHIFT, path.place, 1)
    if table <= work.levels:
        return REFUSED
    at, last = (path.place >> _PAGE_SHIFT) & _IN_TABLE, ((end - 1) >> _PAGE_SHIFT) & _IN_TABLE
    guard, pages = (path.guard >> _PAGE_SHIFT) & _IN_TABLE, 0
    while at <= last:
        found = load64(table + at * 8)
        if found != 0:
            if at < guard or found & HERE == 0:
                return REFUSED
            pages += 1
        at += 1
    if path.system_ns + cost + pages * _MAPPED >= path.look_at:
        return REFUSED
    return pages


@native
def unmap(path: FastState, pages: int) -> None:
    """Clear its entries, and have the engine forget them."""
    state, work = MmuState.from_address(path.mmu), EntryWork.from_address(path.entries)
    work.freed = work.anon = work.cached = work.left = 0
    path.stands, path.unmapped, path.pages, path.mapped, path.high = 0, 1, pages, 0, 0
    if pages == 0:
        return
    pgd = (state.cr3 & ADDRESS) >> _PAGE_SHIFT
    if not clear_range(work, pgd, path.place, path.place + path.length, MARKERS):
        path.unmapped = 2
    path.system_ns += pages * _MAPPED
    state.flushes += 1
    vaddr = work.low
    while vaddr < work.high:
        call3(path.flush_page, path.engine_cpu, vaddr, 0)
        vaddr += _PAGE
