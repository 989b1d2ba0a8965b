"""What unmapping and fork do with many entries of page tables, natively.

:mod:`emu.mm.fastentries` says where that is possible.  Entries, references, counts and the order in which frames become
free are those of :mod:`emu.mm.memory`, :mod:`emu.mm.rss` and :mod:`emu.mm.pagetable`.
"""

from __future__ import annotations

from emu.mm.entrystate import ALL, MARKERS, MOST, NO_REFERENCE, RECENT, SHARED, TOO_MANY, EntryWork
from emu.mm.pageflags import PG_ACTIVE, PG_DIRTY, PG_LARGE, PG_MAYBE_SHARED, PG_REFERENCED, FrameKind
from emu.mm.pagetable import ADDRESS, HERE, SPECIAL, A, D, P
from emu.mm.swapops import POISONED_ENTRY
from mmu import entries
from mmu.native import entry, load8, load32, load64, native, store8, store32, store64

_PS, _ADDRESS = int(entries.PS), ADDRESS
_TABLE = P | _PS
_PAGE_SHIFT, _PMD_SHIFT, _PUD_SHIFT, _PGD_SHIFT, _IN_TABLE = 12, 21, 30, 39, 511
_PAGE_SIZE, _PTE_SPAN, _PMD_SPAN, _PUD_SPAN = 1 << 12, 1 << 21, 1 << 30, 1 << 39
_RANGE_BYTES, _CLEARED_BYTES, _COPIED_BYTES = 24, 40, 32
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_FREE, _ANON = int(FrameKind.FREE), int(FrameKind.ANON)


@native
def table_of(work: EntryWork, pgd: int, vaddr: int, level: int) -> int:
    """The host address of the table of a level that translates an address; if there is none, the level at which that
    is known."""
    at, table = work.levels, work.ram + (pgd << _PAGE_SHIFT)
    while at > level:
        found = load64(table + ((vaddr >> (_PAGE_SHIFT + 9 * (at - 1))) & _IN_TABLE) * 8)
        if found & _TABLE != P:
            return at
        table = work.ram + (found & _ADDRESS)
        at -= 1
    return table


@native
def _behind(vaddr: int, level: int) -> int:
    """The first address behind what an entry of this level covers."""
    size = 1 << (_PAGE_SHIFT + 9 * (level - 1))
    return (vaddr | (size - 1)) + 1


@native
def _here(work: EntryWork, pgd: int, start: int, end: int) -> int:
    """How many entries of [start, end) map a page, or TOO_MANY."""
    number, vaddr = 0, start
    while vaddr < end:
        table = table_of(work, pgd, vaddr, 1)
        if table <= work.levels:
            vaddr = _behind(vaddr, table)
            continue
        at, stop = vaddr, _behind(vaddr, 2)
        vaddr = stop if stop < end else end
        while at < vaddr:
            if load64(table + ((at >> _PAGE_SHIFT) & _IN_TABLE) * 8) & HERE != 0:
                number += 1
            at += _PAGE_SIZE
        if number > MOST:
            return TOO_MANY
    return number


@native
def _drop(work: EntryWork, frame: int) -> bool:
    """Drop a reference of a frame, which may be free then; False if there is none."""
    left = load32(work.counts + frame * 4)
    if left == 0:
        return False
    left -= 1
    store32(work.counts + frame * 4, left)
    if left == 0:
        counted = work.kinds_freed + load8(work.kinds + frame) * 8
        store64(counted, load64(counted) + 1)
        store8(work.kinds + frame, _FREE)
        store8(work.flags + frame, 0)
        store64(work.freed_frames + work.freed * 8, frame)
        work.freed += 1
    return True


@native
def _must_be_marked(work: EntryWork, frame: int) -> bool:
    """A page of a page cache has been used: whether it is more than a flag to say so."""
    flags = load8(work.flags + frame)
    if flags & PG_LARGE != 0:
        return True
    if flags & PG_REFERENCED == 0:
        store8(work.flags + frame, flags | PG_REFERENCED)
        return False
    return flags & PG_ACTIVE == 0


