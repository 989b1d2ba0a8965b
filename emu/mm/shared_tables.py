"""Tables of a host mm that processes link to: the base of a kernel module that shares page tables.

The host mm owns tables and pages and is never loaded on a CPU.  Linking copies one of its entries, that of
``link_level``, into a sharer's tables; unlinking clears it.  Nothing below is copied, and a sharer never frees any of
it.  The level is that of the shared table:

    level   shared table   linking entry   unit
    pte     PTE (PT)       PMD entry       2 MiB
    pmd     PMD (PD)       PUD entry       1 GiB
    pud     PUD (PDPT)     P4D/PGD entry   512 GiB
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from emu.linux.errors import LinuxError
from emu.mm.address_space import AddressSpace
from emu.mm.context import MmContext
from emu.mm.flags import FaultResult
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.kmem import LINK
from emu.mm.pagetable import ADDRESS, LEVEL_OF, A, P, level_name, span
from emu.mm.unmapped_area import IN_PLACE, unmapped_area
from emu.mm.vma import Vma, vm_start_gap
from emu.mm.vmops import VmOperations
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.record import field, record
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.linux.tracer import EventTracer
    from emu.mm.pagecache import PageCache


def unit_of(level: str) -> int:
    """Bytes that one link to a table of ``level`` covers: "pte", "pmd" or "pud".

    >>> [unit_of(level) >> 20 for level in ("pte", "pmd", "pud")]       # MiB
    [2, 1024, 524288]
    """
    return span(LEVEL_OF[level] + 1)


class Link(NamedTuple):
    """A slot's link: the frame of the shared table, and the slot's address in the host mm."""

    table: int
    host_address: int


@record(eq=False, repr=False)
class Window:
    """One mapping of a host mm in an address space, and its linked slots, by address."""

    mm: AddressSpace
    linked: dict[int, Link] = field(default_factory=dict)
    #: VMAs that the window consists of, where it can be split.
    parts: int = 0
    #: Nothing can be had through it any more.
    lost: bool = False


class SharedTables:
    """A host mm, and the windows that link to its tables of ``level``."""

    def __init__(
        self,
        context: MmContext,
        name: str,
        level: str,
        *,
        tracer: Callable[[], EventTracer],
        pid_of: Callable[[AddressSpace], int | None],
    ) -> None:
        """``tracer`` is told of links, and ``pid_of`` returns the process with an address space.

        LinuxError(ENOMEM) without a frame for the host mm's PGD.
        """
        self._tracer = tracer
        self._pid_of = pid_of
        self.name = name
        self.level = level
        #: The level of the entries that link.
        self.link_level = LEVEL_OF[level] + 1
        #: Bytes that one link covers.
        self.unit = span(self.link_level)
        self.host = AddressSpace(context, f"host mm of {name}", shared_tables=True)
        #: The windows of each address space that has any.
        self._windows: dict[AddressSpace, set[Window]] = {}
        self.host.sharers = self._windows.keys
        if self.link_level == LEVEL_OF["pmd"]:  # an entry of 2 MiB would be in the place of what links
            self.host.thp_disable = 1

    # -- windows ---------------------------------------------------------------------------------------------------

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

    def add_window(self, mm: AddressSpace) -> Window:
        """An address space gets (or inherits) a mapping; nothing is linked yet."""
        window = Window(mm)
        mm.kmem.charge_reserved(LINK)
        self._windows.setdefault(mm, set()).add(window)
        return window

    def drop_window(self, window: Window) -> None:
        """The mapping is gone; its slots have been unlinked."""
        window.mm.kmem.uncharge(LINK)
        of_mm = self._windows[window.mm]
        of_mm.discard(window)
        if not of_mm:
            del self._windows[window.mm]

    # -- faults ----------------------------------------------------------------------------------------------------

    def fault(self, window: Window, address: int, host_address: int, access: Access) -> FaultResult:
        """A fault in a window: link the slot if the host mm has a table for it, else resolve the fault in the host mm.

        The first touch of a fresh slot therefore faults twice, and the first touch of a populated one once (link, no
        minor fault).  LinuxError(ENOMEM) if memory ran out.
        """
        host_entry = self.entry(self.host, host_address)
        if host_entry & P and self.entry(window.mm, address) & ~A != host_entry & ~A:
            self.link(window, address & -self.unit, host_address & -self.unit)
            return FaultResult.LINKED
        vma = self.host.vmas.find(host_address)
        return FaultResult.MAPERR if vma is None else self.populate(window.mm, vma, host_address, access)

    def populate(self, mm: AddressSpace, vma: Vma, host_address: int, access: Access) -> FaultResult:
        """Resolve a fault in the host mm on behalf of ``mm``."""
        result = vma.ops.fault(self.host, vma, host_address, access)
        if result in (FaultResult.MINOR, FaultResult.MAJOR):
            tracer = self._tracer()
            if tracer.active:
                tracer.populated(self.host, host_address, self._pid_of(mm) or 0)
        return result

    def entry(self, mm: AddressSpace, address: int) -> int:
        """The linking entry for an address, 0 where a table above is missing."""
        slot = mm.tables.entry_slot(address, self.link_level)
        return 0 if slot is None else mm.frames.ram.qwords[slot]

    # -- linking ---------------------------------------------------------------------------------------------------

    def link(self, window: Window, address: int, host_address: int) -> None:
        """Copy the host mm's entry for a slot into the sharer's table.  LinuxError(ENOMEM) without memory for the
        tables above.
        """
        mm, q = window.mm, self.host.frames.ram.qwords
        mm.kmem.reserve(LINK)
        slot = mm.tables.entry_slot_alloc(address, self.link_level)
        host_slot = self.host.tables.entry_slot(host_address, self.link_level)
        assert host_slot is not None
        before, entry = q[slot], q[host_slot]
        if before & P:
            self.displace(mm, address, slot)
        table = (entry & ADDRESS) >> PAGE_SHIFT
        mm.context.share_counts.inc(table)
        if address not in window.linked:
            mm.kmem.charge_reserved(LINK)
        window.linked[address] = Link(table, host_address)
        mm.tables.links[slot] = True
        q[slot] = entry
        mm.obligation(address, address + self.unit).was_not_present()
        self._tell("link", window, address, slot, before, host_slot)

    def displace(self, mm: AddressSpace, address: int, slot: int) -> None:
        """Raise: a table is in the place of a link."""
        raise AssertionError(f"SharedTables: the slot of {address:#x} in {mm.name} is linked to another table")

    def unlink(self, window: Window, start: int, end: int) -> None:
        """Clear the linking entry of every slot that overlaps [start, end); the host mm's tables and data stay."""
        for address in [a for a in window.linked if a < end and a + self.unit > start]:
            self.unlink_slot(window, address)

    def unlink_slot(self, window: Window, address: int) -> None:
        """Clear one linking entry, and flush it."""
        mm, q = window.mm, self.host.frames.ram.qwords
        table, host_address = window.linked.pop(address)
        mm.kmem.uncharge(LINK)
        slot = mm.tables.entry_slot(address, self.link_level)
        assert slot is not None
        before, q[slot] = q[slot], 0
        del mm.tables.links[slot]
        mm.context.share_counts.dec(table)
        self._tell("unlink", window, address, slot, before, None)
        self.flush_slot(mm, address)
        if not mm.context.share_counts[table]:
            self._free_if_empty(table, host_address)

    def flush_slot(self, mm: AddressSpace, address: int) -> None:
        """A link has gone: flush the slot from the TLBs."""
        mm.obligation(address, address + self.unit, "unlink").flush()

    def _free_if_empty(self, table: int, host_address: int) -> None:
        """Free a table that was kept for its sharers when the host mm was emptied, and the empty tables above it."""
        first = table << 9
        if not self.host.tables.words[first : first + 512].any():
            self.host.tables.free_tables(host_address, host_address + self.unit)

    def _tell(self, kind: str, window: Window, vaddr: int, slot: int, before: int, host_slot: int | None) -> None:
        tracer, q = self._tracer(), self.host.frames.ram.qwords
        if not tracer.active:
            return
        tracer.event(
            kind,
            pid=self._pid_of(window.mm),
            region=self.name,
            level=self.level,
            vaddr=vaddr,
            length=self.unit,
            entry_level=level_name(self.link_level, window.mm.tables.levels),
            entry_paddr=slot << 3,
            before=before,
            after=q[slot],
            host_entry_paddr=None if host_slot is None else host_slot << 3,
            host_entry=None if host_slot is None else q[host_slot],
            sharers=self.sharers,
        )

    def check(self, window: Window, to_host: int) -> Iterator[str]:
        """For the audit: every link of a window must equal the host mm's entry (apart from A, which the CPU sets)."""
        for address, (table, _) in window.linked.items():
            entry, host_entry = self.entry(window.mm, address), self.entry(self.host, address + to_host)
            if entry & ~A != host_entry & ~A or (entry & ADDRESS) >> PAGE_SHIFT != table:
                yield (
                    f"{window.mm.name}: the link at {address:#x} is {entry:#x}, the entry of {self.host.name} is"
                    f" {host_entry:#x}, and table {table << PAGE_SHIFT:#x} was linked"
                )


