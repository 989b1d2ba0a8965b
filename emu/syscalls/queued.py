"""Signals with a value that are queued (rt_sigqueueinfo), and signals that are read from a descriptor (signalfd)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.kernel.creds import may_signal
from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import NSIG, UNBLOCKABLE, SiCode, Sig, SigInfo
from emu.kernel.signalfd import SignalFd
from emu.linux.argument import FD, PID, S32, SIZE, Bits, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import Layout
from emu.linux.limits import Rlimit
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.syscalls.types import SIGNAL, SIGSET, signal_words

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.signal_state import SigPending
    from emu.kernel.task import Task

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_REALTIME_FIRST = 32


class _SigInfo(Layout):
    """siginfo_t, whose fields after si_code depend on the kind of signal: here si_pid, si_uid and si_value."""

    prints = True

    def words(self, values: tuple[int, ...]) -> str:
        signo, _, code, pid, uid, value = values
        why = f"SI_{SiCode(code).name}" if code in SiCode._value2member_map_ else str(code)
        text = f"si_signo={signal_words(signo)}, si_code={why}, si_pid={pid}, si_uid={uid}"
        return f"{{{text}, si_int={S32(value)}, si_ptr={value:#x}}}" if value else f"{{{text}}}"


SIGINFO = _SigInfo("siginfo_t", "iii4xiIQ96x")


def check_pending(kernel: Kernel, task: Task) -> None:
    """LinuxError(EAGAIN) if so many signals of the user are queued, or timers that would queue one exist, as
    RLIMIT_SIGPENDING allows (__sigqueue_alloc).
    """
    uid = task.credentials.uid
    tasks = [other for other in kernel.tasks.values() if other.credentials.uid == uid]
    groups = {other.group for other in tasks}
    queued = sum(len(other.signals.pending) for other in tasks) + sum(len(group.pending) for group in groups)
    timers = sum(len(group.timers.posix) for group in groups if group.timers is not None)
    if queued + timers >= limits_of(task, Rlimit.SIGPENDING)[0]:
        raise LinuxError(errno.EAGAIN)


def given_siginfo(task: Task, address: int) -> SigInfo:
    """The siginfo_t at an address, with the signal that it names."""
    data = task.mm.read(address, SIGINFO.size)
    signo, _, code, pid, uid, value = SIGINFO.unpack(data)
    return SigInfo(signo, code, pid=pid, uid=uid, value=value, given=data)


def forged(info: SigInfo) -> bool:
    """Whether only the kernel, or kill() and tkill(), may say such a thing of another process."""
    return info.code >= 0 or info.code == SiCode.TKILL


#: What the kernel keeps of a siginfo_t (struct kernel_siginfo), and the last codes of the signals that have their own
#: (NSIGILL and so on), and of the others.
_KERNEL_SIGINFO = 48
_CODES: dict[int, int] = {Sig.ILL: 11, Sig.FPE: 15, Sig.SEGV: 10, Sig.BUS: 5, Sig.TRAP: 6, Sig.CHLD: 6, Sig.SYS: 2}
_POLL_CODES = 6
_SI_DETHREAD, _SI_ASYNCNL = -7, -60


def _is_known(signo: int, code: int) -> bool:
    """Whether Linux knows what a siginfo_t of this kind holds (known_siginfo_layout)."""
    if code > 0:
        return code == SiCode.KERNEL or code <= _CODES.get(signo, _POLL_CODES)
    return code >= _SI_DETHREAD or code == _SI_ASYNCNL


def _queued_info(task: Task, signo: int, address: int) -> SigInfo:
    info = given_siginfo(task, address)
    if any(info.given[_KERNEL_SIGINFO:]) and not _is_known(signo, info.code):
        raise LinuxError(errno.E2BIG)
    return SigInfo(
        signo, info.code, pid=info.pid, uid=info.uid, value=info.value, given=struct.pack("<i", signo) + info.given[4:]
    )


def _check_queue(kernel: Kernel, target: Task, queue: SigPending, info: SigInfo) -> None:
    """A real-time signal that a program queues needs room.  LinuxError(EAGAIN)."""
    if info.signo >= _REALTIME_FIRST and info.code != SiCode.USER:
        check_pending(kernel, target)
        if queue.full:
            raise LinuxError(errno.EAGAIN)


def sys_rt_sigqueueinfo(kernel: Kernel, task: Task, pid: int, signo: int, address: int) -> int:
    """rt_sigqueueinfo(2)."""
    info = _queued_info(task, signo, address)
    if forged(info) and pid != task.pid:
        raise LinuxError(errno.EPERM)
    target = kernel.find_task(pid)
    if target is None:
        raise LinuxError(errno.ESRCH)
    _check(task, target, signo)
    if signo:
        _check_queue(kernel, target, target.group.pending, info)
        kernel.signals.send_to_process(target, signo, info)
    return 0


def sys_rt_tgsigqueueinfo(kernel: Kernel, task: Task, tgid: int, tid: int, signo: int, address: int) -> int:
    """rt_tgsigqueueinfo(2)."""
    info = _queued_info(task, signo, address)
    if tid <= 0 or tgid <= 0:
        raise LinuxError(errno.EINVAL)
    if forged(info) and tid != task.pid:
        raise LinuxError(errno.EPERM)
    target = kernel.find_task(tid)
    if target is None or target.tgid != tgid:
        raise LinuxError(errno.ESRCH)
    _check(task, target, signo)
    if signo:
        _check_queue(kernel, target, target.signals.pending, info)
        kernel.signals.send(target, signo, info)
    return 0


def _check(task: Task, target: Task, signo: int) -> None:
    """check_kill_permission()."""
    if not 0 <= signo <= NSIG:
        raise LinuxError(errno.EINVAL)
    if not may_signal(task, target, signo):
        raise LinuxError(errno.EPERM)


def sys_signalfd4(kernel: Kernel, task: Task, fd: int, address: int, size: int, flags: int) -> int:
    """signalfd(2)."""
    if size != SIGSET.size:
        raise LinuxError(errno.EINVAL)
    mask = SIGSET.read(task.mm, address) & ~UNBLOCKABLE
    if flags & ~(_CLOEXEC | _NONBLOCK):
        raise LinuxError(errno.EINVAL)
    if fd != -1:
        file = task.files.get(fd)
        if not isinstance(file, SignalFd):
            raise LinuxError(errno.EINVAL)
        file.mask = mask
        task.group.signalfd.wake_all()
        return fd
    task.files.check_room()

    def current() -> Task:
        assert kernel.current is not None, "signalfd: read outside of any call"
        return kernel.current

    path = kernel.vfs.anon_inode("[signalfd]")
    return task.files.open(SignalFd(path, flags & _NONBLOCK, mask, kernel.signals, current), bool(flags & _CLOEXEC))


def sys_signalfd(kernel: Kernel, task: Task, fd: int, address: int, size: int) -> int:
    """signalfd(2)."""
    return sys_signalfd4(kernel, task, fd, address, size, 0)


_MASK, _INFO = Pointer(SIGSET), Pointer(SIGINFO)
_SIGNALFD_FLAGS = Bits("SFD_", CLOEXEC=_CLOEXEC, NONBLOCK=_NONBLOCK)

TABLE = (
    Syscall(129, "rt_sigqueueinfo", sys_rt_sigqueueinfo, (PID, SIGNAL, _INFO)),
    Syscall(282, "signalfd", sys_signalfd, (FD, _MASK, SIZE), DESCRIPTOR),
    Syscall(289, "signalfd4", sys_signalfd4, (FD, _MASK, SIZE, _SIGNALFD_FLAGS), DESCRIPTOR),
    Syscall(297, "rt_tgsigqueueinfo", sys_rt_tgsigqueueinfo, (PID, PID, SIGNAL, _INFO)),
)
