"""The end of an address space (exit_mmap)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from emu.linux.errors import NoIntr
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.ordinary import ORDINARY
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_ACCOUNT = int(VmFlags.ACCOUNT)
#: So many VMAs, at most, are unmapped at once.
_RUN = 512


def exit_mmap(mm: AddressSpace) -> None:
    """Free everything that an address space has, which no task uses any more.  If the run is to end, the next one goes
    on.
    """
    try:
        for run in _runs(mm.vmas):
            mm.stop.check()
            mm.empty(run[0].start, run[-1].end)
            if len(run) == 1:
                mm.remove(run[0])
            else:
                _remove_run(mm, run)
    except NoIntr:
        mm.stop.put_off(functools.partial(exit_mmap, mm))
        return
    mm.tables.drop_links()
    mm.tables.free_tables(0, mm.task_size)  # tables that were kept because others shared them
    mm.context.flusher.forget(mm)
    mm.tables.destroy()
    if mm.exe_file is not None:
        mm.exe_file.put()
    del mm.context.address_spaces[mm.serial]
    mm.kmem.uncharge(mm.charged)


def _runs(vmas: Iterable[Vma]) -> Iterator[list[Vma]]:
    """VMAs of private anonymous memory that follow each other, together; all others singly."""
    run: list[Vma] = []
    for vma in list(vmas):
        if vma.anonymous and len(run) < _RUN:
            run.append(vma)
            continue
        if run:
            yield run
        run = [vma] if vma.anonymous else []
        if not run:
            yield [vma]
    if run:
        yield run


def _remove_run(mm: AddressSpace, run: list[Vma]) -> None:
    """Unmap and forget VMAs of private anonymous memory, between which there are no others."""
    ORDINARY.unmap_range(mm, run[0], run[0].start, run[-1].end)
    mm.vmas.remove_run(run)
    mm.hiwater_bytes = max(mm.hiwater_bytes, mm.total_bytes)
    accounted = 0
    for vma in run:
        mm.total_bytes -= vma.length
        if vma.flags & _ACCOUNT:
            accounted += vma.length
        if vma.file is not None:
            vma.file.put()
    mm.context.commit.uncharge(accounted >> PAGE_SHIFT)
    if any(vma.prot & Prot.EXEC for vma in run):
        mm.code_id = mm.context.new_code_id()
