"""Booting: give a kernel its system calls, its file systems and the tree of files, and then its modules.

Each step is an ``init(kernel)`` like that of a kernel module: it registers what it provides.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emu.fs.devfs import USERFAULTFD, DevTmpfs, register_devices
from emu.fs.hugetlbfs import Hugetlbfs
from emu.fs.ramfs import Ramfs
from emu.fs.tmpfs import Tmpfs
from emu.ipc.mqueuetype import MqueueType
from emu.kernel.cgroup.cgroupfs import Cgroup2
from emu.kernel.modules import ModuleError
from emu.kernel.ttys import KernelJobs, Ttys
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.proc import system as proc_system
from emu.proc.procfs import Procfs
from emu.proc.sysfs import Debugfs, Sysfs, add_cpus
from emu.syscalls import late_tables

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.kernel.cgroup.cgroupfs import FileType
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.kernel import Kernel
    from emu.kernel.modules import Init
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\nnogroup:x:65534:\n"


def boot(kernel: Kernel, modules: Mapping[str, Init], mount_root: Init | None = None) -> None:
    """Run the initcalls, then the modules' in their order.  ``mount_root`` mounts what is to be ``/``, in place of a
    small tree of our own.

    LinuxError(ENOMEM, ENOSPC): the machine is too small.  ModuleError names a module whose init ends in an exception.
    """
    for init in INITCALLS:
        if init is tree and mount_root is not None:
            mount_root(kernel)
            tree_over_root(kernel)
        else:
            init(kernel)
    for name, start in modules.items():
        try:
            start(kernel)
        except Exception as error:
            if isinstance(error, LinuxError) and error.errno in (errno.ENOMEM, errno.ENOSPC):
                raise
            import traceback

            at = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {error} ({at.filename}:{at.lineno})"
            raise ModuleError(f"kernel module {name} does not start: {said}") from error


def system_calls(kernel: Kernel) -> None:
    """Register the system calls."""
    kernel.entry.register_late(late_tables())


def file_systems(kernel: Kernel) -> None:
    """Register the file system types (with the tree, if a type has only one) and the devices."""
    vfs, resources = kernel.vfs, kernel.vfs.resources
    sysfs, debugfs = Sysfs(resources), Debugfs(resources)
    procfs = Procfs(kernel, _more_of_proc)
    queues = MqueueType(lambda: kernel.current_tgid(), lambda: kernel.ns.ipc)
    for fstype in (
        sysfs,
        Tmpfs(),
        Ramfs(),
        Hugetlbfs(),
        procfs,
        DevTmpfs(resources),
        debugfs,
        queues,
        Cgroup2(kernel, _files_of_groups),
    ):
        vfs.register_filesystem(fstype)
    kernel.namespaces.on_end.append(queues.forget)
    vfs.sysfs, vfs.debugfs, vfs.procfs = sysfs.tree, debugfs.tree, procfs.tree
    register_devices(resources)
    resources.register_device(USERFAULTFD, lambda path, flags: _open_userfaultfd(kernel, path, flags))


def _open_userfaultfd(kernel: Kernel, path: Path, flags: int) -> File:
    from emu.syscalls.userfaultfd import open_device  # hardly any program has one

    return open_device(kernel, path, flags)


def _files_of_groups() -> tuple[FileType, ...]:
    from emu.kernel.cgroup.files import FILES  # few programs look at a control group

    return FILES


def _stat_of_group(kernel: Kernel, group: Cgroup) -> str:
    from emu.kernel.cgroup.memorystat import stat_text  # hardly any group is full

    return stat_text(kernel, group)


def _more_of_proc(kernel: Kernel) -> None:
    """The files of /proc that few programs ask for."""
    from emu.proc.late import add_all

    add_all(kernel)


def _more_of_sys(kernel: Kernel) -> None:
    """Likewise of /sys."""
    from emu.proc.sysfiles import add_all

    add_all(kernel)


def tree(kernel: Kernel) -> None:
    """Mount ``/``, ``/dev``, ``/proc``, ``/sys``, ``/sys/kernel/debug``, and make the usual directories and files."""
    vfs = kernel.vfs
    vfs.mount("tmpfs", "/", "mode=755", source="rootfs")
    vfs.root.mount.sb.keeps_swap = True
    for name in ("bin", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sys", "usr/bin", "var"):
        vfs.mkdir(f"/{name}")
    for name in ("tmp", "var/tmp"):
        vfs.mkdir(f"/{name}", 0o1777)
    _mount_devices_and_figures(kernel)
    vfs.write_file("/etc/passwd", PASSWD)
    vfs.write_file("/etc/group", GROUP)


def tree_over_root(kernel: Kernel) -> None:
    """Mount what belongs to the machine over a root that is there: ``/dev``, ``/proc``, ``/sys`` and ``/tmp``.

    ValueError if the root has something else of that name.
    """
    for name in ("/dev", "/proc", "/sys", "/tmp"):
        kernel.vfs.mkdir(name)
        try:
            kernel.vfs.walker(None).resolve(f"{name}/")
        except LinuxError as error:
            raise ValueError(f"{name} in the root is no directory, so nothing can be mounted there: {error}") from None
    _mount_devices_and_figures(kernel)
    kernel.vfs.mount("tmpfs", "/tmp", "mode=1777", source="tmpfs")


def _mount_devices_and_figures(kernel: Kernel) -> None:
    vfs = kernel.vfs
    vfs.mount("devtmpfs", "/dev", source="devtmpfs")
    vfs.mount("tmpfs", "/dev/shm", "mode=1777", source="tmpfs")
    vfs.mount("proc", "/proc", source="proc")
    vfs.mount("sysfs", "/sys", source="sysfs")
    add_cpus(vfs.sysfs, kernel.cpus, lambda: _more_of_sys(kernel))
    vfs.sysfs.create_directory("fs")
    vfs.sysfs.create_mount_point("kernel/debug")
    vfs.mount("debugfs", "/sys/kernel/debug", source="debugfs")


def control_groups(kernel: Kernel) -> None:
    """/sys/fs/cgroup, as systemd mounts it; after all others, whose numbers are what they were without it."""
    vfs = kernel.vfs
    vfs.sysfs.create_mount_point("fs/cgroup")
    flags = MountFlags.NOSUID | MountFlags.NODEV | MountFlags.NOEXEC
    kernel.memory_stat = lambda group: _stat_of_group(kernel, group)
    vfs.mount("cgroup2", "/sys/fs/cgroup", "nsdelegate,memory_recursiveprot", source="cgroup2", flags=flags)


def terminals(kernel: Kernel) -> None:
    """/dev/ptmx, /dev/pts and /dev/tty."""
    scheduler = kernel.scheduler
    jobs = KernelJobs(kernel.vfs, scheduler, kernel.jobs, kernel.signals, kernel.tasks, kernel.clock)
    kernel.ttys = Ttys(kernel.vfs, scheduler, jobs)
    kernel.ttys.mount()
    kernel.exit_hooks.append(kernel.ttys.leave)


def core_files(kernel: Kernel) -> None:
    """Who writes the core of a process that a signal ends."""

    def dump(task: Task, info: SigInfo) -> bool:
        from emu.kernel.coredump import dump_core  # few programs ever need it

        return dump_core(kernel, task, info)

    kernel.signals.dump_core = dump


#: In the order in which they run; device and inode numbers follow from it.
INITCALLS: tuple[Init, ...] = (
    system_calls,
    file_systems,
    tree,
    proc_system.init,
    terminals,
    core_files,
    control_groups,
)
