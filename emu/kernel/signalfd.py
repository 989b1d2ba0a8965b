"""signalfd: pending signals are read from a descriptor (fs/signalfd.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.fs.file import WouldBlock
from emu.kernel.signal_state import SYNCHRONOUS, SiCode, Sig, SigInfo
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.signals import Signals
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

#: struct signalfd_siginfo: signo, errno, code, pid, uid, fd, tid, band, overrun, trapno, status, int, ptr, utime,
#: stime, addr.
_SIGINFO = struct.Struct("<IiiIIiIIIIiiQQQQ48x")


def signalfd_siginfo(info: SigInfo) -> bytes:
    """struct signalfd_siginfo (signalfd_copyinfo)."""
    pid, uid, tid, overrun, status, value, address = info.pid, info.uid, 0, 0, 0, 0, 0
    if info.code == SiCode.TIMER:
        pid, uid, tid, overrun, value = 0, 0, info.timer_id, info.overrun, info.value
    elif info.code < 0 and info.code != SiCode.TKILL:
        value = info.value
    elif info.signo in SYNCHRONOUS and info.code > 0:
        pid, uid, address = 0, 0, info.address
    elif info.signo == Sig.CHLD and info.code > 0:
        status = info.status
    low = value & 0xFFFFFFFF
    number = low - (low >> 31 << 32)
    return _SIGINFO.pack(
        info.signo,
        0,
        info.code,
        pid,
        uid,
        0,
        tid,
        0,
        overrun,
        0,
        status,
        number,
        value,
        info.utime,
        info.stime,
        address,
    )


class SignalFd(AnonFile):
    """Reading takes signals of the set from whoever reads: the task's own, then its process's."""

    def __init__(self, path: Path, flags: int, mask: int, signals: Signals, current: Callable[[], Task]) -> None:
        """``current``: the task that makes a call."""
        super().__init__(path, flags | OpenFlags.RDWR)
        self.mask = mask
        self._signals = signals
        self._current = current

    def read(self, count: int) -> bytes:
        task = self._current()
        number = count // _SIGINFO.size
        if not number:
            raise LinuxError(errno.EINVAL)
        taken = b""
        while len(taken) < number * _SIGINFO.size:
            info = self._signals.dequeue(task, self.mask)
            if info is None:
                break
            taken += signalfd_siginfo(info)
        if not taken:
            raise WouldBlock(task.group.signalfd)
        return taken

    def unread(self, data: bytes, stored: int) -> int:
        return stored // _SIGINFO.size * _SIGINFO.size

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        task = self._current()
        return int(PollEvents.IN) if task.signals.has(self.mask) else 0, (task.group.signalfd,)

    def show_fdinfo(self) -> str:
        return f"sigmask:\t{self.mask:016x}\n"
