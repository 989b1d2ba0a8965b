"""Finding the frame behind a user address of any process, faulting it in where that is needed (mm/gup.c).

What locks, populates or looks into memory goes this way, and not through the process's own accesses: mlock,
MADV_POPULATE, process_vm_readv, /proc/PID/mem, vmsplice, shared futexes.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.fault import expand_stack, fault_in_vma
from emu.mm.pagetable import ADDRESS, RW, XD, P
from emu.mm.populate import populate_range
from emu.mm.vma import FaultResult, Prot, Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

_ATTEMPTS = 8


def allows_access(vma: Vma, access: Access, *, force: bool) -> bool:
    """Whether the kernel may look there for somebody (check_vma_flags); ``force`` goes past the rights as a debugger
    does: reading always, writing to private copies.
    """
    if access == Access.WRITE:
        return bool(vma.prot & Prot.WRITE) or (force and not vma.shared)
    return bool(vma.prot & Prot.READ) or force


def get_user_page(mm: AddressSpace, address: int, access: Access, *, force: bool = False) -> int:
    """The frame behind an address, after what a fault there would do.  The page stays only until the next change.

    LinuxError(EFAULT) where nothing is mapped, or not with these rights; (ENOMEM) without memory.
    """
    if not 0 <= address < mm.task_size:
        raise LinuxError(errno.EFAULT)
    vma = mm.vmas.find(address) or expand_stack(mm, address)
    if vma is None or not allows_access(vma, access, force=force):
        raise LinuxError(errno.EFAULT)
    if vma.ops is not None and vma.ops.owns_tables:
        return _page_of_shared_table(mm, vma, address, access)
    if not vma.allows(access) or (access == Access.READ and not vma.prot):
        return _forced(mm, vma, address, access)
    for _ in range(_ATTEMPTS):
        pte = mm.tables.pte(address)
        if pte & P and (access != Access.WRITE or pte & RW):
            return (pte & ADDRESS) >> PAGE_SHIFT
        _take_fault(mm, fault_in_vma(mm, vma, address, access))
    raise AssertionError(f"get_user_page: {address:#x} stays inaccessible although every fault was resolved")


def _page_of_shared_table(mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
    assert vma.ops is not None
    for _ in range(_ATTEMPTS):
        pte = mm.tables.pte(address)
        if pte & P and (access != Access.WRITE or pte & RW):
            return (pte & ADDRESS) >> PAGE_SHIFT
        _take_fault(mm, vma.ops.gup_fault(mm, vma, address, access))
    raise AssertionError(f"get_user_page: {address:#x} of a window stays inaccessible although faults were resolved")


def _take_fault(mm: AddressSpace, result: FaultResult) -> None:
    if not result.resolved:
        raise LinuxError(errno.ENOMEM if result == FaultResult.OOM else errno.EFAULT)
    if mm.on_kernel_fault is not None:
        mm.on_kernel_fault(result, 1)


def _forced(mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
    """Fault as if the VMA allowed it, then take the rights away from the entry again (FOLL_FORCE)."""
    page, allowed = address & -PAGE_SIZE, vma.prot
    slot = mm.tables.entry_slot(page, 1)
    q = mm.frames.ram.qwords
    if slot is not None and q[slot] and access == Access.READ:
        return (q[slot] & ADDRESS) >> PAGE_SHIFT
    vma.prot = allowed | Prot.READ | (Prot.WRITE if access == Access.WRITE else Prot.NONE)
    flush = mm.obligation(page, page + PAGE_SIZE)
    try:
        result = fault_in_vma(mm, vma, address, access)
    finally:
        vma.prot = allowed
        slot = mm.tables.entry_slot(page, 1)
        if slot is not None and q[slot]:
            writable = RW if allowed & Prot.WRITE and q[slot] & RW else 0
            rights = (P if allowed else 0) | (0 if allowed & Prot.EXEC else XD) | writable
            q[slot] = q[slot] & ~(P | RW | XD) | rights
        flush.flush()
    _take_fault(mm, result)
    assert slot is not None
    return (q[slot] & ADDRESS) >> PAGE_SHIFT


def fault_in(mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> None:
    """Make every page of [start, end), which lies in the VMA, present.  LinuxError(EFAULT, ENOMEM)."""
    # no more pages than there is memory: the zero page could be mapped for ever
    if (end - start) >> PAGE_SHIFT > mm.frames.total:
        end = start + (mm.frames.total + 1) * PAGE_SIZE
    if vma.ops is not None and vma.ops.owns_tables:
        for page in range(start, end, PAGE_SIZE):
            get_user_page(mm, page, access)
        return
    failed = populate_range(mm, vma, start, end, access)
    if failed is not None:
        raise LinuxError(errno.ENOMEM if failed == FaultResult.OOM else errno.EFAULT)


def read_remote(mm: AddressSpace, address: int, length: int, *, force: bool = False) -> bytes:
    """Bytes of any process's memory, up to the first page that cannot be read; LinuxError(EFAULT) if that is the
    first.
    """
    parts: list[bytes] = []
    end = address + length
    while address < end:
        offset = address & (PAGE_SIZE - 1)
        step = min(PAGE_SIZE - offset, end - address)
        try:
            frame = get_user_page(mm, address, Access.READ, force=force)
        except LinuxError:
            if not parts:
                raise
            break
        parts.append(mm.frames.read(frame, offset, step))
        address += step
    return b"".join(parts)


def write_remote(mm: AddressSpace, address: int, data: bytes, *, force: bool = False) -> int:
    """Store bytes in any process's memory; returns how many, LinuxError(EFAULT) if not even the first fits."""
    done = 0
    while done < len(data):
        offset = (address + done) & (PAGE_SIZE - 1)
        step = min(PAGE_SIZE - offset, len(data) - done)
        try:
            frame = get_user_page(mm, address + done, Access.WRITE, force=force)
        except LinuxError:
            if not done:
                raise
            break
        mm.frames.write(frame, offset, data[done : done + step])
        done += step
    return done