@native
def _clear_page(work: EntryWork, found: int, options: int) -> bool:
    """An entry that mapped a page has gone; False if the frame has no reference."""
    if found & SPECIAL != 0:
        return True
    frame = (found & _ADDRESS) >> _PAGE_SHIFT
    if options & SHARED != 0 and found & D != 0:
        store8(work.flags + frame, load8(work.flags + frame) | PG_DIRTY)
    if load8(work.kinds + frame) == _ANON:
        work.anon += 1
    else:
        work.cached += 1
        if options & RECENT != 0 and found & A != 0 and _must_be_marked(work, frame):
            store64(work.left_frames + work.left * 8, frame)
            work.left += 1
            return True
    return _drop(work, frame)


@native
def clear_range(work: EntryWork, pgd: int, start: int, end: int, options: int) -> bool:
    """Clear the entries of [start, end) that map pages or say that they are poisoned, or with MARKERS all, and drop the
    references; False if a frame has none."""
    work.low = end
    vaddr = start
    while vaddr < end:
        table = table_of(work, pgd, vaddr, 1)
        if table <= work.levels:
            vaddr = _behind(vaddr, table)
            continue
        at, stop = vaddr, _behind(vaddr, 2)
        vaddr = stop if stop < end else end
        while at < vaddr:
            place = table + ((at >> _PAGE_SHIFT) & _IN_TABLE) * 8
            found = load64(place)
            at += _PAGE_SIZE
            if found & HERE != 0:
                work.high = at
                if work.low == end:
                    work.low = at - _PAGE_SIZE
                store64(place, 0)
                if not _clear_page(work, found, options):
                    return False
            elif found != 0 and (options & MARKERS != 0 or found == POISONED_ENTRY):
                store64(place, 0)
    return True


@entry("u64", EntryWork, "u64", "u64", "u64", "u64")
def clear_entries(work: EntryWork, pgd: int, start: int, end: int, options: int) -> int:
    """Clear a range, and say how many of its entries mapped a page, TOO_MANY, or NO_REFERENCE."""
    work.freed = work.anon = work.cached = work.left = 0
    number = _here(work, pgd, start, end)
    if number == TOO_MANY:
        return number
    return number if clear_range(work, pgd, start, end, options) else NO_REFERENCE


@entry("u64", EntryWork, "u64", "u64")
def clear_ranges(work: EntryWork, pgd: int, number: int) -> int:
    """The same for so many ranges, one after the other; returns how many entries of all of them did."""
    work.freed = work.anon = work.cached = work.left = 0
    at, to, pages, end = work.ranges, work.cleared, 0, work.ranges + number * _RANGE_BYTES
    while at < end:
        here = _here(work, pgd, load64(at), load64(at + 8))
        if here == TOO_MANY or pages + here > MOST:
            return TOO_MANY
        store64(to, here)
        pages, at, to = pages + here, at + _RANGE_BYTES, to + _CLEARED_BYTES
    at, to = work.ranges, work.cleared
    while at < end:
        if not clear_range(work, pgd, load64(at), load64(at + 8), load64(at + 16)):
            return NO_REFERENCE
        store64(to + 8, work.freed)
        store64(to + 16, work.left)
        store64(to + 24, work.low)
        store64(to + 32, work.high)
        at, to = at + _RANGE_BYTES, to + _CLEARED_BYTES
    return pages


# -- tables ------------------------------------------------------------------------------------------------------------


@native
def _is_empty(table: int) -> bool:
    at = 0
    while at < _PAGE_SIZE:
        if load64(table + at) != 0:
            return False
        at += 8
    return True


@native
def _free_table(work: EntryWork, place: int) -> bool:
    """Free the table at which an entry points if it is empty; whether it was."""
    child = (load64(place) & _ADDRESS) >> _PAGE_SHIFT
    if work.freed == MOST or not _is_empty(work.ram + (child << _PAGE_SHIFT)):
        return False
    store64(place, 0)
    return _drop(work, child)


