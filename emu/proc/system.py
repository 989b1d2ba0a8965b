"""What /proc says of the machine as a whole, and its fixed parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.limits import NR_OPEN
from emu.linux.version import RELEASE, VERSION
from emu.proc.cpu import cpuinfo, stat

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.kernel.kernel import Kernel


def init(kernel: Kernel) -> None:
    """/proc/filesystems, version, uptime, cpuinfo, stat and mounts, and what is fixed in /proc/sys."""
    vfs, procfs = kernel.vfs, kernel.vfs.procfs
    procfs.create_file("filesystems", lambda: _filesystems(vfs))
    procfs.create_file("version", f"Linux version {RELEASE} (unimmu) {VERSION}\n".encode)
    procfs.create_file("uptime", lambda: _uptime(kernel))
    procfs.create_file("cpuinfo", lambda: cpuinfo(kernel.cpus))
    procfs.create_file("stat", lambda: stat(kernel))
    procfs.create_link("mounts", "self/mounts")
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
        "fs/file-max": str(vfs.resources.max_files),
    }
    for name, value in fixed.items():
        procfs.add_sysctl(name, f"{value}\n".encode)


def _filesystems(vfs: Vfs) -> bytes:
    return "".join(f"nodev\t{name}\n" for name in vfs.filesystems).encode()


def _uptime(kernel: Kernel) -> bytes:
    seconds = kernel.clock.now_ns() / 1e9
    return f"{seconds:.2f} 0.00\n".encode()
