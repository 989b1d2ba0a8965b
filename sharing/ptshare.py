"""ptshare: processes that map the same file at the same place share the page tables of the mapping.

The design of Khalid Aziz's posting of April 2023 ("Sharing page tables across processes", RFC v2), here as a kernel
module that knows nothing of the other designs.  ``mmap(MAP_SHARED | MAP_SHARED_PT)`` of a file whose range is aligned
to 2 MiB makes a host mm for the file.  A process that maps the same range with at least the same rights joins it: its
PMD entries then point at the host mm's PTE pages.  Any other mapping is silently an ordinary one.

With 1 in /proc/sys/vm/ptshare_anonymous, which the posting has not, MAP_SHARED|MAP_ANONYMOUS memory of at least 2 MiB
has such tables without the flag; the children that inherit it share them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from emu.fs.file import file_of
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import VmFlags
from emu.mm.mprotect import do_mprotect
from emu.mm.ordinary import ORDINARY
from emu.mm.shared_tables import SharedTableOperations, SharedTables, fill_units, unit_aligned_area
from emu.mm.shmem import SharedAnonymous
from emu.mm.vma import Vma
from emu.mm.vmops import MapHook
from mmu.record import record

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.kernel.kernel import Kernel

#: The posting's flag of mmap(2).
MAP_SHARED_PT = 0x200000
#: What one PMD entry covers: the alignment that sharing needs.
UNIT = 2 << 20
_SHARED_TYPES = (MapFlags.SHARED, MapFlags.SHARED_VALIDATE)


@record(eq=False, repr=False)
class Share:
    """The terms on which processes share a file's page tables: those of the first mapping."""

    #: What is mapped: a file, or memory without a name.
    shown: Inode | SharedAnonymous
    start: int
    end: int
    pgoff: int
    prot: Prot
    tables: SharedTables

    def fits(self, vma: Vma) -> bool:
        """Whether a later mapping can join: the same range of the same part of the file, and no fewer rights."""
        same = (vma.start, vma.end, vma.pgoff) == (self.start, self.end, self.pgoff)
        return same and vma.prot & self.prot == self.prot


class SharedMappingOperations(SharedTableOperations):
    """vm_operations_struct of a mapping whose tables are shared."""

    def __init__(self, module: PtShare, share: Share) -> None:
        super().__init__(share.tables)
        self._module = module
        self._share = share

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        super().close(mm, vma)
        if not self._share.tables.sharers:
            self._module.end(self._share)

    def may_split(self, vma: Vma, address: int) -> None:
        raise LinuxError(errno.EINVAL)

    def unmap_end(self, vma: Vma, end: int) -> int:
        """Memory without a name covers whole units; what is behind the length that was asked for goes with it."""
        return max(end, vma.end) if end >= self._share.end else end

    def mremap(self, vma: Vma, new_start: int) -> None:
        raise LinuxError(errno.EINVAL)

    def protect(self, mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> bool:
        """mprotect(2) by one process affects all: the entries are common."""
        do_mprotect(self._share.tables.host, start, min(end, self._share.end) - start, prot)
        return True


class PtShare(MapHook):
    """The module in one machine."""

    flags, of_private_memory = MAP_SHARED_PT, False

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        #: A file has one shared range at a time.
        self._shares: dict[Inode | SharedAnonymous, Share] = {}
        #: Whether memory without a name has shared tables (0 or 1).
        self.anonymous = 0

    def check(self, flags: int) -> None:
        if flags & MAP_SHARED_PT and flags & MapFlags.TYPE not in _SHARED_TYPES:
            raise LinuxError(errno.EINVAL)

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, flags: int) -> int | None:
        return unit_aligned_area(mm, address, length, UNIT, flags) if self.anonymous else None

    def set_anonymous(self, value: int) -> None:
        """What is written to the sysctl."""
        self.anonymous = value

    def mapped(self, mm: AddressSpace, vma: Vma, flags: int) -> None:
        if self.anonymous and isinstance(vma.page_cache, SharedAnonymous) and not mm.shared_tables:
            self._map_anonymous(mm, vma, vma.page_cache)
            return
        if not flags & MAP_SHARED_PT or vma.ops is not ORDINARY or vma.page_cache is None:
            return
        file = file_of(vma)
        if file is None:
            return
        share = self._shares.get(file.inode)
        if share is None and not (vma.start % UNIT or vma.end % UNIT):
            share = self._begin(vma, vma.end, file.inode, file.path.dentry.name)
        if share is not None and share.fits(vma):
            self._join(vma, share)

    def _map_anonymous(self, mm: AddressSpace, vma: Vma, memory: SharedAnonymous) -> None:
        end = vma.end
        if not fill_units(mm, vma, UNIT):
            return
        share = self._begin(vma, end, memory, f"memory of {self._kernel.pid_of(mm) or 0} at {vma.start:#x}")
        if share is None:
            vma.end = end
        else:
            self._join(vma, share)

    def _begin(self, vma: Vma, end: int, shown: Inode | SharedAnonymous, name: str) -> Share | None:
        """The first mapping, of which something is mapped up to ``end``; None without memory for a host mm: it is an
        ordinary one then.
        """
        kernel = self._kernel
        try:
            tables = SharedTables(
                kernel.mm_context, name, "pte", tracer=lambda: kernel.tracer, pid_of=kernel.pid_of
            )  # fmt: skip
        except LinuxError:
            return None
        tables.host.insert(vma.copy(vma.start, end))
        share = self._shares[shown] = Share(shown, vma.start, end, vma.pgoff, vma.prot, tables)
        return share

    def _join(self, vma: Vma, share: Share) -> None:
        vma.ops = SharedMappingOperations(self, share)
        vma.flags |= VmFlags.DONTEXPAND
        vma.page_cache = None  # it is the host mm that maps the pages

    def end(self, share: Share) -> None:
        """The last mapping is gone."""
        del self._shares[share.shown]
        share.tables.host.put()

    def report(self) -> list[dict[str, Any]]:
        """Every shared range, for ``--json``."""
        return [
            {
                "name": tables.name,
                "level": tables.level,
                "sharers": tables.sharers,
                "pagetable_bytes": tables.host.tables.table_bytes,
                "resident_bytes": tables.resident_bytes,
            }
            for tables in (share.tables for share in self._shares.values())
        ]


def init(kernel: Kernel) -> None:
    """fs_initcall."""
    module = PtShare(kernel)
    kernel.mm_context.map_hooks.append(module)
    kernel.vfs.procfs.add_number("vm/ptshare_anonymous", lambda: module.anonymous, module.set_anonymous, 0, 1)
    kernel.reporters["ptshare"] = module.report
