"""Mappings that grow down when the address below them is touched (expand_stack)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit
from emu.mm.flags import VmFlags
from emu.mm.vma import MMAP_MIN_ADDR, STACK_GUARD_GAP
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


def expand_stack(mm: AddressSpace, address: int) -> Vma | None:
    """Grow a MAP_GROWSDOWN mapping down to ``address`` if it lies just above and its limit allows; returns it."""
    vma = mm.vmas.next_above(address)
    if vma is None or not vma.flags & VmFlags.GROWSDOWN:
        return None
    start = address & -PAGE_SIZE
    below = mm.vmas.last_below(vma.start)
    if below is not None and below.prot and not below.flags & VmFlags.GROWSDOWN:
        if start - below.end < STACK_GUARD_GAP:
            return None
    if start < MMAP_MIN_ADDR or not _may_grow(mm, vma, start):
        return None
    mm.vmas.anon_vma_prepare(vma)
    if vma.flags & VmFlags.ACCOUNT:
        try:
            mm.context.commit.charge((vma.start - start) >> PAGE_SHIFT, mm)
        except LinuxError:
            return None
    mm.vmas.remove(vma)
    mm.total_bytes += vma.start - start
    vma.pgoff -= (vma.start - start) >> PAGE_SHIFT
    vma.start = start
    mm.vmas.add(vma)
    return vma


def _may_grow(mm: AddressSpace, vma: Vma, start: int) -> bool:
    """Whether limits allow it (acct_stack_growth): of address space, of a stack, of locked memory."""
    limit = mm.context.limit
    stack, space, locked = limit(Rlimit.STACK), limit(Rlimit.AS), limit(Rlimit.MEMLOCK)
    grow = vma.start - start
    if (space is not None and mm.total_bytes + grow > space & -PAGE_SIZE) or grow >> PAGE_SHIFT > vma.pgoff:
        return False
    if stack is not None and vma.end - start > stack:
        return False
    return not vma.flags & VmFlags.LOCKED or locked is None or mm.locked_bytes + grow <= locked & -PAGE_SIZE
