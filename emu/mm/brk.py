"""brk: the end of the heap."""

from __future__ import annotations

from emu.kernel.errors import LinuxError
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.mmap import check_overcommit
from emu.mm.munmap import unmap_range
from emu.mm.vma import Prot, Vma, VmFlags
from mmu.memory import PAGE_SHIFT


def do_brk(mm: AddressSpace, address: int) -> int:
    """brk(2): the new end of the heap, or the old one if it cannot be moved."""
    if address < mm.start_brk:
        return mm.brk_end
    old, new = page_align(mm.brk_end), page_align(address)
    try:
        if new < old:
            unmap_range(mm, new, old)
        elif new > old:
            if mm.vmas.overlapping(old, new) or new > mm.task_size:
                return mm.brk_end
            if mm.limit_bytes is not None and mm.total_bytes + new - old > mm.limit_bytes:
                return mm.brk_end
            check_overcommit(mm, new - old, VmFlags.NONE)
            mm.insert(Vma(old, new, Prot.READ | Prot.WRITE, VmFlags.HEAP, pgoff=old >> PAGE_SHIFT))
    except LinuxError:
        return mm.brk_end
    mm.brk_end = address
    return address
