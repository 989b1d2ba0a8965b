"""mprotect: change the rights of a range (mm/mprotect.c)."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError, NoIntr
from emu.linux.mman import Prot
from emu.mm.address_space import AddressSpace, is_data
from emu.mm.execgain import check_exec_gain
from emu.mm.flags import VmFlags
from emu.mm.gup import populate
from emu.mm.mmap import is_accountable, is_within_data, wants_populating
from emu.mm.private import protect_private
from emu.mm.vma import Vma
from emu.mm.vmamodify import carve, check_map_count, may_split
from emu.mm.vmatree import merge_neighbours
from mmu.memory import PAGE_SHIFT, PAGE_SIZE


def do_mprotect(
    mm: AddressSpace, address: int, length: int, prot: Prot, grows: Prot = Prot.NONE, *, implied: Prot = Prot.NONE
) -> None:
    """mprotect(2); with PROT_GROWSDOWN from the start of a mapping that grows down, while none here grows up;
    ``implied`` is given besides to what may have it (READ_IMPLIES_EXEC).
    """
    wanted = prot
    if address & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    if length == 0:
        return
    end = address + (length + PAGE_SIZE - 1 & -PAGE_SIZE)
    if end > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if not grows and not implied and protect_private(mm, address, end, prot):
        return
    vmas = mm.vmas.overlapping(address, end)
    if grows and vmas and (grows & Prot.GROWSDOWN or vmas[0].start <= address):
        if not (grows & Prot.GROWSDOWN and vmas[0].flags & VmFlags.GROWSDOWN):
            raise LinuxError(errno.EINVAL)
        address = vmas[0].start
    reached = address
    for vma in vmas:
        if vma.start > reached:
            break
        mm.stop.check()
        start, reached = max(vma.start, address), min(vma.end, end)
        prot = wanted if vma.flags & VmFlags.NEVEREXEC else wanted | implied
        _check_mprotect(mm, vma, start, reached, prot)
        if vma.ops.protect(mm, vma, start, reached, prot):
            continue
        if vma.prot != prot:  # otherwise nothing changes and nothing is split
            may_split(mm, vma, start, reached)
            if mm.context.max_map_count - len(mm.vmas) < 2:
                flags = vma.flags & ~VmFlags.ACCOUNT | _account(vma, prot)
                check_map_count(mm, vma, start, reached, prot=prot, flags=flags)
            _change_vma(mm, vma, start, reached, prot)
    if reached < end:
        raise LinuxError(errno.ENOMEM)


def _change_vma(mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> None:
    """Give [start, end) of a VMA other rights (mprotect_fixup), in pieces if that is much.  NoIntr if the run is to
    end: the pieces that were reached have their rights, the others have kept theirs.
    """
    commit = mm.context.commit
    before = commit.pages
    becomes_writable = prot & Prot.WRITE and not vma.prot & Prot.WRITE and not vma.shared
    promised = _charge(mm, vma, start, end, prot)
    change, reached = commit.pages - before, start
    try:
        for low, high in mm.pieces(start, end):
            at = mm.vmas.find(low)
            assert at is not None
            part = carve(mm, at, low, high)
            part.flags = part.flags & ~VmFlags.ACCOUNT | promised
            _protect(mm, part, prot)
            part = merge_neighbours(mm.vmas, part)
            reached = high
            if becomes_writable and wants_populating(mm, part):  # what is locked is copied now, not when it is written
                populate(mm, part, low, high)
    except NoIntr:
        if change:
            rest = (end - reached) >> PAGE_SHIFT
            commit.pages += -rest if change > 0 else rest
        raise


def _check_mprotect(mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> None:
    if (prot & Prot.WRITE and vma.flags & VmFlags.NEVERWRITE) or (prot & Prot.EXEC and vma.flags & VmFlags.NEVEREXEC):
        raise LinuxError(errno.EACCES)
    check_exec_gain(mm.mdwe, vma.prot, prot)
    vma.ops.mprotect(vma, start, end, prot)
    if vma.flags & VmFlags.SEALED:
        raise LinuxError(errno.EPERM)


def _account(vma: Vma, prot: Prot) -> VmFlags:
    """The VM_ACCOUNT that the VMA gets: private memory that becomes writable is promised from then on.

    If write access is taken away, so is the promise, unless pages have been written.
    """
    accounted = VmFlags.ACCOUNT if vma.bits & VmFlags.ACCOUNT else VmFlags.NONE
    if not prot & Prot.WRITE and accounted and vma.anonymous and vma.anon_vma is None:
        return VmFlags.NONE
    if vma.prot & Prot.WRITE or not vma.ops.accountable or not is_accountable(prot, vma.flags):
        return accounted
    return VmFlags.ACCOUNT


def _charge(mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> VmFlags:
    """Make or take back the promise; returns the VM_ACCOUNT that the VMA gets.  LinuxError(ENOMEM)."""
    becomes_data = is_data(prot, vma.flags) and not is_data(vma.prot, vma.flags)
    if becomes_data and not is_within_data(mm, end - start):  # promised or not
        raise LinuxError(errno.ENOMEM)
    accounted, becomes = vma.flags & VmFlags.ACCOUNT, _account(vma, prot)
    if accounted and not becomes:
        mm.context.commit.uncharge((end - start) >> PAGE_SHIFT)
    if vma.prot & Prot.WRITE or not vma.ops.accountable or not is_accountable(prot, vma.flags):
        return becomes
    if accounted:
        return accounted
    mm.context.commit.charge((end - start) >> PAGE_SHIFT, mm)
    return VmFlags.ACCOUNT


def _protect(mm: AddressSpace, vma: Vma, prot: Prot) -> None:
    old, vma.prot = vma.prot, prot
    if (old | prot) & Prot.EXEC:
        mm.code_id = mm.context.new_code_id()
    vma.ops.protected(mm, vma)
