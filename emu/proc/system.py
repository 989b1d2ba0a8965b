"""The files of /proc about the machine as a whole, and its fixed parameters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from emu.linux.limits import NR_OPEN
from emu.linux.version import RELEASE, VERSION

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.kernel.kernel import Kernel

#: Nanoseconds in a tick of USER_HZ.
_TICK_NS = 10_000_000


def init(kernel: Kernel) -> None:
    """/proc/filesystems, version, uptime, cpuinfo, stat and mounts, and the fixed files of /proc/sys."""
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
        "kernel/pid_max": "4194304",
        "kernel/ngroups_max": "65536",
        "kernel/cap_last_cap": "40",
        "vm/max_map_count": "65530",
        "vm/mmap_min_addr": "65536",
        "fs/pipe-max-size": "1048576",
        "fs/nr_open": str(NR_OPEN),
        "fs/file-max": str(vfs.resources.max_files),
        "fs/epoll/max_user_watches": str(vfs.resources.max_epoll_watches),
        "fs/inotify/max_user_watches": str(vfs.resources.max_file_watches),
        "fs/inotify/max_user_instances": "128",
        "fs/inotify/max_queued_events": "16384",
    }
    for name, value in fixed.items():
        procfs.add_sysctl(name, f"{value}\n".encode)
    procfs.add_number(
        "kernel/randomize_va_space", lambda: kernel.randomize_va_space, partial(setattr, kernel, "randomize_va_space")
    )
    resources = vfs.resources
    procfs.add_number(
        "fs/lease-break-time", lambda: resources.lease_break_time,
        lambda value: setattr(resources, "lease_break_time", value),
    )  # fmt: skip
    procfs.add_number(
        "fs/leases-enable", lambda: resources.leases_enabled, lambda value: setattr(resources, "leases_enabled", value)
    )
    procfs.add_sysctl("kernel/hostname", lambda: f"{kernel.hostname}\n".encode("utf-8", "surrogateescape"))
    procfs.add_sysctl("kernel/domainname", lambda: f"{kernel.domainname}\n".encode("utf-8", "surrogateescape"))


def _filesystems(vfs: Vfs) -> bytes:
    return "".join(f"nodev\t{name}\n" for name in vfs.filesystems).encode()


def _uptime(kernel: Kernel) -> bytes:
    seconds = kernel.clock.now_ns() / 1e9
    return f"{seconds:.2f} 0.00\n".encode()


def cpu_list(mask: int) -> str:
    """A mask as a list of ranges: ``0-2,4``."""
    ranges: list[tuple[int, int]] = []
    for cpu in range(mask.bit_length()):
        if mask >> cpu & 1:
            if ranges and ranges[-1][1] == cpu - 1:
                ranges[-1] = (ranges[-1][0], cpu)
            else:
                ranges.append((cpu, cpu))
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in ranges)


def cpuinfo(cpus: int) -> bytes:
    """/proc/cpuinfo."""
    return "".join(
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: unimmu emulated CPU\n"
        f"siblings\t: {cpus}\ncpu cores\t: {cpus}\n\n"
        for cpu in range(cpus)
    ).encode()


def stat(kernel: Kernel) -> bytes:
    """/proc/stat: an instruction takes a nanosecond of user time, the kernel's work what it costs, and the rest is
    idle.
    """
    scheduler, now = kernel.scheduler, kernel.clock.now_ns()
    running = kernel.current
    ticks = []
    for vcpu in scheduler.vcpus:
        here = running is not None and running.cpu == vcpu.number
        user = vcpu.instructions + (scheduler.running_instructions() if here else 0)
        system = vcpu.system_ns + (scheduler.running_system_ns() if here else 0)
        ticks.append((user // _TICK_NS, system // _TICK_NS, max(0, now - user - system) // _TICK_NS))
    user, system, idle = map(sum, zip(*ticks, strict=True))
    lines = [f"cpu  {user} 0 {system} {idle} 0 0 0 0 0 0"]
    lines += [f"cpu{number} {user} 0 {system} {idle} 0 0 0 0 0 0" for number, (user, system, idle) in enumerate(ticks)]
    runnable = sum(vcpu.load for vcpu in scheduler.vcpus)
    lines += [
        f"ctxt {scheduler.switches}", f"btime {kernel.clock.realtime_offset // 1_000_000_000}",
        f"processes {kernel.forks}", f"procs_running {runnable}", "procs_blocked 0",
    ]  # fmt: skip
    return "\n".join(lines).encode() + b"\n"
