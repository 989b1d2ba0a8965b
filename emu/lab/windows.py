"""The working set in one pass: how many pages each window of so many accesses touches."""

from __future__ import annotations

import ctypes

from emu.lab.distances import Accesses
from emu.lab.pagetags import FIRST, PageTable, find, has_room, move_entries, page_tag, take
from mmu.native import entry, load8, load32, load64, store64
from mmu.state import fields


class Windows(ctypes.Structure):
    """What is being counted.  FIRST of a page's entry is the number, from 1, of the last window that touched it."""

    table: int  # the PageTable
    accesses: int  # of a window
    kinds: int  # bits: which kinds of access count
    number: int  # of the window, from 1
    at: int  # accesses of it so far
    touched: int  # pages of it so far
    ended: int  # windows since this was set to 0

    _fields_ = fields(__annotations__)


@entry("u64", Windows, Accesses, "u64", "u64")
def count_windows(windows: Windows, columns: Accesses, count: int, done: int) -> int:
    """Take ``count`` accesses; for each window that ends, the pages that it touched go to the array at ``done``.

    Returns how many accesses were taken: less than ``count`` where the table must grow first.
    """
    table = PageTable.from_address(windows.table)
    last_tag, last_space, index = 0, 0, 0
    while index < count:
        if (windows.kinds >> load8(columns.kind + index)) & 1:
            tag = page_tag(load64(columns.vaddr + index * 8), max(load8(columns.shift + index), 12))
            space = load32(columns.space + index * 4)
            if tag != last_tag or space != last_space:
                if not has_room(table):
                    return index
                page = find(table, tag, space)
                if load64(page) == 0:
                    take(table, page, tag, space)
                if load64(page + FIRST) != windows.number:
                    store64(page + FIRST, windows.number)
                    windows.touched += 1
                last_tag, last_space = tag, space
            windows.at += 1
            if windows.at == windows.accesses:
                store64(done + windows.ended * 8, windows.touched)
                windows.ended += 1
                windows.number += 1
                windows.at, windows.touched, last_tag = 0, 0, 0
        index += 1
    return count


@entry("void", Windows, PageTable)
def move_windows(windows: Windows, new: PageTable) -> None:
    """Move to a larger table."""
    move_entries(PageTable.from_address(windows.table), new)
