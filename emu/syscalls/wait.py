"""wait4 and waitid."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import Sig
from emu.kernel.wait import Wait, Waited, Whom, do_wait
from emu.linux.argument import PID, S32, Bits, OneOf, Pointer, Scalar, Shown, Target
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.layout import Layout
from emu.linux.likeness import Likeness, Part
from emu.linux.syscall import Restart, Returned, Syscall
from emu.linux.words import pointer
from emu.syscalls.types import RUSAGE, WAIT_STATUS

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: siginfo_t as waitid() fills it: si_signo, si_errno, si_code, si_pid, si_uid, si_status.
SIGINFO_OF_CHILD = Layout(
    "siginfo_t", "iiiiiIi100x", likeness=Likeness.EXACT,
    fields={"si_signo": 0, "si_code": 2, "si_uid": 4, "si_status": 5},
)  # fmt: skip
_P_ALL, _P_PID, _P_PGID, _P_PIDFD = range(4)
_INT_MIN = -1 << 31
_STATES = Wait.EXITED | Wait.STOPPED | Wait.CONTINUED
_KINDS_OF_CHILD = Wait.NOTHREAD | Wait.ALL | Wait.CLONE
_WAIT4_KNOWN = Wait.NOHANG | Wait.STOPPED | Wait.CONTINUED | _KINDS_OF_CHILD
_NOTHING_FOUND = (0,) * 7
_WAITID_KNOWN = Wait.NOHANG | Wait.NOWAIT | _STATES | _KINDS_OF_CHILD


def sys_wait4(
    kernel: Kernel, task: Task, pid: int, status: int, options: int, rusage: int
) -> Generator[Any, None, int]:
    """wait4(2)."""
    if options & ~_WAIT4_KNOWN:
        raise LinuxError(errno.EINVAL)
    if pid == _INT_MIN:  # there is no group of that number
        raise LinuxError(errno.ESRCH)
    if pid == -1:
        wanted = Whom()
    else:
        wanted = Whom(pid=pid) if pid > 0 else Whom(pgid=-pid or task.pgid)
    found = yield from do_wait(kernel, task, wanted, options | Wait.EXITED)
    if found is None:
        return 0
    if status:  # a bad pointer does not keep the zombie
        WAIT_STATUS.write(task.mm, status, found.word)
    if rusage:
        RUSAGE.write(task.mm, rusage, found.usage)
    return found.number


def sys_waitid(
    kernel: Kernel, task: Task, kind: int, number: int, info: int, options: int, rusage: int
) -> Generator[Any, None, int]:
    """waitid(2): the siginfo_t is written where the call fails, too."""
    try:
        found = yield from _waitid(kernel, task, kind, number, options)
    except (LinuxError, Interrupted):
        if info:
            SIGINFO_OF_CHILD.write(task.mm, info, _NOTHING_FOUND)
        raise
    if found is not None and rusage:
        RUSAGE.write(task.mm, rusage, found.usage)
    if info and found is None:
        SIGINFO_OF_CHILD.write(task.mm, info, _NOTHING_FOUND)
    elif info and found is not None:
        uid = task.credentials.shown("uid", found.child.credentials.uid)
        SIGINFO_OF_CHILD.write(task.mm, info, (Sig.CHLD, 0, found.code, 0, found.number, uid, found.status))
    return 0


def _waitid(kernel: Kernel, task: Task, kind: int, number: int, options: int) -> Generator[Any, None, Waited | None]:
    """kernel_waitid()."""
    if options & ~_WAITID_KNOWN or not options & _STATES:
        raise LinuxError(errno.EINVAL)
    wanted, nonblocking = _whom(task, kind, number)
    found = yield from do_wait(kernel, task, wanted, options | (Wait.NOHANG if nonblocking else 0))
    if found is None and nonblocking and not options & Wait.NOHANG:
        raise LinuxError(errno.EAGAIN)
    return found


def _whom(task: Task, kind: int, number: int) -> tuple[Whom, bool]:
    """Whom to wait for, and whether a descriptor says not to wait.  LinuxError(EINVAL), (EBADF)."""
    if kind == _P_ALL:
        return Whom(), False
    if kind == _P_PID and number > 0:
        return Whom(pid=task.means(number)), False
    if kind == _P_PGID and number >= 0:
        return Whom(pgid=task.means(number) or task.pgid), False
    if kind == _P_PIDFD and number >= 0:
        from emu.kernel.pidfd import PidFd

        file = task.files.get(number)
        if not isinstance(file, PidFd):
            raise LinuxError(errno.EBADF)
        target = file.target
        return Whom(child=target), file.nonblocking
    raise LinuxError(errno.EINVAL)


class _OfChild(Pointer):
    """What wait4 writes of a child, if there is one: with WNOHANG the result may be 0."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, written=True, null=True)

    def text(self, at: int, call: Shown) -> str:
        return super().text(at, call) if call.result else pointer(call.values[at])

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        return super().got(at, call) if call.result else ()


_RUSAGE = Pointer(RUSAGE, written=True, null=True)
_ID_TYPE = OneOf("P_", ALL=_P_ALL, PID=_P_PID, PGID=_P_PGID, PIDFD=_P_PIDFD)
#: The number of a child as the caller has it.
_CHILD = Returned("pid", likeness=Likeness.TASK)
#: A process, a group, or a descriptor.
_ID = Scalar("pid", S32, likeness=Likeness.TASK)
_WAIT_OPTIONS = Bits("W", NOHANG=1, STOPPED=2, EXITED=4, CONTINUED=8, NOWAIT=0x0100_0000)
_SIGINFO = Pointer(SIGINFO_OF_CHILD, written=True, null=True)

TABLE = (
    Syscall(61, "wait4", sys_wait4, (PID, _OfChild(WAIT_STATUS), _WAIT_OPTIONS, _OfChild(RUSAGE)), _CHILD, Restart.SYS),
    Syscall(247, "waitid", sys_waitid, (_ID_TYPE, _ID, _SIGINFO, _WAIT_OPTIONS, _RUSAGE), restart=Restart.SYS),
)
