"""Checks of every table: its owner, the entries that link to it, and the counts of tables and links."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from emu.audit.books import Books
from emu.audit.entries import check_huge_entry, check_transparent_entry
from emu.mm.freeframes import Frames
from emu.mm.hugefault import PMD
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import ADDRESS, PS, level_name, span
from emu.mm.vma import Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace


def claim_tables(books: Books, mm: AddressSpace) -> None:
    """Visit every table that belongs to this address space, and check its accounts against them."""
    windows = _windows(mm)
    huge_before = books.huge_pages.total()
    found = _visit_tables(books, mm, windows)
    for vma in mm.vmas:
        for finding in vma.ops.check(mm, vma):
            books.say(finding)
    huge = books.huge_pages.total() - huge_before
    if mm.shared_tables and huge != mm.huge_pages:
        books.say(f"{mm.name} accounts for {mm.huge_pages} huge pages, and maps {huge}")
    for level, number in found.items():
        if number != mm.tables.tables[level]:
            name = level_name(level, mm.tables.levels)
            books.say(f"{mm.name} accounts for {mm.tables.tables[level]} {name} tables and has {number}")


def _visit_tables(books: Books, mm: AddressSpace, windows: list[Vma]) -> dict[int, int]:
    """Count the address space's tables by level, and the entries that are links."""
    tables = mm.tables
    found = {level: int(level == tables.levels) for level in tables.tables}
    books.tables[tables.pgd_frame] = mm
    todo, deposits = [(tables.levels, tables.pgd_frame, 0)], dict(tables.transparent)
    while todo:
        level, frame, base = todo.pop()
        if level == 1:
            continue
        for index, entry in present(mm, frame):
            low = base + index * span(level)
            child = (entry & ADDRESS) >> PAGE_SHIFT
            where = f"{mm.name} ({level_name(level, tables.levels)} entry for {low:#x})"
            if child >= mm.frames.total:
                books.say(f"{where} points at {child << PAGE_SHIFT:#x}, outside memory")
            elif level == PMD and entry & PS:
                if (slot := (frame << 9) + index) in deposits:
                    found[1] += _check_deposit(books, mm, low, deposits.pop(slot))
                    check_transparent_entry(books, mm, low, entry)
                else:
                    check_huge_entry(books, mm, low, entry)
            elif _linked(windows, level, low) or _is_shared_link(mm, level, low):
                books.links[child] += 1
            elif child in books.tables:
                books.say(
                    f"{where} points at table {child << PAGE_SHIFT:#x}, which {books.tables[child].name} owns already"
                )
            else:
                books.tables[child] = mm
                found[level - 1] += 1
                todo.append((level - 1, child, low))
    for slot in deposits:
        books.say(f"{mm.name} accounts for a huge page in the entry at {slot << 3:#x}, which maps none")
    return found


def _check_deposit(books: Books, mm: AddressSpace, vaddr: int, table: int) -> bool:
    """The table that is kept for when an entry is split; returns whether there is one."""
    if table in books.tables:
        books.say(f"{mm.name}: the table that is kept for {vaddr:#x} has another use")
    elif table:
        books.tables[table] = mm
        if mm.tables.words[table << 9 : (table + 1) << 9].any():
            books.say(f"{mm.name}: the table that is kept for {vaddr:#x} is not empty")
    return bool(table)


def _windows(mm: AddressSpace) -> list[Vma]:
    return [vma for vma in mm.vmas if vma.ops.link_level]


def _linked(windows: Iterable[Vma], level: int, low: int) -> bool:
    """Whether the entry of this level for ``low`` lies within a window and links another address space's table."""
    return any(vma.ops.link_level == level and vma.start <= low < vma.end for vma in windows)


def _is_shared_link(mm: AddressSpace, level: int, low: int) -> bool:
    return any(sharer.is_link(mm, level, low) for sharer in mm.context.table_sharers)


def present(mm: AddressSpace, frame: int) -> list[tuple[int, int]]:
    words = mm.tables.words[frame << 9 : (frame << 9) + 512]
    indices = np.flatnonzero(words)
    return [(int(i), int(words[i])) for i in indices]


def check_tables(books: Books, kernel: Kernel, waiting: Frames) -> None:
    frames = kernel.frames
    owned = np.fromiter(books.tables, dtype=np.int64, count=len(books.tables))
    for frame in owned[(frames.kinds[owned] != FrameKind.PAGETABLE) | (frames.counts[owned] != 1)].tolist():
        books.say(
            f"table {frame << PAGE_SHIFT:#x} of {books.tables[frame].name} is {frames.kind(frame).name} "
            f"with {frames.count(frame)} references"
        )
    books.hold(owned)
    counted = dict(kernel.share_counts.items())
    for frame in counted.keys() | books.links.keys():
        links, count = books.links.get(frame, 0), counted.get(frame, 0)
        if links != count:
            books.say(f"table {frame << PAGE_SHIFT:#x} is linked {links} times and its share count is {count}")
        if frame not in books.tables:
            books.say(f"table {frame << PAGE_SHIFT:#x} is linked but has no owner: it is {frames.kind(frame).name}")
    freed = {f for f in waiting.tolist() if frames.kind(f) == FrameKind.PAGETABLE and not frames.count(f)}
    accounted = frames.used[FrameKind.PAGETABLE] - len(freed)
    if accounted != len(books.tables):
        books.say(
            f"{accounted * PAGE_SIZE} bytes of page tables are accounted for, "
            f"and {len(books.tables) * PAGE_SIZE} are reachable"
        )
