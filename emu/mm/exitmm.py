"""The end of an address space (exit_mmap)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import NoIntr
from emu.mm.entrystate import MARKERS, MOST_RANGES, RECENT, SHARED
from emu.mm.fastentries import NO_RECENCY
from emu.mm.flags import VmFlags
from emu.mm.ordinary import ORDINARY
from emu.mm.zap import drop_used
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_ACCOUNT, _UFFD_WP = int(VmFlags.ACCOUNT), int(VmFlags.UFFD_WP)
#: So many VMAs, at most, are unmapped at once.
_RUN = MOST_RANGES
_MAPPED = Cost.MAPPED


def exit_mmap(mm: AddressSpace) -> None:
    """Free everything that an address space has, which no task uses any more.  If the run is to end, the next one goes
    on.
    """
    try:
        for run in _runs(mm.vmas.listed()):
            mm.stop.check()
            mm.empty(run[0].start, run[-1].end)
            if run[0].ops.gathered:
                _remove_run(mm, run)
            else:
                mm.remove(run[0])
    except NoIntr:
        mm.stop.put_off(functools.partial(exit_mmap, mm))
        return
    mm.tables.drop_links()
    if not mm.context.entries.free_tables(mm.tables, 0, mm.task_size, 0, 1 << 57):
        mm.tables.free_tables(0, mm.task_size)  # with tables that were kept because others shared them
    mm.context.flusher.forget(mm)
    mm.tables.destroy()
    if mm.exe_file is not None:
        mm.exe_file.put()
    del mm.context.address_spaces[mm.serial]
    mm.kmem.uncharge(mm.charged)


def _runs(vmas: list[Vma]) -> Iterator[list[Vma]]:
    """VMAs of memory that is gathered and that follow each other, together; all others singly."""
    run: list[Vma] = []
    for vma in vmas:
        if vma.ops.gathered and len(run) < _RUN:
            run.append(vma)
            continue
        if run:
            yield run
        run = [vma] if vma.ops.gathered else []
        if not run:
            yield [vma]
    if run:
        yield run


def _remove_run(mm: AddressSpace, run: list[Vma]) -> None:
    """Unmap and forget VMAs of gathered memory, between which there are no others; nothing runs in them any more."""
    if not _unmap_natively(mm, run):
        _unmap(mm, run)
    mm.vmas.remove_run(run)
    mm.hiwater_bytes = max(mm.hiwater_bytes, mm.total_bytes)
    total = accounted = 0
    for vma in run:
        length = vma.end - vma.start
        total += length
        if vma.bits & _ACCOUNT:
            accounted += length
        if vma.file is None:
            if vma.page_cache is not None:
                vma.drop_cache()
            continue
        if vma.page_cache is not None:
            del vma.page_cache.mappings[vma]
        vma.file.put()
    mm.total_bytes -= total
    mm.context.commit.uncharge(accounted >> PAGE_SHIFT)


def _unmap(mm: AddressSpace, run: list[Vma]) -> None:
    """Clear the entries of VMAs of gathered memory: of anonymous ones that follow each other together."""
    unmap, first = ORDINARY.unmap_range, None
    for vma in run:
        if vma.anonymous:
            first, last = first or vma, vma
            continue
        if first is not None:
            unmap(mm, first, first.start, last.end)
            first = None
        vma.ops.unmap(mm, vma)
    if first is not None:
        unmap(mm, first, first.start, last.end)


def _unmap_natively(mm: AddressSpace, run: list[Vma]) -> bool:
    """The same at once; False, and nothing is done, where that is not possible."""
    entries = mm.context.entries
    if not entries.can_clear_all(mm):
        return False
    vmas: list[Vma] = []
    ranges: list[int] = []
    together = False
    for vma in run:
        if vma.bits & _UFFD_WP:
            return False
        anonymous = vma.page_cache is None and vma.ops.ordinary
        if anonymous and together:
            ranges[-2] = vma.end
        else:
            vmas.append(vma)
            options = MARKERS if anonymous or vma.bits & NO_RECENCY else RECENT | MARKERS
            ranges += (vma.start, vma.end, options | SHARED if vma.shared else options)
        together = anonymous
    mm.note_peak()
    cleared = entries.clear_ranges(mm, ranges)
    if cleared is None:
        return False
    done, pages, held = 0, 0, mm.context.flusher.may_be_held(mm)
    for number, vma in enumerate(vmas):
        if found := cleared[5 * number]:
            _, _, used, low, high = cleared[5 * number : 5 * number + 5]
            if held:
                start, end = ranges[3 * number : 3 * number + 2]
                mm.context.flusher.flush_range(mm, start, end, "unmap", (low, high))
            pages += found
            if used > done:
                drop_used(mm, vma, entries.used[done:used])
                done = used
    mm.context.clock.charge(pages * _MAPPED)
    return True
