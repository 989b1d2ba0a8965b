"""Entries that map nothing, and say why: swap entries, in the format of Linux 6.18 (arch/x86/include/asm/pgtable_64.h,
include/linux/swapops.h).

    63..59   58..9     8   7   6  5  4    3     2        1           0
    type     ~offset   0   0   0  0  0    excl  uffd-wp  soft dirty  0

A page whose VMA allows nothing stays mapped, by an entry with ``PROTNONE`` in place of P.  A *marker* has the highest
type, and says in its offset what a fault there comes to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from emu.mm.pagetable import HERE
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.freeframes import Frames

_TYPE_SHIFT, _OFFSET_SHIFT, _OFFSET_BITS = 59, 9, 50
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
#: In a swap entry: the page was this process's alone; a userfaultfd wants to hear of a write to it.
SWP_EXCLUSIVE, SWP_UFFD_WP = 1 << 3, 1 << 2
#: SWP_PTE_MARKER: the last type.
MARKER_TYPE = 31
#: PTE_MARKER_*: write-protected by userfaultfd, poisoned (UFFDIO_POISON), a guard page (MADV_GUARD_INSTALL).
UFFD_WP, POISONED, GUARD = 1, 2, 4

Entries: TypeAlias = "npt.NDArray[np.uint64]"


def swap_entry(kind: int, offset: int) -> int:
    """An entry of this type and offset (__swp_entry).

    >>> hex(swap_entry(31, 4))
    '0xfffffffffffff600'
    """
    return kind << _TYPE_SHIFT | (~offset & _OFFSET_MASK) << _OFFSET_SHIFT


def swap_type(entry: int) -> int:
    """The type of a swap entry (__swp_type)."""
    return entry >> _TYPE_SHIFT


def swap_offset(entry: int) -> int:
    """Its offset (__swp_offset)."""
    return ~entry >> _OFFSET_SHIFT & _OFFSET_MASK


def entry_of(slot: int) -> int:
    """The entry for a slot (:mod:`emu.mm.swapfile`)."""
    return swap_entry(slot >> _OFFSET_BITS, slot & _OFFSET_MASK)


def slot_of(entry: int) -> int:
    """The slot of an entry."""
    return swap_type(entry) << _OFFSET_BITS | swap_offset(entry)


def slots_of(entries: Entries) -> Frames:
    """The slots of swap entries."""
    offsets = (~entries >> np.uint64(_OFFSET_SHIFT)) & np.uint64(_OFFSET_MASK)
    kinds = entries >> np.uint64(_TYPE_SHIFT)
    slots: Frames = (offsets | kinds << np.uint64(_OFFSET_BITS)).astype(np.int64)
    return slots


def entries_of(slots: Frames) -> Entries:
    """The entries for slots."""
    words = slots.view(np.uint64)
    entries = ~words
    entries &= np.uint64(_OFFSET_MASK)
    entries <<= np.uint64(_OFFSET_SHIFT)
    entries |= words >> np.uint64(_OFFSET_BITS) << np.uint64(_TYPE_SHIFT)
    return entries


def is_swapped(entry: int) -> bool:
    """Whether an entry says in which slot a page lies."""
    return entry != 0 and not entry & HERE and swap_type(entry) != MARKER_TYPE


def swapped(entries: Entries) -> npt.NDArray[np.bool_]:
    """Which entries do."""
    away = (entries != 0) & ((entries & HERE) == 0)
    found: npt.NDArray[np.bool_] = np.logical_and(away, entries >> np.uint64(_TYPE_SHIFT) != MARKER_TYPE)
    return found


def marker(what: int) -> int:
    """A marker (make_pte_marker)."""
    return swap_entry(MARKER_TYPE, what)


GUARD_ENTRY, POISONED_ENTRY, UFFD_WP_ENTRY = marker(GUARD), marker(POISONED), marker(UFFD_WP)


def is_here(entry: int) -> bool:
    """Whether an entry maps a page, if only with PROT_NONE (pte_present)."""
    return bool(entry & HERE)


def marked(entry: int) -> int:
    """What the marker in an entry says; 0 if it is none (pte_marker_get)."""
    if not entry or is_here(entry) or swap_type(entry) != MARKER_TYPE:
        return 0
    return swap_offset(entry)


def here(entries: Entries) -> npt.NDArray[np.bool_]:
    """Which entries map a page."""
    mapping: npt.NDArray[np.bool_] = np.not_equal(entries & HERE, 0)
    return mapping
