"""munmap: taking a range out of an address space, whatever VMAs it crosses (do_vmi_munmap)."""

from __future__ import annotations

import errno

from emu.kernel.errors import LinuxError
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.vma import VmFlags
from mmu.memory import PAGE_SIZE


def do_munmap(mm: AddressSpace, address: int, length: int) -> None:
    """munmap(2)."""
    if address & (PAGE_SIZE - 1) or length == 0 or address > mm.task_size or length > mm.task_size - address:
        raise LinuxError(errno.EINVAL)
    unmap_range(mm, address, address + page_align(length))


def unmap_range(mm: AddressSpace, start: int, end: int) -> None:
    """Unmap whatever lies in [start, end); all or nothing."""
    check_unmap(mm, start, end)
    for vma in mm.vmas.overlapping(start, end):
        mm.remove(mm.carve(vma, start, end))


def check_unmap(mm: AddressSpace, start: int, end: int) -> None:
    """Every refusal before the first change: LinuxError(EPERM) for what is sealed, and whatever a VMA's owner says."""
    for vma in mm.vmas.overlapping(start, end):
        if vma.flags & VmFlags.SEALED:
            raise LinuxError(errno.EPERM)
        if vma.ops is None:
            continue
        for edge in (start, end):
            if vma.start < edge < vma.end:
                vma.ops.may_split(vma, edge)
        vma.ops.may_unmap(vma, start, end)
