"""Guard pages: markers in a range of a mapping, at which every access ends in a SIGSEGV, without a VMA of their own
(MADV_GUARD_INSTALL and _REMOVE of mm/madvise.c, Linux 6.13; in mappings of files 6.15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.flags import VmFlags
from emu.mm.pagetable import span
from emu.mm.swapops import GUARD_ENTRY
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: VM_SPECIAL.
NO_GUARDS = VmFlags.IO | VmFlags.DONTEXPAND | VmFlags.PFNMAP


def install_guards(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Make every page of [start, end) a guard, whatever is there.  LinuxError(ENOMEM) without a frame for a table;
    NoIntr if the run is to end: what has been done need not be done again.
    """
    mm.vmas.anon_vma_prepare(vma)
    vma.flags |= VmFlags.MAYBE_GUARD  # so that fork copies the entries
    vma.ops.zap(mm, vma, start, end)
    covered = span(2)
    for address in range(start & -covered, end, covered):
        mm.stop.check()
        low, high = max(address, start), min(address + covered, end)
        slot = mm.tables.entry_slot_alloc(low, 1)
        mm.tables.words[slot : slot + ((high - low) >> PAGE_SHIFT)] = np.uint64(GUARD_ENTRY)
    mm.obligation(start, end).was_not_present()


def remove_guards(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Take the guards of [start, end) away; pages stay as they are."""
    for _, slot, number in mm.tables.pte_tables(start, end):
        view = mm.tables.words[slot : slot + number]
        view[view == np.uint64(GUARD_ENTRY)] = 0
    mm.obligation(start, end).was_not_present()
