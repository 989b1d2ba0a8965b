"""Regions: a host mm that owns shared tables, with a size, an owner and the behaviour of each series of postings.

``level=pmd`` is the default; every posting has ``level=pud``.  The linking itself: :mod:`emu.mm.shared_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult
from emu.mm.kmem import LINK
from emu.mm.pagetable import ADDRESS, P
from emu.mm.shared_tables import SharedTables, Window
from emu.mm.vma import Vma
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access
from msharefs.accounting import Figures, prot_text
from msharefs.charging import FAULTING, set_payers
from msharefs.options import MountOptions
from msharefs.quirks import keeps_translations, leaves_links, write_zero_page

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: The host mm address of region byte 0 (mshare_base in the third series), which is aligned to every unit.
MSHARE_BASE = 1 << 39


class Region(SharedTables):
    """A shared range.  ``size`` is in bytes, 0 until it is set; ``host_base`` is the address of its first byte in the
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
        charge: str = FAULTING,
    ) -> None:
        """``at_owner_exit`` (``die`` or ``persist``), ``tlb`` and ``charge`` (:mod:`msharefs.charging`) are the
        interface's values; the mount options ``owner`` and ``tlb`` override them.

        LinuxError(ENOMEM) without a frame for the host mm's PGD.
        """
        super().__init__(kernel.mm_context, name, options.level, tracer=lambda: kernel.tracer, pid_of=kernel.pid_of)
        self.kernel = kernel
        self.size = 0
        self.host_base = host_base
        #: The process that made the region.
        self.owner = owner
        self._at_owner_exit = at_owner_exit
        self._tlb = tlb
        #: The owner's exit has emptied the region.
        self.orphaned = False
        #: The requested rights of each object, the latest last: [start, end) in the host mm, and the rights.
        self.asked: list[tuple[int, int, Prot]] = []
        self.figures = Figures()
        set_payers(kernel, self.host, owner, charge)
        self.configure(options)

    def configure(self, options: MountOptions) -> None:
        """Adopt the options of the mounted instance, also after a remount with others."""
        self.options = options
        self.host.tlb_policy = options.tlb or self._tlb

    @property
    def dies_with_owner(self) -> bool:
        """Whether the owner's exit empties the region (third series)."""
        return (self.options.owner or self._at_owner_exit) == "die"

    # -- windows ---------------------------------------------------------------------------------------------------

    def add_window(self, mm: AddressSpace) -> Window:
        window = super().add_window(mm)
        self.note_peaks()
        return window

    def drop_window(self, window: Window) -> None:
        self.note_peaks()
        super().drop_window(window)

    def note_peaks(self) -> None:
        """Keep the peak figures, for the report on a region that has ended."""
        peaks = self.figures.peaks
        peaks.sharers = max(peaks.sharers, self.sharers)
        peaks.pagetable_bytes = max(peaks.pagetable_bytes, self.host.tables.table_bytes)
        peaks.resident_bytes = max(peaks.resident_bytes, self.resident_bytes)

    # -- faults ----------------------------------------------------------------------------------------------------

    def fault(self, window: Window, address: int, host_address: int, access: Access) -> FaultResult:
        result = super().fault(window, address, host_address, access)
        if result == FaultResult.LINKED:
            self.figures.link_faults += 1
        return result

    def fault_for(self, task: Task, host_address: int, access: Access) -> FaultResult:
        """Resolve a fault in the host mm alone, on behalf of a process."""
        vma = self.host.vmas.find(host_address)
        if vma is None:
            return FaultResult.MAPERR
        try:
            return self.populate(task.mm, vma, host_address, access)
        except LinuxError:
            return FaultResult.OOM

    def populate(self, mm: AddressSpace, vma: Vma, host_address: int, access: Access) -> FaultResult:
        if access == Access.WRITE and write_zero_page(self.options.quirks, self.host, host_address):
            return FaultResult.MINOR
        before, had_table = self.resident_bytes, self.entry(self.host, host_address) & P
        if self.host.payer is None or self.host.frames.memcg is None:
            result = super().populate(mm, vma, host_address, access)
        else:
            with self.kernel.cgroups.memory.paid_by(self.host.payer()):
                result = super().populate(mm, vma, host_address, access)
        if result in (FaultResult.MINOR, FaultResult.MAJOR):
            pid, resident = self.kernel.pid_of(mm) or 0, self.resident_bytes
            self.figures.populated(pid, resident - before >> PAGE_SHIFT)
            self.figures.peaks.resident_bytes = max(self.figures.peaks.resident_bytes, resident)
            if not had_table:
                self._note_maker(host_address & -self.unit, pid)
        return result

    # -- linking ---------------------------------------------------------------------------------------------------

    def link(self, window: Window, address: int, host_address: int) -> None:
        super().link(window, address, host_address)
        self.figures.links += 1

    def displace(self, mm: AddressSpace, address: int, slot: int) -> None:
        if not mm.tables.damaged:
            super().displace(mm, address, slot)
        q = self.host.frames.ram.qwords  # a quirk has left the entry there
        if mm.tables.links.pop(slot, False):
            mm.context.share_counts.dec((q[slot] & ADDRESS) >> PAGE_SHIFT)
        q[slot] = 0
        mm.obligation(address, address + self.unit).flush()

    def unlink_slot(self, window: Window, address: int) -> None:
        if leaves_links(self.options.quirks, window.mm):
            del window.linked[address]
            window.mm.kmem.uncharge(LINK)
            window.mm.tables.damaged = self.host.tables.damaged = True
            return
        super().unlink_slot(window, address)
        self.figures.unlinks += 1

    def flush_slot(self, mm: AddressSpace, address: int) -> None:
        if not keeps_translations(self.options.quirks, self, mm, address):
            super().flush_slot(mm, address)

    def check_objects(self) -> Iterator[str]:
        """For the audit: every object must have the requested rights."""
        for vma in self.host.vmas:
            asked = next((prot for start, end, prot in reversed(self.asked) if start <= vma.start < end), vma.prot)
            if vma.prot != asked:
                yield (
                    f"{self.host.name}: the object at {vma.start - self.host_base:#x} is {prot_text(vma.prot)}, and"
                    f" {prot_text(asked)} was asked for"
                )

    def _note_maker(self, address: int, pid: int) -> None:
        makers = self.figures.table_makers
        if len(makers) > 1024 + 2 * self.host.tables.tables[self.link_level - 1]:  # most of those tables are gone
            for gone in [at for at in makers if not self.entry(self.host, at)]:
                del makers[gone]
        makers[address] = pid

    # -- the end ---------------------------------------------------------------------------------------------------

    def lose_owner(self) -> None:
        """The owner has exited: everything in the region is unmapped, and it cannot be mapped again (third series,
        17/22).
        """
        self.note_peaks()
        self.orphaned = True
        for vma in list(self.host.vmas):
            self.host.remove(vma)

    def destroy(self) -> None:
        """No name, no open file and no window is left."""
        assert not self.sharers, "Region.destroy: there are windows"
        self.note_peaks()
        self.host.put()