def unit_aligned_area(mm: AddressSpace, address: int, length: int, unit: int, flags: int) -> int | None:
    """A free place at the beginning of a unit for a mapping with shared tables, and for the rest of its last unit; None
    where it shall not share: it is fixed, less than one PTE table maps, or there is no such room.
    """
    if flags & IN_PLACE or length < unit_of("pte"):
        return None
    try:
        return unmapped_area(mm, length + unit - 1 & -unit, address & -PAGE_SIZE, unit, flags)
    except LinuxError:
        return None


def fill_units(mm: AddressSpace, vma: Vma, unit: int) -> bool:
    """Let a new VMA that begins at a unit end with one, since nothing else may be below a shared table.  False, and
    nothing is changed, if it does not begin so, is less than one PTE table maps, or there is something behind it.
    """
    end = vma.end + unit - 1 & -unit
    if vma.start % unit or vma.length < unit_of("pte") or end > mm.task_size:
        return False
    above = mm.vmas.find_above(vma.end)
    if above is not None and vm_start_gap(above) < end:
        return False
    vma.end = end
    return True


class SharedTableOperations(VmOperations):
    """vm_operations_struct of a VMA that maps a host mm, at the same addresses unless :meth:`to_host` differs."""

    leaf_level = 0

    def __init__(self, tables: SharedTables) -> None:
        self._tables = tables

    @property
    def link_level(self) -> int:  # type: ignore[override]
        return self._tables.link_level

    @staticmethod
    def window(vma: Vma) -> Window:
        """The VMA's window."""
        window = vma.private_data
        assert isinstance(window, Window)
        return window

    def to_host(self, vma: Vma) -> int:
        """The offset from an address of the VMA to its address in the host mm."""
        return 0

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        vma.private_data = self._tables.add_window(mm)

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        self._tables.drop_window(self.window(vma))

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        return self._tables.fault(self.window(vma), address, address + self.to_host(vma), access)

    def populate(self, mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> FaultResult | None:
        return None  # the host mm's pages are made when they are touched

    def fault_in(self, mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> None:
        for page in range(start, end, PAGE_SIZE):
            mm.stop.check()
            self.gup(mm, vma, page, access)

    def touch(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> None:
        host, inside = self._tables.host, address + self.to_host(vma)
        inner = host.vmas.find(inside)
        if inner is not None:
            inner.ops.touch(host, inner, inside, access)

    def zap(self, mm: AddressSpace, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
        """Unlink; the entries below belong to the host mm."""
        self._tables.unlink(self.window(vma), start, end)
        if (start, end) == (vma.start, vma.end):
            mm.tables.free_tables(start, end)

    def unmap(self, mm: AddressSpace, vma: Vma) -> None:
        self._tables.unlink(self.window(vma), vma.start, vma.end)
        mm.free_tables(vma)

    def change_protection(self, mm: AddressSpace, vma: Vma) -> int:
        return 0  # the entries belong to the host mm's objects

    def protected(self, mm: AddressSpace, vma: Vma) -> None:
        """Nothing has changed, so no flush is owed."""

    def object_at(self, vma: Vma, address: int) -> tuple[PageCache, int] | None:
        host_address = address + self.to_host(vma)
        inner = self._tables.host.vmas.find(host_address)
        if inner is None or inner.page_cache is None:
            return None
        return inner.page_cache, inner.index_of(host_address)

    def backing(self, vma: Vma) -> tuple[AddressSpace, int] | None:
        return self._tables.host, vma.start + self.to_host(vma)

    def check(self, mm: AddressSpace, vma: Vma) -> Iterable[str]:
        return self._tables.check(self.window(vma), self.to_host(vma))
