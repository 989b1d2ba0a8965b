"""The module's entry point: registers the file system, the system calls, the sysctl and the report."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emu.mm.shared_tables import unit_of
from msharefs.abi import Generations
from msharefs.abi_v1 import MshareCalls
from msharefs.accounting import describe, text
from msharefs.filesystem import MshareFsType, MshareSuperBlock
from msharefs.quirks import owner_is_thread
from msharefs.region import MSHARE_BASE, Region

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

MOUNT_POINT = "/sys/fs/mshare"
#: Regions that have ended and are still reported.
MAX_ENDED = 1024


class Mshare:
    """What the module knows of one machine: mounted instances and regions, the ended ones as they were at most."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        #: The interface generations, by the value of ``abi=``.
        self.abis = Generations()
        self.mounted: list[MshareSuperBlock] = []
        #: The regions that exist, and the instance that each belongs to.
        self.regions: dict[Region, MshareSuperBlock] = {}
        self._ended: deque[dict[str, Any]] = deque(maxlen=MAX_ENDED)
        self.calls = MshareCalls(self)

    def new_region(
        self,
        sb: MshareSuperBlock,
        name: str,
        *,
        host_base: int = MSHARE_BASE,
        at_owner_exit: str = "persist",
        tlb: str = "all",
    ) -> Region:
        """A region without a size, owned by the caller; see :class:`Region`.  LinuxError(ENOMEM)."""
        region = Region(
            self.kernel,
            sb.options,
            name,
            self.kernel.current,
            host_base=host_base,
            at_owner_exit=at_owner_exit,
            tlb=tlb,
        )
        self.regions[region] = sb
        return region

    def mounts_changed(self) -> None:
        """Where every mounted instance is without mshare(2), its numbers are what later kernels use them for."""
        entry = self.kernel.entry
        off = bool(self.mounted) and not any(sb.has_calls for sb in self.mounted)
        for call in self.calls.table:
            entry.register(self.calls.later.get(call.number, call) if off else call, replace=True)
        for sb in self.mounted:
            for call in sb.abi.own_calls(self):
                entry.register(call, replace=True)

    def abandon(self, region: Region) -> None:
        """A region could not be made after all."""
        del self.regions[region]
        region.destroy()

    def forget(self, region: Region) -> None:
        """The region's last reference is gone."""
        region.destroy()
        self._ended.append(describe(region, {}, ended=True))
        del self.regions[region]

    def exit_task(self, task: Task) -> None:
        """A process ends: so do the contents of every region that it owns and that is to end with its owner."""
        for region in self.regions:
            owner = region.owner
            if owner is not None and owner.group is task.group and region.dies_with_owner and not region.orphaned:
                region.lose_owner()

    def exit_thread(self, task: Task) -> None:
        """A thread ends, and takes what it owns with it where the owner is a thread."""
        for region in self.regions:
            if region.owner is task and owner_is_thread(region) and region.dies_with_owner and not region.orphaned:
                region.lose_owner()

    def report(self) -> list[dict[str, Any]]:
        """Every region, those that live first."""
        for region in self.regions:
            region.note_peaks()
        pids = {task.mm.serial: task.tgid for task in self.kernel.tasks.values() if task.alive}
        return [*(describe(region, pids, ended=False) for region in self.regions), *self._ended]

    def audit(self) -> Iterator[str]:
        """What is wrong with regions whether or not anybody maps them."""
        for region in self.regions:
            yield from region.check_objects()

    def debug_text(self) -> bytes:
        """/sys/kernel/debug/mshare."""
        return text(self.report()).encode()

    def size_text(self) -> bytes:
        """/proc/sys/vm/mshare_size: the unit of the instance that mshare(2) acts on, or else of the first."""
        instance = self.calls.instance() or next(iter(self.mounted), None)
        unit = unit_of("pmd") if instance is None else instance.unit
        return f"{unit}\n".encode()


def init(kernel: Kernel) -> None:
    """fs_initcall: make the mount point, register the file system, the calls and the files of other file systems."""
    mshare = Mshare(kernel)
    kernel.vfs.sysfs.create_mount_point("fs/mshare")
    kernel.vfs.register_filesystem(MshareFsType(mshare))
    kernel.vfs.procfs.add_sysctl("vm/mshare_size", mshare.size_text)
    mshare.mounts_changed()
    kernel.vfs.debugfs.create_file("mshare", mshare.debug_text, size=0)
    kernel.audit_hooks.append(mshare.audit)
    kernel.exit_hooks.append(mshare.exit_task)
    kernel.thread_exit_hooks.append(mshare.exit_thread)
    kernel.default_mounts.append(("msharefs", MOUNT_POINT, ""))
    kernel.reporters["regions"] = mshare.report
