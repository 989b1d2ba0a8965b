"""Regions: the host mm that owns shared tables, and the linking of these tables into the windows of processes.

The level is that of the table which is shared.  Linking copies one entry, from the host mm's table one level up to
the sharer's:

    level   shared table   linking entry   unit
    pmd     PMD (PD)       PUD entry       1 GiB    (the default)
    pud     PUD (PDPT)     P4D/PGD entry   512 GiB  (every posting)
    pte     PTE (PT)       PMD entry       2 MiB
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from emu.kernel.errors import LinuxError
from emu.mm.address_space import AddressSpace
from emu.mm.fault import fault_in_vma
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.pagetable import ADDRESS, LEVEL_OF, A, P, level_name, span
from emu.mm.vma import FaultResult, Prot, Vma
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access
from msharefs.accounting import Figures, prot_text
from msharefs.options import MountOptions
from msharefs.quirks import flush_slot, leaves_links, write_zero_page

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: Where region byte 0 lies in the host mm (mshare_base in the third series): the same below every unit as any aligned
#: address.
MSHARE_BASE = 1 << 39


def unit_of(level: str) -> int:
    """The alignment and granule of regions, in bytes: what one linking entry covers."""
    return span(LEVEL_OF[level] + 1)


class Link(NamedTuple):
    """A slot's link: the frame of the shared table, and the slot's address in the host mm."""

    table: int
    host_address: int


@dataclass(eq=False)
class Window:
    """One process's mapping of a region, and the slots of it that are linked, by address."""

    region: Region
    mm: AddressSpace
    linked: dict[int, Link] = field(default_factory=dict)
    #: VMAs that the window consists of, where it can be split.
    parts: int = 0


