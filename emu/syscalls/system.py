"""uname, sysinfo, randomness."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.syscall import Syscall
from emu.linux.version import RELEASE, VERSION

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_GRND_KNOWN = 7


def sys_uname(kernel: Kernel, task: Task, buffer: int) -> int:
    """uname(2)."""
    fields = ("Linux", "unimmu", RELEASE, VERSION, "x86_64", "(none)")
    task.mm.write(buffer, b"".join(text.encode().ljust(65, b"\0") for text in fields))
    return 0


def sys_sysinfo(kernel: Kernel, task: Task, buffer: int) -> int:
    """sysinfo(2)."""
    frames = kernel.frames
    uptime = kernel.clock.now_ns() // 1_000_000_000
    task.mm.write(
        buffer,
        struct.pack(
            "<q3Q2Q2Q2QHH4xQQI4x", uptime, 0, 0, 0, frames.total << 12, frames.free << 12, 0, 0, 0, 0,
            len(kernel.tasks), 0, 0, 0, 1,
        ),
    )  # fmt: skip
    return 0


def sys_getrandom(kernel: Kernel, task: Task, buffer: int, length: int, flags: int) -> int:
    """getrandom(2): from the machine's seed."""
    if flags & ~_GRND_KNOWN:
        raise LinuxError(errno.EINVAL)
    length = min(length, 1 << 20)
    task.mm.write(buffer, kernel.random.randbytes(length))
    return length


TABLE = (
    Syscall(63, "uname", sys_uname, ("ptr",)),
    Syscall(99, "sysinfo", sys_sysinfo, ("ptr",)),
    Syscall(318, "getrandom", sys_getrandom, ("ptr", "size", "hex")),
)
