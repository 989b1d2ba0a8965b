"""Regions for programs that know nothing of them: ``anonymous=on``, which is in no posting.

MAP_SHARED|MAP_ANONYMOUS memory of at least 2 MiB becomes the only object of a region without a name, and the mapping
its window.  Children inherit the window and link.  So a server whose processes share one large buffer (PostgreSQL) runs
on shared page tables unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.flags import VmFlags
from emu.mm.shared_tables import fill_units, unit_aligned_area
from emu.mm.shmem import SharedAnonymous
from emu.mm.vma import Vma
from emu.mm.vmops import MapHook
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from msharefs.filesystem import MshareSuperBlock
    from msharefs.region import Region
    from msharefs.regions import Regions


class AnonymousWindow(WindowOperations):
    """vm_operations_struct of the window of such a region.

    It covers whole units: the rest of the last one, behind the ``length`` bytes that were asked for, has no object.
    """

    def __init__(self, regions: Regions, region: Region, length: int) -> None:
        super().__init__(region, identity=True)
        self._regions = regions
        self._length = length

    def unmap_end(self, vma: Vma, end: int) -> int:
        return max(end, vma.end) if end >= vma.start + self._length else end

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        super().close(mm, vma)
        if not self.region.sharers:
            self._regions.forget(self.region)


class AnonymousRegions(MapHook):
    """Gives shared memory without a name its region, in the first instance that is mounted with ``anonymous=on``."""

    of_private_memory = False

    def __init__(self, regions: Regions, mounted: Sequence[MshareSuperBlock]) -> None:
        self._regions = regions
        self._mounted = mounted

    def _instance(self) -> MshareSuperBlock | None:
        return next((sb for sb in self._mounted if sb.options.anonymous == "on"), None)

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, flags: int) -> int | None:
        instance = self._instance()
        return None if instance is None else unit_aligned_area(mm, address, length, instance.unit, flags)

    def mapped(self, mm: AddressSpace, vma: Vma, flags: int) -> None:
        if not isinstance(vma.page_cache, SharedAnonymous) or mm.shared_tables:
            return
        instance, start, end = self._instance(), vma.start, vma.end
        if instance is None or not fill_units(mm, vma, instance.unit):
            return
        kernel = self._regions.kernel
        name = f"memory of {kernel.pid_of(mm) or 0} at {start:#x}"
        try:
            region = instance.new_region(name, host_base=start)
        except LinuxError:  # no memory for a host mm: an ordinary mapping
            vma.end = end
            return
        region.size = vma.length
        region.host.insert(vma.copy(start, end))
        vma.ops = AnonymousWindow(self._regions, region, end - start)
        vma.flags |= VmFlags.DONTEXPAND
        vma.page_cache = None  # it is the host mm that maps the pages
