"""Defects of the posted kernels, as switches that are off: ``-o quirk=stale-munmap,y0-stale-link``.

Each reproduces what the posted code did, as far as a guest can see it, without harm to the emulator: dangling entries
keep their frames, the audit or the stale-translation detector reports what is wrong, and the machine ends.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from emu.linux.mman import Prot
from emu.mm import rss
from emu.mm.flags import VmFlags
from emu.mm.hugesplit import split_range
from emu.mm.pagetable import RW, SPECIAL, D
from emu.mm.vma import Vma
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from random import Random

    from emu.mm.address_space import AddressSpace
    from emu.mm.shared_tables import SharedTables


class Quirk(StrEnum):
    """The name of a defect; see docs/mshare.md for what each shows, and :data:`FOUND_BY`."""

    #: Third series, 13/22: unlinking a window flushes with a stride of 512 GiB, so one page of each slot.
    STALE_MUNMAP = "stale-munmap"
    #: First to third series: mremap moves a window, and with it the shared tables' entries into private tables.
    MREMAP_WINDOW = "mremap-window"
    #: Second series and 2024: munmap of a window leaves the linking entries in place.
    Y0_STALE_LINK = "y0-stale-link"
    #: Third series: an object is mapped with VMA flags that nobody initialised; here, additional rights are random.
    UNINIT_VMFLAGS = "uninit-vmflags"
    #: First series: the tables that mapped the donor's memory leak when the region takes it over.
    A1_LEAKS = "a1-leaks"
    #: Second series: a page that was read before it is written is the zero page of the whole machine.
    ZERO_PAGE_WRITE = "zero-page-write"
    #: Third series: the thread that made a region owns it, so that its end empties the region while its process lives.
    THREAD_OWNER = "thread-owner"
    #: Second series on a kernel with userfaultfd: fork clears the flag of a window, which is one of userfaultfd's too.
    FORKED_WINDOW = "forked-window"


#: What detects each: the stale-translation detector (``--check-tlb``), the audit (``--audit``), or the program alone.
FOUND_BY = dict.fromkeys(Quirk, "audit") | {
    Quirk.STALE_MUNMAP: "detector", Quirk.THREAD_OWNER: "program", Quirk.FORKED_WINDOW: "program",
}  # fmt: skip


#: The defects that a mounted instance has.
Quirks = frozenset[Quirk]


def keeps_translations(quirks: Quirks, tables: SharedTables, mm: AddressSpace, slot_address: int) -> bool:
    """Flush only the first page of a slot whose link has gone, and nothing under 5-level paging, as observed; False if
    the whole slot must be flushed.
    """
    if Quirk.STALE_MUNMAP not in quirks:
        return False
    flush = mm.obligation(slot_address, slot_address + tables.unit, "unlink")
    if mm.tables.levels == 5:
        flush.none_needed(f"quirk={Quirk.STALE_MUNMAP}: with 5 levels nothing is flushed")
        return True
    flush.none_needed(f"quirk={Quirk.STALE_MUNMAP}: the first page of the slot alone is flushed")
    mm.obligation(slot_address, slot_address + PAGE_SIZE, "unlink").flush()
    return True


def leaves_links(quirks: Quirks, mm: AddressSpace) -> bool:
    """Whether an address space that unmaps a window keeps its links; its end removes them in any case."""
    return Quirk.Y0_STALE_LINK in quirks and mm.users > 0


def rights_of_object(quirks: Quirks, prot: Prot, random: Random) -> Prot:
    """The rights that an object gets for the requested ones."""
    if Quirk.UNINIT_VMFLAGS in quirks:
        return prot | Prot(random.getrandbits(3))
    return prot


def write_zero_page(quirks: Quirks, host: AddressSpace, host_address: int) -> bool:
    """Make the entry of a page that was only read writable without a copy; False if it does not map the zero page."""
    if Quirk.ZERO_PAGE_WRITE not in quirks:
        return False
    q, slot = host.frames.ram.qwords, host.tables.entry_slot(host_address, 1)
    if slot is None or not q[slot] & SPECIAL:
        return False
    q[slot] |= RW | D
    page = host_address & -PAGE_SIZE
    host.obligation(page, page + PAGE_SIZE).flush()
    return True


def copy_and_leak(tables: SharedTables, mm: AddressSpace, start: int, end: int, vmas: list[Vma]) -> None:
    """Copy the donor's entries in [start, end) to the region as fork would, and forget the donor's tables with
    everything they hold.

    LinuxError(ENOMEM) leaves tables in the region, which its end frees.
    """
    host, frames = tables.host, mm.frames
    host.reserve_vmas(len(vmas))
    for vma in vmas:
        split_range(mm, vma.start, vma.end)
        host.tables.make_tables_for(mm.tables, vma.start, vma.end, vma.start)
    for vma in vmas:
        for vaddr, slot, number in mm.tables.pte_tables(vma.start, vma.end):
            entries = mm.tables.words[slot : slot + number]
            if not entries.any():
                continue
            at = host.tables.entry_slot_alloc(vaddr, 1)
            host.tables.words[at : at + number] = entries
            rss.get_pages(host, entries[entries != 0])
        host.insert(vma.copy(vma.start, vma.end))
        vma.flags &= ~VmFlags.ACCOUNT  # the region has taken the promise over
    flush = mm.obligation(start, end)
    for vma in vmas:
        for address in range(vma.start & -tables.unit, vma.end, tables.unit):
            at_link = mm.tables.entry_slot(address, tables.link_level)
            if at_link is not None:
                frames.ram.qwords[at_link] = 0
    mm.tables.damaged = True
    flush.flush()
    for vma in vmas:
        mm.remove(vma)


def move_window(quirks: Quirks, tables: SharedTables, mm: AddressSpace, new_start: int) -> bool:
    """Whether mremap may move a window there: only to an aligned address, after which the tables are wrong."""
    if Quirk.MREMAP_WINDOW not in quirks or new_start % tables.unit:
        return False
    mm.tables.damaged = tables.host.tables.damaged = True
    return True