class Region:
    """A shared range.  ``size`` is in bytes, 0 until it is set; ``host_base`` is where its first byte lies in the
    host mm.
    """

    def __init__(
        self,
        kernel: Kernel,
        options: MountOptions,
        name: str,
        owner: Task | None,
        *,
        host_base: int = MSHARE_BASE,
        at_owner_exit: str = "persist",
        tlb: str = "all",
    ) -> None:
        """``at_owner_exit`` (``die`` or ``persist``) and ``tlb`` are what the interface says; the mount options
        ``owner`` and ``tlb`` override it.

        LinuxError(ENOMEM) without a frame for the host mm's PGD.
        """
        self.kernel = kernel
        self.level = options.level
        self.name = name
        self.size = 0
        self.host_base = host_base
        self.host = AddressSpace(kernel.mm_context, f"host mm of {name}", shared_tables=True)
        #: The process that made the region.
        self.owner = owner
        self._at_owner_exit = at_owner_exit
        self._tlb = tlb
        #: The owner's exit has emptied the region.
        self.orphaned = False
        #: What each object was asked to allow, the latest last: [start, end) in the host mm, and the rights.
        self.asked: list[tuple[int, int, Prot]] = []
        #: The windows of each address space that has any.
        self._windows: dict[AddressSpace, set[Window]] = {}
        self.host.sharers = self._windows.keys
        self.figures = Figures()
        self._table_level = LEVEL_OF[options.level]
        self.configure(options)

    def configure(self, options: MountOptions) -> None:
        """Take over the options of the mounted instance, also when that is mounted anew with others."""
        self.options = options
        self.host.tlb_policy = options.tlb or self._tlb

    @property
    def dies_with_owner(self) -> bool:
        """Whether the owner's exit empties the region (third series)."""
        return (self.options.owner or self._at_owner_exit) == "die"

    @property
    def unit(self) -> int:
        """Bytes that one link covers."""
        return span(self._table_level + 1)

    @property
    def link_level(self) -> int:
        """The level of the entries that link."""
        return self._table_level + 1

    @property
    def windows(self) -> Iterator[Window]:
        """Every window."""
        return chain.from_iterable(self._windows.values())

    def windows_of(self, mm: AddressSpace) -> Collection[Window]:
        """The windows of one address space."""
        return self._windows.get(mm, ())

    @property
    def sharing(self) -> Collection[AddressSpace]:
        """Every address space that has a window."""
        return self._windows.keys()

    @property
    def sharers(self) -> int:
        """How many address spaces have a window."""
        return len(self._windows)

    @property
    def resident_bytes(self) -> int:
        """Bytes of data that the shared tables map."""
        host = self.host
        return ((host.rss_anon + host.rss_cache) << PAGE_SHIFT) + host.huge_pages * HPAGE_SIZE

    # -- windows ---------------------------------------------------------------------------------------------------

    def add_window(self, mm: AddressSpace) -> Window:
        """A process maps the region (or inherits a mapping); nothing is linked yet."""
        window = Window(self, mm)
        self._windows.setdefault(mm, set()).add(window)
        self.note_peaks()
        return window

    def drop_window(self, window: Window) -> None:
        """The mapping is gone; its slots have been unlinked."""
        self.note_peaks()
        of_mm = self._windows[window.mm]
        of_mm.discard(window)
        if not of_mm:
            del self._windows[window.mm]

    def note_peaks(self) -> None:
        """Keep the largest figures seen, for the report on a region that has ended."""
        peaks = self.figures.peaks
        peaks.sharers = max(peaks.sharers, len(self._windows))
        peaks.pagetable_bytes = max(peaks.pagetable_bytes, self.host.tables.table_bytes)
        peaks.resident_bytes = max(peaks.resident_bytes, self.resident_bytes)

    # -- faults ----------------------------------------------------------------------------------------------------

    def fault(self, window: Window, address: int, host_address: int, access: Access) -> FaultResult:
        """A fault in a window: link the slot if the host mm has a table for it, else resolve the fault in the host mm.

        The first touch of a fresh slot therefore faults twice, and the first touch of a populated one once (link, no
        minor fault).
        """
        host_entry = self._entry(self.host, host_address)
        if host_entry & P and self._entry(window.mm, address) & ~A != host_entry & ~A:
            self._link(window, address & -self.unit, host_address & -self.unit)
            self.figures.link_faults += 1
            return FaultResult.LINKED
        vma = self.host.vmas.find(host_address)
        if vma is None:
            return FaultResult.MAPERR
        if access == Access.WRITE and write_zero_page(self, host_address):
            return FaultResult.MINOR
        return self._populate(self.kernel.pid_of(window.mm) or 0, vma, host_address, access)

    def populate(self, pid: int, host_address: int, access: Access) -> FaultResult:
        """Resolve a fault in the host mm alone, on behalf of a process."""
        vma = self.host.vmas.find(host_address)
        if vma is None:
            return FaultResult.MAPERR
        try:
            return self._populate(pid, vma, host_address, access)
        except LinuxError:
            return FaultResult.OOM

    def _populate(self, pid: int, vma: Vma, host_address: int, access: Access) -> FaultResult:
        pages, had_table = self.resident_bytes >> PAGE_SHIFT, self._entry(self.host, host_address) & P
        result = fault_in_vma(self.host, vma, host_address, access)
        if result == FaultResult.MINOR:
            self.figures.populated(pid, (self.resident_bytes >> PAGE_SHIFT) - pages)
            self.figures.peaks.resident_bytes = max(self.figures.peaks.resident_bytes, self.resident_bytes)
            if not had_table:
                self.figures.table_makers[host_address & -self.unit] = pid
        return result

    def _entry(self, mm: AddressSpace, address: int) -> int:
        """The linking entry for an address, 0 where a table above is missing."""
        slot = mm.tables.entry_slot(address, self._table_level + 1)
        return 0 if slot is None else mm.frames.ram.qwords[slot]

    def _link(self, window: Window, slot_address: int, host_address: int) -> None:
        """Copy the host mm's entry for a slot into the sharer's table.  LinuxError(ENOMEM) without memory for the
        tables above.
        """
        mm, q = window.mm, self.host.frames.ram.qwords
        slot = mm.tables.entry_slot_alloc(slot_address, self._table_level + 1)
        host_slot = self.host.tables.entry_slot(host_address, self._table_level + 1)
        assert host_slot is not None
        before, entry = q[slot], q[host_slot]
        if before & P:
            self._displace(mm, slot_address, slot, before)
        table = (entry & ADDRESS) >> PAGE_SHIFT
        mm.context.share_counts.inc(table)
        window.linked[slot_address] = Link(table, host_address)
        mm.tables.links[slot] = True
        self.figures.links += 1
        q[slot] = entry
        mm.obligation(slot_address, slot_address + self.unit).none_needed("no TLB holds a not-present entry")
        self._tell("link", window, slot_address, slot, before, entry, host_slot)

    def _displace(self, mm: AddressSpace, slot_address: int, slot: int, before: int) -> None:
        """A quirk has left a table where a link is to be."""
        assert mm.tables.damaged, "Region: a slot is linked to another table"
        if mm.tables.links.pop(slot, False):
            mm.context.share_counts.dec((before & ADDRESS) >> PAGE_SHIFT)
        self.host.frames.ram.qwords[slot] = 0
        mm.obligation(slot_address, slot_address + self.unit).flush()

    def unlink(self, window: Window, start: int, end: int) -> None:
        """Clear the linking entry of every slot that overlaps [start, end); the region's tables and data stay."""
        q, context = self.host.frames.ram.qwords, window.mm.context
        for slot_address in [a for a in window.linked if a < end and a + self.unit > start]:
            table, host_address = window.linked.pop(slot_address)
            if leaves_links(self, window.mm):
                window.mm.tables.damaged = self.host.tables.damaged = True
                continue
            slot = window.mm.tables.entry_slot(slot_address, self._table_level + 1)
            assert slot is not None
            before, q[slot] = q[slot], 0
            del window.mm.tables.links[slot]
            context.share_counts.dec(table)
            self.figures.unlinks += 1
            self._tell("unlink", window, slot_address, slot, before, 0, None)
            flush_slot(self, window.mm, slot_address)
            if not context.share_counts[table]:
                self._free_if_empty(table, host_address)

    def _free_if_empty(self, table: int, host_address: int) -> None:
        """Free the table that was kept for its sharers while the region was emptied, and those above it."""
        first = table << 9
        if not self.host.tables.words[first : first + 512].any():
            self.host.tables.free_tables(host_address, host_address + self.unit)

    def check_objects(self) -> Iterator[str]:
        """For the audit: no object may have other rights than it was asked to have."""
        for vma in self.host.vmas:
            asked = next((prot for start, end, prot in reversed(self.asked) if start <= vma.start < end), vma.prot)
            if vma.prot != asked:
                yield (
                    f"{self.host.name}: the object at {vma.start - self.host_base:#x} is {prot_text(vma.prot)}, and"
                    f" {prot_text(asked)} was asked for"
                )

    def check(self, window: Window, to_host: int) -> Iterator[str]:
        """For the audit: every link of a window must be the host mm's own entry (A is the CPU's affair)."""
        for address, (table, _) in window.linked.items():
            entry, host_entry = self._entry(window.mm, address), self._entry(self.host, address + to_host)
            if entry & ~A != host_entry & ~A or (entry & ADDRESS) >> PAGE_SHIFT != table:
                yield (
                    f"{window.mm.name}: the link at {address:#x} is {entry:#x}, the entry of {self.host.name} is"
                    f" {host_entry:#x}, and table {table << PAGE_SHIFT:#x} was linked"
                )

    def _tell(
        self, kind: str, window: Window, vaddr: int, slot: int, before: int, after: int, host_slot: int | None
    ) -> None:
        tracer = self.kernel.tracer
        if not tracer.active:
            return
        q = self.host.frames.ram.qwords
        tracer.event(
            kind,
            pid=self.kernel.pid_of(window.mm),
            region=self.name,
            level=self.level,
            vaddr=vaddr,
            length=self.unit,
            entry_level=level_name(self._table_level + 1, window.mm.tables.levels),
            entry_paddr=slot << 3,
            before=before,
            after=after,
            host_entry_paddr=None if host_slot is None else host_slot << 3,
            host_entry=None if host_slot is None else q[host_slot],
            sharers=self.sharers,
        )

    # -- the end ---------------------------------------------------------------------------------------------------

    def lose_owner(self) -> None:
        """The owner has exited: everything in the region is unmapped, and nobody can map it again (third series,
        17/22).
        """
        self.note_peaks()
        self.orphaned = True
        for vma in list(self.host.vmas):
            self.host.remove(vma)

    def destroy(self) -> None:
        """No name, no open file and no window is left."""
        assert not self._windows, "Region.destroy: there are windows"
        self.note_peaks()
        self.host.put()
