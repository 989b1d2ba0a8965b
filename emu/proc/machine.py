"""Files of /proc about the machine that not every program asks for: devices, interrupts, cmdline, locks and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.fs.locks import TO_EOF, FileLocks, Lock
from emu.linux.fileflags import major, minor
from emu.proc.system import TICK_NS

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.kernel.kernel import Kernel

_CHARACTER = (
    (1, "mem"),
    (4, "tty"),
    (5, "/dev/tty"),
    (5, "/dev/console"),
    (5, "/dev/ptmx"),
    (10, "misc"),
    (136, "pts"),
)
_SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")


def devices(kernel: Kernel) -> bytes:
    """/proc/devices: there is no block device."""
    lines = "".join(f"{number:>3} {name}\n" for number, name in _CHARACTER)
    return f"Character devices:\n{lines}\nBlock devices:\n".encode()


def _cpu_heads(kernel: Kernel, width: int) -> str:
    return "".join(f"{f'CPU{number}':<{width}}" for number in range(kernel.cpus))


def interrupts(kernel: Kernel) -> bytes:
    """/proc/interrupts: the timer's ticks, and the shootdowns that vCPUs have taken."""
    ticks = kernel.clock.now_ns() // TICK_NS
    told = kernel.flusher.shootdowns.received_by
    lines = [f"{'':>11}{_cpu_heads(kernel, 11)}"]
    rows = (("LOC", [ticks] * kernel.cpus, "Local timer interrupts"), ("TLB", told, "TLB shootdowns"))
    for name, counts, words in rows:
        lines.append(f"{name + ':':>4} " + "".join(f"{count:>10} " for count in counts) + f"  {words}")
    return "".join(f"{line}\n" for line in lines).encode()


def softirqs(kernel: Kernel) -> bytes:
    """/proc/softirqs: nothing is put off."""
    lines = [f"{'':>20}{_cpu_heads(kernel, 11)}"]
    lines += [f"{name + ':':>12}" + "".join(f" {0:>10}" for _ in range(kernel.cpus)) for name in _SOFTIRQS]
    return "".join(f"{line}\n" for line in lines).encode()


def iomem(kernel: Kernel) -> bytes:
    """/proc/iomem: all memory is in one piece."""
    return f"00000000-{kernel.ram.size - 1:08x} : System RAM\n".encode()


def tty_drivers(kernel: Kernel) -> bytes:
    """/proc/tty/drivers."""
    rows = (
        ("/dev/tty", "/dev/tty", 5, "0", "system:/dev/tty"), ("/dev/console", "/dev/console", 5, "1", "system:console"),
        ("/dev/ptmx", "/dev/ptmx", 5, "2", "system"), ("pty_slave", "/dev/pts", 136, "0-1048575", "pty:slave"),
        ("pty_master", "/dev/ptm", 128, "0-1048575", "pty:master"),
    )  # fmt: skip
    return "".join(f"{a:<20} {b:<15} {c:>3} {d:<8} {e}\n" for a, b, c, d, e in rows).encode()


# Locks of files


def _inodes(kernel: Kernel) -> list[Inode]:
    """The inodes with locks, each once, in the order of their numbers."""
    found = {file.inode for task in kernel.tasks.values() if task.alive for file in task.files.files}
    locked = [inode for inode in found if inode.locks is not None]
    return sorted(locked, key=lambda inode: (inode.sb.dev, inode.ino))


def _record(lock: Lock, kind: str) -> str:
    end = "EOF" if lock.end == TO_EOF else str(lock.end - 1)
    word = "WRITE" if lock.exclusive else "READ "
    return f"{kind:<6} ADVISORY  {word} {lock.pid} {{place}} {lock.start} {end}"


def _lines(locks: FileLocks) -> list[str]:
    lines = [_record(lock, "OFDLCK" if lock.pid < 0 else "POSIX") for lock in locks.records]
    lines += [_record(lock, "FLOCK") for lock in locks.whole]
    for lease in locks.leases:
        state = "ACTIVE   " if lease.target is None else "BREAKING "
        lines.append(f"LEASE  {state} {'WRITE' if lease.kind else 'READ '} {lease.pid} {{place}} 0 EOF")
    return lines


def locks(kernel: Kernel) -> bytes:
    """/proc/locks."""
    text = ""
    number = 0
    for inode in _inodes(kernel):
        assert inode.locks is not None
        place = f"{major(inode.sb.dev):02x}:{minor(inode.sb.dev):02x}:{inode.ino}"
        for line in _lines(inode.locks):
            number += 1
            text += f"{number}: {line.format(place=place)}\n"
    return text.encode()


def pressure(kernel: Kernel, *, full: bool = True) -> bytes:
    """/proc/pressure/*: nobody waits for what is not measured."""
    words = "avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    return (f"some {words}full {words}").encode()


def cgroups(kernel: Kernel) -> bytes:
    """/proc/cgroups: the controllers that version 1 could have (proc_cgroupstats_show)."""
    made = "cgroups" in kernel.__dict__
    number = sum("pids" in group.states for group in kernel.cgroups.root.subtree()) if made else 1
    return f"#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t0\t{number}\t1\n".encode()


_SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def swaps(kernel: Kernel) -> bytes:
    """/proc/swaps: the areas that are used first stand last where their priorities are equal."""
    text = _SWAPS
    for area in kernel.mm_context.swap.areas.active:
        name = area.name()
        for char in "\\ \t\n":
            name = name.replace(char, f"\\{ord(char):03o}")
        size, used = (pages << 2 for pages in (area.pages, area.in_use))
        kind = "partition" if area.partition else "file\t"
        text += f"{name}{' ' * max(40 - len(name), 1)}{kind}\t{size}\t{_tab(size)}{used}\t{_tab(used)}{area.priority}\n"
    return text.encode("utf-8", "surrogateescape")


def _tab(number: int) -> str:
    return "\t" if number < 10_000_000 else ""


FIXED = {
    "consoles": "",
    "crypto": "",
    "diskstats": "",
    "execdomains": "0-0\tLinux           \t[kernel]\n",
    "misc": "",
    "partitions": "major minor  #blocks  name\n\n",
    "ioports": "",
    "cmdline": "\n",
}
FILES = {
    "cgroups": cgroups,
    "devices": devices, "interrupts": interrupts, "softirqs": softirqs, "iomem": iomem, "locks": locks, "swaps": swaps,
    "tty/drivers": tty_drivers, "pressure/cpu": pressure, "pressure/io": pressure, "pressure/memory": pressure,
}  # fmt: skip
