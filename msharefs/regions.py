"""The regions of one machine: the existing ones, and the peak figures of ended ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msharefs.charging import FAULTING
from msharefs.quirks import Quirk
from msharefs.region import MSHARE_BASE, Region
from msharefs.report import describe

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from msharefs.options import MountOptions

#: The most ended regions that are still reported.
MAX_ENDED = 1024


class Regions:
    """Every region, with the mounted instance that it belongs to."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._instances: dict[Region, object] = {}
        self._ended: deque[dict[str, Any]] = deque(maxlen=MAX_ENDED)

    def new(
        self,
        instance: object,
        options: MountOptions,
        name: str,
        *,
        host_base: int = MSHARE_BASE,
        at_owner_exit: str = "persist",
        tlb: str = "all",
        charge: str = FAULTING,
    ) -> Region:
        """A region without a size, owned by the caller; see :class:`Region`.  LinuxError(ENOMEM)."""
        owner = self.kernel.current
        region = Region(
            self.kernel, options, name, owner, host_base=host_base, at_owner_exit=at_owner_exit, tlb=tlb, charge=charge
        )  # fmt: skip
        self._instances[region] = instance
        return region

    def of(self, instance: object) -> list[Region]:
        """The regions of one instance."""
        return [region for region, its in self._instances.items() if its is instance]

    def abandon(self, region: Region) -> None:
        """Remove a region whose creation failed."""
        del self._instances[region]
        region.destroy()

    def forget(self, region: Region) -> None:
        """The region's last reference is gone."""
        region.destroy()
        self._ended.append(describe(region, {}, ended=True))
        del self._instances[region]

    def exit_task(self, task: Task) -> None:
        """A process ends: empty every region that it owns and that ends with its owner."""
        for region in self._instances:
            owner = region.owner
            if owner is not None and owner.group is task.group and region.dies_with_owner and not region.orphaned:
                region.lose_owner()

    def exit_thread(self, task: Task) -> None:
        """A thread ends: empty the regions that it owns, where the owner is a thread."""
        for region in self._instances:
            if region.owner is not task or Quirk.THREAD_OWNER not in region.options.quirks:
                continue
            if region.dies_with_owner and not region.orphaned:
                region.lose_owner()

    def report(self) -> list[dict[str, Any]]:
        """Every region, the living ones first."""
        for region in self._instances:
            region.note_peaks()
        pids = {task.mm.serial: task.tgid for task in self.kernel.tasks.values() if task.alive}
        return [*(describe(region, pids, ended=False) for region in self._instances), *self._ended]

    def audit(self) -> Iterator[str]:
        """Findings about regions, whether or not they are mapped."""
        for region in self._instances:
            yield from region.check_objects()
