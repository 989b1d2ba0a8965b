"""Finding the frame behind a user address of any process, and faulting ranges in (mm/gup.c).

Locking, populating and looking into memory use this path, not the process's own accesses: MAP_POPULATE, mlock,
MADV_POPULATE, process_vm_readv, /proc/PID/mem, vmsplice, shared futexes.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError, NoIntr
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.pagetable import ADDRESS, PS, RW, SPECIAL, US, D, P
from emu.mm.stackgrowth import expand_stack
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


_IO, _WRITE = int(VmFlags.IO), Access.WRITE
#: What is looked at of an entry that maps a small page to write to.
_TO_WRITE = P | US | RW | PS


def allows_access(vma: Vma, access: Access, *, force: bool) -> bool:
    """Whether the kernel may access the VMA for another process (check_vma_flags); ``force`` ignores the rights as a
    debugger does: reading always, writing to private copies.
    """
    if vma.bits & _IO or vma.ops.secret:
        return False
    if access == Access.WRITE:
        return bool(vma.prot & Prot.WRITE) or (force and not vma.shared)
    return bool(vma.prot & Prot.READ) or force


def get_user_page(mm: AddressSpace, address: int, access: Access, *, force: bool = False, pinned: bool = False) -> int:
    """The frame behind an address, faulted in if necessary.  The page stays only until the next change.  ``pinned``: it
    is this process's alone, even if it is only read (FOLL_PIN).

    LinuxError(EFAULT) where nothing is mapped, or not with these rights; (ENOMEM) without memory.
    """
    if not 0 <= address < mm.task_size:
        raise LinuxError(errno.EFAULT)
    vma = mm.vmas.find(address)
    if vma is None:
        raise LinuxError(errno.EFAULT)
    if access is _WRITE and vma.ordinary and vma.allowed[_WRITE] and not vma.bits & _IO:
        slot = mm.tables.leaf_slot(address)
        entry = 0 if slot is None else mm.frames.ram.qwords[slot]
        if entry & _TO_WRITE == P | US | RW:  # it is there
            frame = (entry & ADDRESS) >> PAGE_SHIFT
            if entry & (D | SPECIAL) != D or not mm.frames.is_active(frame):
                vma.ops.touch(mm, vma, address, access)
            return frame
    if not allows_access(vma, access, force=force):
        raise LinuxError(errno.EFAULT)
    gup = vma.ops.gup if vma.allows(access) else vma.ops.gup_forced
    frame = gup(mm, vma, address, access)
    if pinned and access == Access.READ:
        vma.ops.gup_unshare(mm, vma, address)
        frame = gup(mm, vma, address, access)
    vma.ops.touch(mm, vma, address, access)
    return frame


def access_to_populate(vma: Vma) -> Access:
    """The access for which a VMA's pages are faulted in; for a shared VMA only a read, since dirty pages would gain
    nothing.
    """
    return Access.WRITE if vma.prot & Prot.WRITE and not vma.shared else Access.READ


def populate(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """MAP_POPULATE: fault every page of [start, end) in; stops quietly where that fails, as the kernel does."""
    # no more pages than there is memory: the zero page could be mapped for ever
    end = min(end, start + mm.frames.total * PAGE_SIZE)
    try:
        vma.ops.populate(mm, vma, start, end, access_to_populate(vma))
    except NoIntr:  # the run ends; the pages are faulted in when they are touched
        return
    if vma.prot:
        mm.frames.lru_add_drain()


def fault_in(mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> None:
    """Make every page of [start, end), which lies in the VMA, present.  LinuxError(EFAULT, ENOMEM)."""
    if (end - start) >> PAGE_SHIFT > mm.frames.total:  # as above; one page more is one too many
        end = start + (mm.frames.total + 1) * PAGE_SIZE
    vma.ops.fault_in(mm, vma, start, end, access)


def _expand_stack(mm: AddressSpace, address: int, *, force: bool) -> None:
    """What heeds no rights lets a stack grow, at the first address (access_remote_vm)."""
    if force and 0 <= address < mm.task_size and mm.vmas.find(address) is None:
        expand_stack(mm, address)


def read_remote(mm: AddressSpace, address: int, length: int, *, force: bool = False, pinned: bool = False) -> bytes:
    """Bytes of any process's memory, up to the first page that cannot be read; LinuxError(EFAULT) if the first page
    cannot.  ``force`` and ``pinned`` as for :func:`get_user_page`.
    """
    parts: list[bytes] = []
    end = address + length
    _expand_stack(mm, address, force=force)
    while address < end and not (parts and mm.stop.requested):
        offset = address & (PAGE_SIZE - 1)
        step = min(PAGE_SIZE - offset, end - address)
        try:
            frame = get_user_page(mm, address, Access.READ, force=force, pinned=pinned)
        except LinuxError:
            if not parts:
                raise
            break
        parts.append(mm.frames.read(frame, offset, step))
        address += step
    return b"".join(parts)


def write_remote(mm: AddressSpace, address: int, data: bytes, *, force: bool = False) -> int:
    """Store bytes in any process's memory; returns how many, LinuxError(EFAULT) if not even the first."""
    done = 0
    _expand_stack(mm, address, force=force)
    while done < len(data) and not (done and mm.stop.requested):
        offset = (address + done) & (PAGE_SIZE - 1)
        step = min(PAGE_SIZE - offset, len(data) - done)
        try:
            frame = get_user_page(mm, address + done, Access.WRITE, force=force)
        except LinuxError:
            if not done:
                raise
            break
        mm.frames.write(frame, offset, data[done : done + step])
        mm.frames.mark_dirty(frame)
        done += step
    return done
