"""Giving a part of a VMA other rights, flags or whatever else: it becomes a VMA of its own first, and joins its
neighbours afterwards (vma_modify in mm/vma.c).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.hugesplit import split_at
from emu.mm.vma import can_merge
from emu.mm.vmatree import merge_neighbours

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.flags import VmFlags
    from emu.mm.vma import Vma


def may_split(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Check that the part of a VMA within [start, end) can become a separate one.  LinuxError(EINVAL, ENOMEM)."""
    for edge in (start, end):
        if vma.start < edge < vma.end:
            vma.ops.may_split(vma, edge)
            mm.reserve_vmas()


def check_map_count(mm: AddressSpace, vma: Vma, start: int, end: int, **changed: object) -> None:
    """Check that vm.max_map_count lets the part of a VMA within [start, end) have other rights, flags, or whatever else
    is ``changed``.  LinuxError(ENOMEM); the VMA is already split at ``start`` if one more was allowed and two are
    needed.
    """
    room = mm.context.max_map_count - len(mm.vmas)
    if room >= 2 or room >= (vma.start < start) + (end < vma.end):
        return
    part = vma.copy(max(vma.start, start), min(vma.end, end))
    for name, value in changed.items():
        setattr(part, name, value)
    below, above = mm.vmas.find(part.start - 1), mm.vmas.find(part.end)
    if (below is not None and can_merge(below, part)) or (above is not None and can_merge(part, above)):
        return
    if room == 1:
        split_vma(mm, vma, start)
    raise LinuxError(errno.ENOMEM)


def split_vma(mm: AddressSpace, vma: Vma, address: int) -> Vma:
    """Cut at ``address``; the VMA keeps the lower part, the upper one is returned."""
    vma.ops.may_split(vma, address)
    if mm.tables.transparent:
        split_at(mm, address)
    vma.ops.split(mm, vma, address)
    upper = vma.copy(address, vma.end)
    vma.end = address
    mm.vmas.add(upper)
    if not vma.ordinary or vma.page_cache is not None or vma.file is not None:
        mm.hold(upper)
    return upper


def carve(mm: AddressSpace, vma: Vma, start: int, end: int) -> Vma:
    """Split so that the part of ``vma`` within [start, end) is a separate VMA; return it."""
    if vma.start < start:
        vma = split_vma(mm, vma, start)
    if vma.end > end:
        split_vma(mm, vma, end)
    return vma


def modify_flags(mm: AddressSpace, vma: Vma, start: int, end: int, flags: VmFlags) -> Vma:
    """Give [start, end) of a VMA these flags; returns the VMA that it is then part of (vma_modify_flags).

    LinuxError(EINVAL, ENOMEM) if the VMA would have to be split and cannot be.
    """
    if flags == vma.flags:
        return vma
    may_split(mm, vma, start, end)
    check_map_count(mm, vma, start, end, flags=flags)
    part = carve(mm, vma, start, end)
    part.flags = flags
    return merge_neighbours(mm.vmas, part)
