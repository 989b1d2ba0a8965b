"""Tables of a host mm that processes link to: what every design of this package has in common.

The host mm owns tables and pages and is never loaded on a CPU.  Linking copies one entry of it, that of ``link_level``,
to the same place in a sharer's tables; unlinking clears it.  Addresses are the same in the host mm and in every sharer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emu.mm.address_space import AddressSpace
from emu.mm.fault import fault_in_vma
from emu.mm.pagetable import ADDRESS, LEVEL_OF, A, P, level_name, span
from emu.mm.vma import FaultResult, Vma, VmOperations
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel


@dataclass(eq=False)
class Window:
    """One VMA through which an address space sees the host mm, and its slots that are linked: address -> table."""

    mm: AddressSpace
    vma: Vma
    linked: dict[int, int] = field(default_factory=dict)


class HostTables:
    """A host mm, and who links to its tables of ``level``."""

    def __init__(self, kernel: Kernel, name: str, level: str) -> None:
        """LinuxError(ENOMEM) without a frame for the host mm's PGD."""
        self.kernel = kernel
        self.name = name
        self.level = level
        self.link_level = LEVEL_OF[level] + 1
        self.unit = span(self.link_level)
        self.host = AddressSpace(kernel.mm_context, f"host mm of {name}", shared_tables=True)
        self.windows: dict[AddressSpace, set[Window]] = {}
        self.host.sharers = self.windows.keys

    # -- windows ---------------------------------------------------------------------------------------------------

    def open(self, mm: AddressSpace, vma: Vma) -> Window:
        """One more VMA sees the host mm; nothing is linked yet."""
        window = Window(mm, vma)
        self.windows.setdefault(mm, set()).add(window)
        return window

    def close(self, window: Window) -> bool:
        """A VMA is gone, and its slots have been unlinked.  True if it was the last."""
        of_mm = self.windows[window.mm]
        of_mm.discard(window)
        if not of_mm:
            del self.windows[window.mm]
        return not self.windows

    # -- linking ---------------------------------------------------------------------------------------------------

    def fault(self, window: Window, address: int, access: Access) -> FaultResult:
        """Link the slot if the host mm has a table for it that the sharer lacks, else resolve the fault in the host mm.

        LinuxError(ENOMEM) if memory ran out.
        """
        host_entry = self._entry(self.host, address)
        if host_entry & P and self._entry(window.mm, address) & ~A != host_entry & ~A:
            self._link(window, address & -self.unit)
            return FaultResult.LINKED
        vma = self.host.vmas.find(address)
        return FaultResult.MAPERR if vma is None else fault_in_vma(self.host, vma, address, access)

    def _entry(self, mm: AddressSpace, address: int) -> int:
        slot = mm.tables.entry_slot(address, self.link_level)
        return 0 if slot is None else mm.frames.ram.qwords[slot]

    def _link(self, window: Window, address: int) -> None:
        mm, q = window.mm, self.host.frames.ram.qwords
        slot = mm.tables.entry_slot_alloc(address, self.link_level)
        host_slot = self.host.tables.entry_slot(address, self.link_level)
        assert host_slot is not None and not q[slot] & P, "HostTables: a slot is linked to another table"
        q[slot] = q[host_slot]
        window.linked[address] = (q[slot] & ADDRESS) >> PAGE_SHIFT
        mm.context.share_counts.inc(window.linked[address])
        mm.obligation(address, address + self.unit).none_needed("no TLB holds a not-present entry")
        self._tell("link", window, address, slot, 0, host_slot)

    def unlink(self, window: Window, start: int, end: int) -> None:
        """Clear the entry of every slot that overlaps [start, end); the host mm's tables and pages stay."""
        q, mm = self.host.frames.ram.qwords, window.mm
        for address in [a for a in window.linked if a < end and a + self.unit > start]:
            mm.context.share_counts.dec(window.linked.pop(address))
            slot = mm.tables.entry_slot(address, self.link_level)
            assert slot is not None
            before, q[slot] = q[slot], 0
            self._tell("unlink", window, address, slot, before, None)
            mm.obligation(address, address + self.unit, "unlink").flush()

    def check(self, window: Window) -> Iterator[str]:
        """For the audit: every link must be the host mm's own entry (A is the CPU's affair)."""
        for address, table in window.linked.items():
            entry, host_entry = self._entry(window.mm, address), self._entry(self.host, address)
            if entry & ~A != host_entry & ~A or (entry & ADDRESS) >> PAGE_SHIFT != table:
                yield (
                    f"{window.mm.name}: the link at {address:#x} is {entry:#x}, the entry of {self.host.name} is"
                    f" {host_entry:#x}, and table {table << PAGE_SHIFT:#x} was linked"
                )

    def _tell(
        self, kind: str, window: Window, vaddr: int, slot: int, before: int, host_slot: int | None
    ) -> None:
        tracer, q = self.kernel.tracer, self.host.frames.ram.qwords
        if not tracer.active:
            return
        tracer.event(
            kind,
            pid=self.kernel.pid_of(window.mm),
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
            sharers=len(self.windows),
        )

    def report(self) -> dict[str, Any]:
        """The figures for ``--json``."""
        return {
            "name": self.name,
            "level": self.level,
            "sharers": len(self.windows),
            "pagetable_bytes": self.host.tables.table_bytes,
            "resident_bytes": (self.host.rss_anon + self.host.rss_cache) << PAGE_SHIFT,
        }


class LinkedOperations(VmOperations):
    """vm_operations_struct of a VMA that sees a host mm: faults and unmapping; nothing can be cut off from it."""

    owns_tables = True

    def __init__(self, tables: HostTables) -> None:
        self.tables = tables

    @property
    def link_level(self) -> int:  # type: ignore[override]
        return self.tables.link_level

    @staticmethod
    def window(vma: Vma) -> Window:
        """The VMA's window."""
        window = vma.private_data
        assert isinstance(window, Window)
        return window

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        vma.private_data = self.tables.open(mm, vma)

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        return self.tables.fault(self.window(vma), address, access)

    def unmap(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        self.tables.unlink(self.window(vma), start, end)
        if (start, end) == (vma.start, vma.end):
            mm.tables.free_tables(start, end)

    def backing(self, vma: Vma) -> tuple[AddressSpace, int] | None:
        return self.tables.host, vma.start

    def check(self, mm: AddressSpace, vma: Vma) -> Iterable[str]:
        return self.tables.check(self.window(vma))
