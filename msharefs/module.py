"""The module's entry point: registers the file system, the system calls, the sysctl and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.shared_tables import unit_of
from msharefs.abi import Generations
from msharefs.anonymous import AnonymousRegions
from msharefs.calls import MshareCalls
from msharefs.filesystem import MshareFsType, MshareSuperBlock
from msharefs.regions import Regions
from msharefs.report import text

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

MOUNT_POINT = "/sys/fs/mshare"


def init(kernel: Kernel) -> None:
    """fs_initcall: make the mount point, register the file system, the calls and the files of other file systems."""
    mounted: list[MshareSuperBlock] = []
    regions, calls = Regions(kernel), MshareCalls(kernel, mounted)

    def size_text() -> bytes:
        """The unit of the instance on which mshare(2) acts, or else of the first one."""
        instance = calls.instance() or next(iter(mounted), None)
        unit = unit_of("pmd") if instance is None else instance.unit
        return f"{unit}\n".encode()

    kernel.vfs.sysfs.create_mount_point("fs/mshare")
    kernel.vfs.register_filesystem(MshareFsType(regions, Generations(), mounted, calls.register))
    kernel.vfs.procfs.add_sysctl("vm/mshare_size", size_text)
    calls.register()
    kernel.vfs.debugfs.create_file("mshare", lambda: text(regions.report()).encode(), size=0)
    kernel.mm_context.map_hooks.append(AnonymousRegions(regions, mounted))
    kernel.audit_hooks.append(regions.audit)
    kernel.exit_hooks.append(regions.exit_task)
    kernel.thread_exit_hooks.append(regions.exit_thread)
    kernel.default_mounts.append(("msharefs", MOUNT_POINT, ""))
    kernel.reporters["regions"] = regions.report
