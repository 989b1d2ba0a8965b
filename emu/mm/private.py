"""Private memory of which nothing is special, the stacks of threads above all, is mapped, protected and unmapped by the
short way: what :mod:`emu.mm.mmap` and :mod:`emu.mm.mprotect` ask and do for other kinds of memory is left out.

Each function says whether it has done its work; if not, nothing has changed, and those do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.limits import Rlimit
from emu.linux.mman import MapFlags, Prot
from emu.mm.commit import Overcommit
from emu.mm.flags import VmFlags
from emu.mm.pagetable import span
from emu.mm.unmapped_area import place_on_top
from emu.mm.vma import Vma
from emu.mm.vmatree import VmaTree, merge_between
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

# plain integers, which are looked at quicker
_ACCOUNT, _NORESERVE = int(VmFlags.ACCOUNT), int(VmFlags.NORESERVE)
_WRITE, _EXEC = int(Prot.WRITE), int(Prot.EXEC)
_STACK, _UNPROMISED = int(MapFlags.STACK), int(MapFlags.NORESERVE)
#: More mappings than these are unmapped one by one.
_FEW = 8
#: What one table maps, by the bits of an address: in one such part a table goes with its last mapping.
_TABLE_SHIFT, _TABLE_SPAN = 21, span(2)
_MAPPED = Cost.MAPPED


def map_private(mm: AddressSpace, length: int, prot: Prot, flags: int) -> int | None:
    """mmap(2) with MAP_PRIVATE and MAP_ANONYMOUS, and perhaps MAP_NORESERVE and MAP_STACK, wherever there is room: the
    address, or None.  LinuxError(ENOMEM).
    """
    context, vmas = mm.context, mm.vmas
    pages = (length + PAGE_SIZE - 1) >> PAGE_SHIFT
    length = pages << PAGE_SHIFT
    if not 0 < length <= mm.task_size or not length % _TABLE_SPAN or len(vmas) > context.max_map_count:
        return None
    if mm.bottom_up or mm.mdwe or mm.default_lock or context.limit(Rlimit.AS) is not None:
        return None
    writes = prot & _WRITE
    if writes and context.limit(Rlimit.DATA) is not None:
        return None
    mm.reserve_vmas()
    address = place_on_top(mm, length)
    if address is None:
        return None
    vm_flags = VmFlags.NOHUGEPAGE if flags & _STACK else VmFlags.NONE
    if flags & _UNPROMISED and context.commit.mode != Overcommit.NEVER:
        vm_flags |= VmFlags.NORESERVE
    elif writes:
        context.commit.charge(pages, mm)
        vm_flags |= VmFlags.ACCOUNT
    vma = Vma(address, address + length, prot, vm_flags, pgoff=address >> PAGE_SHIFT)
    for hook in context.map_hooks:
        if hook.of_private_memory:
            hook.mapped(mm, vma, flags)
    mm.insert(vma)
    mm.last_mapped = length, prot, flags
    return address


def protect_private(mm: AddressSpace, start: int, end: int, prot: Prot) -> bool:
    """mprotect(2) of a part of one mapping, that lies in what one table maps.  LinuxError(ENOMEM)."""
    context, vmas, tables = mm.context, mm.vmas, mm.tables
    vma = vmas.find(start)
    if vma is None or vma.end < end or start >> _TABLE_SHIFT != (end - 1) >> _TABLE_SHIFT or not vma.plain:
        return False
    old, flags = vma.prot, vma.flags
    if old == prot or prot & _EXEC or mm.mdwe or context.max_map_count - len(vmas) < 2:
        return False
    if context.stop.look() or tables.transparent or context.thp.used or context.flusher.detector is not None:
        return False
    accounted = flags & _ACCOUNT
    if prot & _WRITE and not old & _WRITE:  # it is promised from now on
        if context.limit(Rlimit.DATA) is not None:
            return False
        promised = not accounted and not flags & _NORESERVE
    elif accounted and not prot & _WRITE and vma.anon_vma is None:
        return False
    else:
        promised = False
    if vma.start < start or end < vma.end:
        mm.reserve_vmas()
    if promised:
        context.commit.charge((end - start) >> PAGE_SHIFT, mm)
        flags |= VmFlags.ACCOUNT
    part = vma if vma.start == start else _cut(vmas, vma, start)
    if end < part.end:
        _cut(vmas, part, end)
    part.change(prot, flags)
    slot = tables.leaf_slot(start)
    if slot is not None and any(mm.frames.ram.qwords[slot : slot + ((end - start) >> PAGE_SHIFT)]):
        part.ops.protected(mm, part)
    below, above = vmas.beside(part)
    merge_between(vmas, below, part, above)
    mm.last_rights = prot
    return True


def _cut(vmas: VmaTree, vma: Vma, address: int) -> Vma:
    """The mapping keeps what is below the address; the rest, which is returned, becomes another one."""
    upper = vma.copy(address, vma.end)
    vma.end = address
    vmas.add(upper)
    return upper


def unmap_private(mm: AddressSpace, start: int, end: int) -> bool:
    """munmap(2) of a few whole mappings that lie in what one table maps."""
    context = mm.context
    run = mm.vmas.overlapping(start, end)
    if not 0 < len(run) <= _FEW:
        return False
    first, last = run[0], run[-1]
    if first.start < start or end < last.end or first.start >> _TABLE_SHIFT != (last.end - 1) >> _TABLE_SHIFT:
        return False
    for vma in run:
        if not vma.plain:
            return False
    entries = context.entries
    if mm.tables.transparent or not entries.can_clear(mm, first, start, end) or context.stop.look():
        return False
    mm.note_peak()
    total = accounted = 0
    for vma in run:
        number = entries.clear(mm, vma, vma.start, vma.end, markers=True)
        if number:
            context.flusher.flush_range(mm, vma.start, vma.end, "unmap", entries.mapped)
            context.clock.charge(number * _MAPPED)
        total += vma.end - vma.start
        if vma.bits & _ACCOUNT:
            accounted += vma.end - vma.start
    below, above = mm.vmas.remove_together(run)
    floor, ceiling = 0 if below is None else below.end, 1 << 57 if above is None else above.start
    if not entries.free_tables(mm.tables, first.start, last.end, floor, ceiling):
        mm.tables.free_tables(first.start, last.end, floor, ceiling)
    mm.hiwater_bytes = max(mm.hiwater_bytes, mm.total_bytes)
    mm.total_bytes -= total
    if accounted:
        context.commit.uncharge(accounted >> PAGE_SHIFT)
    return True
