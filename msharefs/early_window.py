"""Windows of the series up to September 2024, whose faults went through the generic handler.

That handler tests the rights of the window before it looks for the shared table, so they matter only while a page is
absent; once it is present, the hardware checks only the shared entry (mshare-observed.md, section 13).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm.flags import FaultResult
from emu.mm.hugesplit import split_range
from emu.mm.pagetable import RW
from emu.mm.vma import Vma
from mmu.registers import Access
from msharefs.objects import check_window
from msharefs.quirks import Quirk
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.shared_tables import Window
    from msharefs.region import Region

_READ_ONLY = ~RW & (1 << 64) - 1


class EarlyWindow(WindowOperations):
    """A window at the region's own address.  It is unmapped whole; mprotect of the whole is allowed, since these series
    prevented only splits.
    """

    def __init__(self, region: Region) -> None:
        super().__init__(region, identity=True)

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        # access_error(): a fetch or a read needs a window that allows any access; the entry decides later
        if not (vma.allows(access) if access == Access.WRITE else vma.prot):
            return FaultResult.ACCERR
        return super().fault(mm, vma, address, access)

    def mprotect(self, vma: Vma, start: int, end: int, prot: Prot) -> None:
        if start > vma.start or end < vma.end:
            raise LinuxError(errno.EINVAL)
        check_window(self.region, prot)

    def protected(self, mm: AddressSpace, vma: Vma) -> None:
        """Take write access from the shared entries, so that the next store faults into :meth:`fault`, in every
        process.

        If the window allows writing, the fault gives it back.
        """
        if vma.prot & Prot.WRITE:
            return
        to_host, host = self.to_host(vma), self.region.host
        split_range(host, vma.start + to_host, vma.end + to_host)
        flush = host.obligation(vma.start + to_host, vma.end + to_host, "mprotect")
        changed = False
        for _, slot, number in host.tables.pte_tables(vma.start + to_host, vma.end + to_host):
            entries = host.tables.words[slot : slot + number]
            changed |= bool((entries & RW).any())
            entries &= _READ_ONLY
        if changed:
            flush.flush()
        else:
            flush.none_needed("no entry allowed writes")


class PartedWindow(EarlyWindow):
    """A window that mprotect may split into parts with different rights (June 2022).  The parts are unmapped together.

    The posted code lets munmap remove a part, whose page stays reachable through the slot's link: "prevented until it
    is supported", says its author (30 Jun 2022), so here that is EINVAL.
    """

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        window = self._of(mm)
        if window is None:
            super().open(mm, vma)
            window = self.window(vma)
        window.parts += 1
        vma.private_data = window

    def _of(self, mm: AddressSpace) -> Window | None:
        """The window of an address space, which has at most one, since windows are at the region's address."""
        return next(iter(self.region.windows_of(mm)), None)

    def copy(self, parent: AddressSpace, child: AddressSpace, vma: Vma, copy: Vma) -> None:
        self.window(copy).lost = Quirk.FORKED_WINDOW in self.region.options.quirks

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        return FaultResult.ADRERR if self.window(vma).lost else super().fault(mm, vma, address, access)

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        window = self.window(vma)
        window.parts -= 1
        if not window.parts:
            super().close(mm, vma)

    def may_split(self, vma: Vma, address: int) -> None:
        """mprotect may split; see :meth:`may_unmap` for the other cases."""

    def may_unmap(self, vma: Vma, start: int, end: int) -> None:
        region = self.region
        if start > region.host_base or end < region.host_base + region.size:
            raise LinuxError(errno.EINVAL)

    def mprotect(self, vma: Vma, start: int, end: int, prot: Prot) -> None:
        """Any part may change its rights."""
        check_window(self.region, prot)
