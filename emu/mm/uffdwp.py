"""Write protection by userfaultfd: a bit in entries that map a page, and markers where none is mapped (uffd_wp_range of
mm/userfaultfd.c, change_protection() of mm/mprotect.c).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import hugememory, hugepmd, hugesplit, rss
from emu.mm.flags import VmFlags
from emu.mm.pagetable import RW, UFFD_WP_BIT, span
from emu.mm.swapops import SWP_UFFD_WP, UFFD_WP_ENTRY, here, swapped
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_NO_RW, _NO_BIT = (~bit & (1 << 64) - 1 for bit in (RW, UFFD_WP_BIT))


def write_protect(mm: AddressSpace, start: int, end: int, *, on: bool) -> None:
    """UFFDIO_WRITEPROTECT (mwriteprotect_range).  LinuxError(ENOENT) at the first mapping that is not registered for
    it, ENOMEM.
    """
    vmas = mm.vmas.overlapping(start, end)
    if not vmas:
        raise LinuxError(errno.ENOENT)
    for vma in vmas:
        mm.stop.check()
        if not vma.flags & VmFlags.UFFD_WP:
            raise LinuxError(errno.ENOENT)
        uffd_wp_range(mm, vma, max(vma.start, start), min(vma.end, end), on=on)


def uses_markers(vma: Vma) -> bool:
    """Whether pages that are not mapped can be protected (userfaultfd_wp_use_markers)."""
    if not vma.flags & VmFlags.UFFD_WP or vma.uffd is None:
        return False
    return not vma.anonymous or vma.uffd.wp_unpopulated


def uffd_wp_range(mm: AddressSpace, vma: Vma, start: int, end: int, *, on: bool) -> None:
    """Protect [start, end) of a VMA, or take the protection away.  LinuxError(ENOMEM)."""
    if on and vma.page_cache is not None:  # protected entry by entry (pgtable_split_needed)
        hugesplit.split_range(mm, start, end)
    if on and uses_markers(vma):
        _mark(mm, start, end)
    flush = mm.obligation(start, end, "userfaultfd")
    changed = hugememory.protect_writes(mm, vma, start, end, on=on)
    for _, slot, number in mm.tables.pte_tables(start, end):
        view = mm.tables.words[slot : slot + number]
        mapping = here(view)
        if mm.rss_swap and len(away := np.flatnonzero(swapped(view))):
            view[away] = view[away] | SWP_UFFD_WP if on else view[away] & np.uint64(~SWP_UFFD_WP & (1 << 64) - 1)
        if not mapping.any():
            if not on:
                view[view == np.uint64(UFFD_WP_ENTRY)] = 0
            continue
        changed = True
        entries = view[mapping]
        if on:
            view[mapping] = (entries | UFFD_WP_BIT) & np.uint64(_NO_RW)
        else:
            protected = (entries & UFFD_WP_BIT) != 0
            entries &= np.uint64(_NO_BIT)
            if vma.prot & Prot.WRITE:
                again = protected if vma.shared else protected & rss.exclusive(mm, entries)
                entries[again] |= RW
            view[mapping] = entries
            view[view == np.uint64(UFFD_WP_ENTRY)] = 0
    if not changed:
        flush.nothing_present()
    elif on:
        flush.flush()
    else:
        flush.rights_added()


def _mark(mm: AddressSpace, start: int, end: int) -> None:
    covered = span(2)
    for address in range(start & -covered, end, covered):
        mm.stop.check()
        low, high = max(address, start), min(address + covered, end)
        if hugepmd.huge_slot(mm, low) is not None:
            continue
        slot = mm.tables.entry_slot_alloc(low, 1)
        view = mm.tables.words[slot : slot + ((high - low) >> PAGE_SHIFT)]
        view[view == 0] = np.uint64(UFFD_WP_ENTRY)
