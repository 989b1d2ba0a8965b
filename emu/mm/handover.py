"""Handing memory over to another address space, at the same addresses: tables change hands, data and references stay.

A table that translates only the memory in question is handed over whole, with everything below it, by moving the one
entry that points at it; the entries of other tables move one table at a time.  So 300 GiB of 4 KiB pages are handed
over by moving 300 entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emu.mm import rss
from emu.mm.flags import VmFlags
from emu.mm.hugesplit import split_range
from emu.mm.pagetable import ADDRESS, P, PageTables, span
from emu.mm.vma import Vma
from mmu.entries import PS
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

_ADDRESS, _SHIFT = np.uint64(ADDRESS), np.uint64(PAGE_SHIFT)
_TABLE = np.uint64(P), np.uint64(P | int(PS))  # a present entry that is not a large page


class _Piece(NamedTuple):
    """A piece handed over at once: a whole table of this level (or the large page in its place), or for level 0 some
    entries of a PTE table.
    """

    vaddr: int
    level: int
    entries: int


def hand_over(source: AddressSpace, target: AddressSpace, vmas: list[Vma]) -> None:
    """Move VMAs of ``source``, and all that their tables map, to ``target``, where the ranges are free.

    LinuxError(ENOMEM) leaves ``source`` as it was; ``target`` may then have new empty tables.
    """
    target.reserve_vmas()
    for vma in vmas:
        vma.ops.unshare(source, vma, vma.start, vma.end)
        split_range(source, vma.start, vma.end)
    pieces = [list(_pieces(source.tables, vma.start, vma.end)) for vma in vmas]
    for of_vma in pieces:
        for piece in of_vma:
            target.tables.entry_slot_alloc(piece.vaddr, piece.level + 1)
    for vma, of_vma in zip(vmas, pieces, strict=True):
        flush = source.obligation(vma.start, vma.end)
        for piece in of_vma:
            if piece.level:
                _move_table(source, target, piece)
            else:
                _move_entries(source, target, piece)
        flush.flush()
        target.insert(vma.copy(vma.start, vma.end))
        vma.flags &= ~VmFlags.ACCOUNT  # the target has taken the promise over
        vma.ops.drop_promises(vma)  # and the promise of the pool
        source.remove(vma)


def _pieces(tables: PageTables, start: int, end: int) -> Iterator[_Piece]:
    """The largest pieces that cover everything mapped in [start, end), ascending."""
    vaddr = start
    while vaddr < end:
        for level in range(tables.levels - 1, 0, -1):
            size = span(level + 1)
            slot = tables.entry_slot(vaddr, level + 1)
            if slot is None or not tables.words[slot]:
                vaddr = (vaddr & -size) + size  # nothing is mapped there
                break
            if not vaddr % size and vaddr + size <= end:
                yield _Piece(vaddr, level, 0)
                vaddr += size
                break
        else:
            stop = min((vaddr & -span(2)) + span(2), end)
            number, slot = (stop - vaddr) >> PAGE_SHIFT, tables.entry_slot(vaddr, 1)
            if slot is not None and tables.words[slot : slot + number].any():
                yield _Piece(vaddr, 0, number)
            vaddr = stop


def _move_table(source: AddressSpace, target: AddressSpace, piece: _Piece) -> None:
    q = source.frames.ram.qwords
    at, to = (mm.tables.entry_slot(piece.vaddr, piece.level + 1) for mm in (source, target))
    assert at is not None and to is not None
    entry, q[at] = q[at], 0
    q[to] = entry
    if entry & int(_TABLE[1]) == P:
        _change_hands(source, target, piece.level, np.array([(entry & ADDRESS) >> PAGE_SHIFT]))
    elif entry:
        _count_huge_pages(source, target, 1)


def _change_hands(
    source: AddressSpace, target: AddressSpace, level: int, tables: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> None:
    """Keep the books: tables of this level, and everything below them, have a new owner."""
    source.tables.tables[level] -= len(tables)
    target.tables.tables[level] += len(tables)
    words = source.tables.words.reshape(-1, 512)
    if level == 1:
        entries = words[tables].ravel()
        rss.hand_pages(source, target, entries[entries != 0])
        return
    for table in tables.tolist():
        entries = words[table]
        below = entries[(entries & _TABLE[1]) == _TABLE[0]]
        _count_huge_pages(source, target, int(np.count_nonzero(entries)) - len(below))
        if len(below):
            _change_hands(source, target, level - 1, ((below & _ADDRESS) >> _SHIFT).astype(np.int64))


def _move_entries(source: AddressSpace, target: AddressSpace, piece: _Piece) -> None:
    at, to = (mm.tables.entry_slot(piece.vaddr, 1) for mm in (source, target))
    assert at is not None and to is not None
    words = source.tables.words
    entries = words[at : at + piece.entries].copy()
    words[to : to + piece.entries] = entries
    words[at : at + piece.entries] = 0
    rss.hand_pages(source, target, entries[entries != 0])


def _count_huge_pages(source: AddressSpace, target: AddressSpace, number: int) -> None:
    source.huge_pages -= number
    target.huge_pages += number
