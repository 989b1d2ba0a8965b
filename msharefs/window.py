"""The VMA of a window: its operations for memory management."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult
from emu.mm.shared_tables import SharedTableOperations
from emu.mm.vma import Vma
from mmu.registers import Access
from msharefs.quirks import move_window
from msharefs.region import Region


class WindowOperations(SharedTableOperations):
    """vm_operations_struct of a window.  It is mapped and unmapped as a whole, and its rights are those of the region's
    objects.

    ``identity``: host address and window address are the same (first series); otherwise addresses are counted from the
    window's start.
    """

    #: VM_MSHARE, for which no kernel has a mnemonic.
    flag_names = ("??",)

    def __init__(self, region: Region, *, identity: bool = False) -> None:
        super().__init__(region)
        self.region = region
        self._identity = identity

    def to_host(self, vma: Vma) -> int:
        return 0 if self._identity else self.region.host_base - vma.start

    def gup_fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        """The posted kernels cannot resolve a fault in a window for another process: EFAULT if the page is not in this
        process's own tables yet.  ``gup=resolve`` resolves it in the host mm.
        """
        if self.region.options.gup == "resolve":
            return self.fault(mm, vma, address, access)
        self.region.kernel.log_once(
            "the kernel looked at a page of a window that the process had not touched yet: EFAULT, as with the posted"
            " kernels (mount with gup=resolve to let it through)"
        )
        return FaultResult.MAPERR

    def may_split(self, vma: Vma, address: int) -> None:
        raise LinuxError(errno.EINVAL)

    def mprotect(self, vma: Vma, start: int, end: int, prot: Prot) -> None:
        raise LinuxError(errno.EINVAL)

    def mremap(self, vma: Vma, new_start: int) -> None:
        # the posted code moves the VMA and with it the entries of the shared tables: quirk=mremap-window
        if not move_window(self.region.options.quirks, self.region, self.window(vma).mm, new_start):
            raise LinuxError(errno.EINVAL)
