"""anywhere: processes share the page tables of a file, each at an address of its own.

``mmap(MAP_SHARED | MAP_ANYWHERE)`` of a file, with address and length multiples of 2 MiB, makes a host mm that maps the
file at HOST_BASE.  Whoever maps the same part of the file with at least the same rights, wherever that is, joins it: a
PMD entry of each process then points at the host mm's PTE table.  What does not fit is an ordinary mapping.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.fs.file import file_of
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm.flags import VmFlags
from emu.mm.ordinary import ORDINARY
from emu.mm.shared_tables import SharedTableOperations, SharedTables, unit_of
from emu.mm.vma import Vma
from emu.mm.vmops import MapHook

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.fs.inode import Inode
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace

#: A flag of mmap(2) that no kernel has.
MAP_ANYWHERE = 0x400000
#: Where a host mm has the file.
HOST_BASE = 1 << 40
LEVEL = "pte"
UNIT = unit_of(LEVEL)


@dataclass(eq=False)
class Share:
    """A file whose tables are shared: the part of it and the rights of whoever mapped it first."""

    inode: Inode
    length: int
    pgoff: int
    prot: Prot
    tables: SharedTables

    def fits(self, vma: Vma) -> bool:
        """Whether a mapping can join: the same part of the file, on whole units, with no fewer rights."""
        same = (vma.length, vma.pgoff) == (self.length, self.pgoff)
        return same and vma.start % UNIT == 0 and vma.prot & self.prot == self.prot


class AnywhereOperations(SharedTableOperations):
    """vm_operations_struct of such a mapping."""

    def __init__(self, module: Anywhere, share: Share) -> None:
        super().__init__(share.tables)
        self._module, self._share = module, share

    def to_host(self, vma: Vma) -> int:
        """Every process has the file elsewhere, and the host mm at HOST_BASE: faults, links and the audit add this."""
        return HOST_BASE - vma.start

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        super().close(mm, vma)
        if not self._share.tables.sharers:
            self._module.end(self._share)

    def may_split(self, vma: Vma, address: int) -> None:
        raise LinuxError(errno.EINVAL)  # it goes as a whole

    def mremap(self, vma: Vma, new_start: int) -> None:
        raise LinuxError(errno.EINVAL)

    def protect(self, mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> bool:
        raise LinuxError(errno.EINVAL)  # the entries are everybody's


class Anywhere(MapHook):
    """The module in one machine."""

    flags = MAP_ANYWHERE

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._shares: dict[Inode, Share] = {}

    def check(self, flags: int) -> None:
        if flags & MAP_ANYWHERE and flags & MapFlags.TYPE != MapFlags.SHARED:
            raise LinuxError(errno.EINVAL)

    def mapped(self, mm: AddressSpace, vma: Vma, flags: int) -> None:
        file = file_of(vma)
        if not flags & MAP_ANYWHERE or vma.ops is not ORDINARY or vma.page_cache is None or file is None:
            return
        share = self._shares.get(file.inode) or self._begin(vma, file)
        if share is not None and share.fits(vma):
            vma.ops = AnywhereOperations(self, share)
            vma.flags |= VmFlags.DONTEXPAND
            vma.page_cache = None  # it is the host mm that maps the pages

    def _begin(self, vma: Vma, file: File) -> Share | None:
        """The first mapping of a file; None if it cannot be shared."""
        if vma.start % UNIT or vma.length % UNIT:
            return None
        kernel, name = self._kernel, file.path.dentry.name
        try:
            tables = SharedTables(kernel.mm_context, name, LEVEL, tracer=lambda: kernel.tracer, pid_of=kernel.pid_of)
        except LinuxError:  # no memory for it: an ordinary mapping
            return None
        tables.host.insert(
            Vma(
                HOST_BASE, HOST_BASE + vma.length, vma.prot, vma.flags, page_cache=vma.page_cache, file=vma.file,
                pgoff=vma.pgoff,
            )
        )  # fmt: skip
        share = self._shares[file.inode] = Share(file.inode, vma.length, vma.pgoff, vma.prot, tables)
        return share

    def end(self, share: Share) -> None:
        """Nobody maps it any more."""
        del self._shares[share.inode]
        share.tables.host.put()

    def report(self) -> list[dict[str, Any]]:
        """Every file whose tables are shared at the end, for ``unimmu run --json``."""
        return [
            {"name": tables.name, "sharers": tables.sharers, "pagetable_bytes": tables.host.tables.table_bytes}
            for tables in (share.tables for share in self._shares.values())
        ]


def init(kernel: Kernel) -> None:
    """What the entry point names: called once for each machine that loads the module."""
    module = Anywhere(kernel)
    kernel.mm_context.map_hooks.append(module)
    kernel.reporters["anywhere"] = module.report
