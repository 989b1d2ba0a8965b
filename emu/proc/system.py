"""The files of /proc about the machine as a whole that many programs ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.version import RELEASE, VERSION

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.kernel.kernel import Kernel

#: Nanoseconds in a tick of USER_HZ.
TICK_NS = 10_000_000


def init(kernel: Kernel) -> None:
    """/proc/filesystems, version, uptime, stat and mounts."""
    vfs, procfs = kernel.vfs, kernel.vfs.procfs
    procfs.create_file("filesystems", lambda: _filesystems(vfs))
    procfs.create_file("version", f"Linux version {RELEASE} (unimmu) {VERSION}\n".encode)
    procfs.create_file("uptime", lambda: _uptime(kernel))
    procfs.create_file("stat", lambda: stat(kernel))
    procfs.create_link("mounts", "self/mounts")
    kernel.memory_figures = lambda: _memory_figures(kernel)


def _filesystems(vfs: Vfs) -> bytes:
    return "".join(f"nodev\t{name}\n" for name in vfs.filesystems).encode()


def _memory_figures(kernel: Kernel) -> dict[str, int]:
    from emu.proc.meminfo import node_figures  # few runs run out of memory

    return node_figures(kernel)


def _uptime(kernel: Kernel) -> bytes:
    seconds = (kernel.clock.now_ns() + kernel.ns.time.boottime) / 1e9
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
        ticks.append((user // TICK_NS, system // TICK_NS, max(0, now - user - system) // TICK_NS))
    user, system, idle = map(sum, zip(*ticks, strict=True))
    lines = [f"cpu  {user} 0 {system} {idle} 0 0 0 0 0 0"]
    lines += [f"cpu{number} {user} 0 {system} {idle} 0 0 0 0 0 0" for number, (user, system, idle) in enumerate(ticks)]
    booted = kernel.clock.realtime_offset - kernel.ns.time.boottime
    runnable = sum(vcpu.load for vcpu in scheduler.vcpus)
    lines += [
        "intr 0", f"ctxt {scheduler.switches}", f"btime {booted // 1_000_000_000}",
        f"processes {kernel.pids.forks}", f"procs_running {runnable}", "procs_blocked 0", "softirq 0" + " 0" * 10,
    ]  # fmt: skip
    return "\n".join(lines).encode() + b"\n"
