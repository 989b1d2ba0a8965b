"""What is in the tree when a machine starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from emu.fs.devfs import DevTmpfs, register_devices
from emu.fs.hugetlbfs import Hugetlbfs
from emu.fs.tmpfs import Tmpfs
from emu.linux.limits import NR_OPEN
from emu.linux.version import RELEASE, VERSION
from emu.proc.cpu import cpuinfo, stat
from emu.proc.procfs import PidReadAt, PidText, Procfs, ProcSuperBlock
from emu.proc.sysfs import Debugfs, Sysfs, add_cpus

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.kernel.kernel import Kernel

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\nnogroup:x:65534:\n"


def populate(
    kernel: Kernel,
    cpus: int = 1,
    pid_files: Mapping[str, PidText] | None = None,
    pid_readers: Mapping[str, PidReadAt] | None = None,
) -> None:
    """Register the file systems, mount ``/``, ``/dev``, ``/proc``, ``/sys`` and ``/sys/kernel/debug``, and make the
    usual directories.

    ``pid_files`` and ``pid_readers`` add files to every /proc/<pid>.
    """
    vfs = kernel.vfs
    sysfs, debugfs, procfs = Sysfs(kernel), Debugfs(kernel), Procfs(kernel, pid_files, pid_readers)
    for fstype in (sysfs, Tmpfs(), Hugetlbfs(), procfs, DevTmpfs(kernel), debugfs):
        vfs.register_filesystem(fstype)
    vfs.sysfs, vfs.debugfs, vfs.procfs = sysfs.tree, debugfs.tree, procfs.tree
    register_devices(vfs)
    vfs.mount("tmpfs", "/", "mode=755", source="rootfs")
    for name in ("bin", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sys", "usr/bin", "var"):
        vfs.mkdir(f"/{name}")
    for name in ("tmp", "var/tmp"):
        vfs.mkdir(f"/{name}", 0o1777)
    vfs.mount("devtmpfs", "/dev", source="devtmpfs")
    vfs.mount("tmpfs", "/dev/shm", "mode=1777", source="tmpfs")
    vfs.mount("proc", "/proc", source="proc")
    vfs.mount("sysfs", "/sys", source="sysfs")
    add_cpus(vfs.sysfs, cpus)
    vfs.sysfs.create_directory("fs")
    vfs.sysfs.create_mount_point("kernel/debug")
    vfs.mount("debugfs", "/sys/kernel/debug", source="debugfs")
    vfs.write_file("/etc/passwd", PASSWD)
    vfs.write_file("/etc/group", GROUP)
    _add_proc_files(kernel, vfs, vfs.procfs, cpus)


def _add_proc_files(kernel: Kernel, vfs: Vfs, procfs: ProcSuperBlock, cpus: int) -> None:
    procfs.create_file("filesystems", lambda: _filesystems(vfs))
    procfs.create_file("version", f"Linux version {RELEASE} (unimmu) {VERSION}\n".encode)
    procfs.create_file("uptime", lambda: _uptime(kernel))
    procfs.create_file("cpuinfo", lambda: cpuinfo(cpus))
    procfs.create_file("stat", lambda: stat(kernel))
    procfs.root.add_link("mounts", "self/mounts")
    fixed = {
        "kernel/osrelease": RELEASE,
        "kernel/ostype": "Linux",
        "kernel/version": VERSION,
        "kernel/hostname": "unimmu",
        "kernel/pid_max": "4194304",
        "kernel/ngroups_max": "65536",
        "kernel/cap_last_cap": "40",
        "kernel/randomize_va_space": "0",
        "vm/max_map_count": "65530",
        "vm/mmap_min_addr": "65536",
        "fs/pipe-max-size": "1048576",
        "fs/nr_open": str(NR_OPEN),
        "fs/file-max": str(kernel.vfs.max_files),
    }
    for name, value in fixed.items():
        procfs.add_sysctl(name, f"{value}\n".encode)


def _filesystems(vfs: Vfs) -> bytes:
    return "".join(f"nodev\t{name}\n" for name in vfs.filesystems).encode()


def _uptime(kernel: Kernel) -> bytes:
    seconds = kernel.clock.now_ns() / 1e9
    return f"{seconds:.2f} 0.00\n".encode()