@native
def _free_tables_of_ptes(work: EntryWork, table: int, low: int, end: int, floor: int, ceiling: int) -> None:
    """Those of [low, end) at which entries of one table point."""
    low &= _ALL_ONES - (_PTE_SPAN - 1)
    while low < end:
        place = table + ((low >> _PMD_SHIFT) & _IN_TABLE) * 8
        above = low + _PTE_SPAN
        if load64(place) & _TABLE == P and floor <= low and above <= ceiling and _free_table(work, place):
            work.ptes += 1
        low = above


@native
def _free_pmd_tables(work: EntryWork, table: int, low: int, end: int, floor: int, ceiling: int) -> None:
    """The same one level up."""
    while low < end:
        place = table + ((low >> _PUD_SHIFT) & _IN_TABLE) * 8
        found, above = load64(place), _behind(low, 3)
        if found & _TABLE == P:
            stop = above if above < end else end
            _free_tables_of_ptes(work, work.ram + (found & _ADDRESS), low, stop, floor, ceiling)
            if floor <= above - _PMD_SPAN and above <= ceiling and _free_table(work, place):
                work.pmds += 1
        low = above


@entry("void", EntryWork, "u64", "u64", "u64", "u64", "u64")
def free_tables(work: EntryWork, pgd: int, low: int, end: int, floor: int, ceiling: int) -> None:
    """Free the empty tables of four levels that cover a part of [low, end) and nothing below ``floor`` or from
    ``ceiling`` on."""
    work.freed = work.ptes = work.pmds = work.puds = 0
    table = work.ram + (pgd << _PAGE_SHIFT)
    while low < end:
        place = table + ((low >> _PGD_SHIFT) & _IN_TABLE) * 8
        found, above = load64(place), _behind(low, 4)
        if found & _TABLE == P:
            stop = above if above < end else end
            _free_pmd_tables(work, work.ram + (found & _ADDRESS), low, stop, floor, ceiling)
            if floor <= above - _PUD_SPAN and above <= ceiling and _free_table(work, place):
                work.puds += 1
        low = above


# -- fork --------------------------------------------------------------------------------------------------------------


@native
def _copy_page(work: EntryWork, found: int) -> None:
    """One more entry maps a page that now is nobody's alone."""
    work.pages += 1
    if found & SPECIAL != 0:
        return
    frame = (found & _ADDRESS) >> _PAGE_SHIFT
    store32(work.counts + frame * 4, load32(work.counts + frame * 4) + 1)
    store8(work.flags + frame, load8(work.flags + frame) | PG_MAYBE_SHARED)
    if load8(work.kinds + frame) == _ANON:
        work.anon += 1
    else:
        work.cached += 1


@native
def _copy_range(work: EntryWork, source: int, target: int, place: int) -> int:
    """Copy the entries of one range, of which the words are its start, its end, and what an entry that maps a page
    keeps in the parent, and of that in the child, as masks.  Returns ALL, or an address for which the child has no
    table, where it goes on the next time."""
    vaddr, end, parents, childs = load64(place), load64(place + 8), load64(place + 16), load64(place + 24)
    while vaddr < end:
        table = table_of(work, source, vaddr, 1)
        if table <= work.levels:
            vaddr = _behind(vaddr, table)
            continue
        copy = table_of(work, target, vaddr, 1)
        if copy <= work.levels:
            store64(place, vaddr)
            return vaddr
        at, stop = vaddr, _behind(vaddr, 2)
        vaddr = stop if stop < end else end
        while at < vaddr:
            offset = ((at >> _PAGE_SHIFT) & _IN_TABLE) * 8
            found = load64(table + offset)
            if found & HERE != 0:
                found &= parents
                store64(table + offset, found)
                found &= childs
                _copy_page(work, found)
            store64(copy + offset, found)
            at += _PAGE_SIZE
    return ALL


@entry("u64", EntryWork, "u64", "u64", "u64")
def copy_ranges(work: EntryWork, source: int, target: int, number: int) -> int:
    """Copy the entries of so many ranges to the tables of a child, and count the pages for it, as far as it has tables:
    ALL, or an address for which it has none."""
    while work.copied < number:
        at = _copy_range(work, source, target, work.ranges + work.copied * _COPIED_BYTES)
        if at != ALL:
            return at
        work.copied += 1
    return ALL
