"""uname, sysinfo, randomness."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from emu.kernel.layout import Persona
from emu.linux.argument import SIZE, Bits, Buffer, Out
from emu.linux.errors import LinuxError, NoIntr
from emu.linux.fileflags import MAX_RW_COUNT, PAGE_SIZE
from emu.linux.layout import Layout
from emu.linux.likeness import Likeness
from emu.linux.namespace import UtsNamespace
from emu.linux.syscall import BYTES, Syscall
from emu.linux.version import RELEASE, VERSION
from emu.syscalls.paths import check_range

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

UTSNAME = Layout("utsname", "65s" * 6)
SYSINFO = Layout("sysinfo", "q3Q2Q2Q2QHH4xQQI4x")
_GRND_KNOWN = 7
#: GRND_RANDOM and GRND_INSECURE.
_GRND_EXCLUSIVE = 6


def sys_uname(kernel: Kernel, task: Task) -> tuple[bytes, ...]:
    """uname(2)."""
    system, node, release, *rest, machine, domain = _names(task.ns.uts)
    if task.personality & Persona.UNAME26:
        release = _as_of_2_6(release)
    if task.personality & Persona.PER_MASK == Persona.PER_LINUX32:
        machine = "i686"
    return tuple(text.encode("utf-8", "surrogateescape") for text in (system, node, release, *rest, machine, domain))


def _as_of_2_6(release: str) -> str:
    """The release for programs that know none after 2.6 (override_release)."""
    minor, rest = re.fullmatch(r"\d+\.(\d+)[\d.]*(.*)", release, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"2.6.{60 + int(minor)}{rest}"


def _names(uts: UtsNamespace) -> tuple[str, ...]:
    return "Linux", uts.hostname, RELEASE, VERSION, "x86_64", uts.domainname


def sys_sysinfo(kernel: Kernel, task: Task) -> tuple[int, ...]:
    """sysinfo(2)."""
    frames, areas = kernel.frames, kernel.mm_context.swap.areas
    uptime = (kernel.clock.now_ns() + task.ns.time.boottime) // 1_000_000_000
    return (
        uptime, 0, 0, 0, frames.total << 12, frames.free << 12, 0, 0,
        areas.total << 12, areas.free << 12, len(kernel.tasks) + 1, 0, 0, 0, 1,
    )  # fmt: skip


def sys_getrandom(kernel: Kernel, task: Task, buffer: int, length: int, flags: int) -> int:
    """getrandom(2): bytes from the machine's seed, as many as can be stored."""
    if flags & ~_GRND_KNOWN or flags & _GRND_EXCLUSIVE == _GRND_EXCLUSIVE:
        raise LinuxError(errno.EINVAL)
    check_range(task.mm, buffer, min(length, MAX_RW_COUNT))
    length = min(length, 1 << 20)
    data, done = kernel.random.randbytes(length), 0
    while done < length:
        piece = data[done : done + PAGE_SIZE - (buffer + done) % PAGE_SIZE]
        try:
            task.mm.write(buffer + done, piece)
        except NoIntr:
            raise
        except LinuxError:
            if not done:
                raise
            break
        done += len(piece)
    return done


_RANDOM_BYTES = Buffer(written=True, likeness=Likeness.FREE)
_RANDOM_FLAGS = Bits("GRND_", NONBLOCK=1, RANDOM=2, INSECURE=4)

TABLE = (
    Syscall(63, "uname", sys_uname, (Out(UTSNAME),)),
    Syscall(99, "sysinfo", sys_sysinfo, (Out(SYSINFO),)),
    Syscall(
        318,
        "getrandom",
        sys_getrandom,
        (_RANDOM_BYTES, SIZE, _RANDOM_FLAGS),
        BYTES,
    ),
)
