"""Changing the flags of a range: split at its ends, set, merge again (vma_modify in mm/vma.c)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.vma import Vma, VmFlags, merge_neighbours

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace


def pieces(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[Vma, int, int]]:
    """Each VMA of the range with the part of it that lies within.  LinuxError(ENOMEM) at the end if there was a hole.

    The caller may change the VMA that it was given.
    """
    at, hole = start, False
    while at < end:
        vma = mm.vmas.find(at)
        if vma is None:
            hole = True
            vma = mm.vmas.next_above(at)
            if vma is None or vma.start >= end:
                break
            at = vma.start
        stop = min(vma.end, end)
        yield vma, at, stop
        at = stop
    if hole:
        raise LinuxError(errno.ENOMEM)


def pieces_to_the_hole(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[Vma, int, int]]:
    """The same, but the first hole ends it."""
    at = start
    while at < end:
        vma = mm.vmas.find(at)
        if vma is None:
            raise LinuxError(errno.ENOMEM)
        stop = min(vma.end, end)
        yield vma, at, stop
        at = stop


def set_flags(mm: AddressSpace, vma: Vma, start: int, end: int, flags: VmFlags) -> Vma:
    """Give [start, end) of a VMA these flags; returns the VMA that it is part of then.

    LinuxError(EINVAL) if it would have to be split and cannot be.
    """
    if flags == vma.flags:
        return vma
    if vma.ops is not None:
        for edge in (start, end):
            if vma.start < edge < vma.end:
                vma.ops.may_split(vma, edge)
    part = mm.carve(vma, start, end)
    part.flags = flags
    return merge_neighbours(mm.vmas, part)
