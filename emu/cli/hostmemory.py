"""What the host says of its memory, and of that of this process.  Bytes; None where it does not say."""

from __future__ import annotations

import pathlib
import resource

from mmu import PhysicalMemory


def peak_rss() -> int:
    """The most bytes that this process has had in the host's memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def own_tables() -> int | None:
    """Bytes of the page tables that the host has for this process."""
    return _field("/proc/self/status", "VmPTE:")


def available_memory() -> int | None:
    """Bytes that the host, or the control group, can still give."""
    known = [_field("/proc/meminfo", "MemAvailable:")]
    try:
        group = pathlib.Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        known.append(int(limit) - int(used) if limit.strip() != "max" else None)
    except (OSError, ValueError):
        pass
    return min((size for size in known if size is not None), default=None)


def rss_besides(ram: PhysicalMemory) -> int | None:
    """Bytes that this process has in the host's memory, without those of a machine's memory."""
    everything, of_ram, inside = 0, 0, False
    try:
        with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, *words = line.split()
                if name == "Rss:":
                    everything += int(words[0]) << 10
                    of_ram += int(words[0]) << 10 if inside else 0
                elif not name.endswith(":"):
                    start, _, end = name.partition("-")
                    inside = ram.host < int(end, 16) and int(start, 16) < ram.host + ram.size
    except OSError:
        return None
    return everything - of_ram


def _field(path: str, name: str) -> int | None:
    """The value of a line of a /proc file that counts in kB, in bytes."""
    try:
        for line in pathlib.Path(path).read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return None
