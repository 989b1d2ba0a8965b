"""rt_sigaction, rt_sigprocmask, rt_sigreturn, kill, pause, sigaltstack and their relatives."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

from emu.kernel.creds import may_signal
from emu.kernel.signal_state import (
    NSIG,
    SIG_DFL,
    SIG_IGN,
    SS_AUTODISARM,
    UNBLOCKABLE,
    AltStack,
    SiCode,
    Sig,
    SigAction,
    SigInfo,
)
from emu.linux.argument import PID, SIZE, Argument, Bind, In, OneOf, Out, Pointer, Shown
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.layout import TIMESPEC, Opaque
from emu.linux.syscall import Restart, Returned, Syscall
from emu.linux.wait import WaitQueue
from emu.syscalls.types import SIGACTION, SIGNAL, SIGNAL_STACK, SIGSET, sigset_words

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_SIGSET_SIZE = SIGSET.size
_SIG_BLOCK, _SIG_UNBLOCK, _SIG_SETMASK = range(3)


def _check_signal(signo: int, *, zero: bool = False) -> None:
    if not (0 if zero else 1) <= signo <= NSIG:
        raise LinuxError(errno.EINVAL)


def _check_size(size: int) -> None:
    """The size of a sigset_t."""
    if size != _SIGSET_SIZE:
        raise LinuxError(errno.EINVAL)


def sys_rt_sigaction(kernel: Kernel, task: Task, signo: int, new: int, size: int) -> SigAction:
    """rt_sigaction(2)."""
    _check_size(size)
    action = SIGACTION.read(task.mm, new) if new else None
    _check_signal(signo)
    if action is not None and signo in (Sig.KILL, Sig.STOP):
        raise LinuxError(errno.EINVAL)
    before = task.signals.actions[signo]
    if action is not None:
        task.signals.actions[signo] = action._replace(mask=action.mask & ~UNBLOCKABLE)
        if signo in (Sig.SEGV, Sig.BUS) and action.handler not in (SIG_DFL, SIG_IGN):
            task.mm.catches_faults = True
        kernel.signals.action_changed(task, signo)
    return before


def sys_rt_sigprocmask(kernel: Kernel, task: Task, how: int, new: int, size: int) -> int:
    """rt_sigprocmask(2)."""
    _check_size(size)
    signals = task.signals
    before = signals.blocked
    if new:
        mask = SIGSET.read(task.mm, new)
        if how == _SIG_BLOCK:
            signals.blocked |= mask
        elif how == _SIG_UNBLOCK:
            signals.blocked &= ~mask
        elif how == _SIG_SETMASK:
            signals.blocked = mask
        else:
            raise LinuxError(errno.EINVAL)
        signals.blocked &= ~UNBLOCKABLE
    return before


def sys_rt_sigreturn(kernel: Kernel, task: Task) -> int:
    """rt_sigreturn(2): a frame that cannot be read is SIGSEGV."""
    try:
        result = kernel.signals.restore(task)
    except LinuxError:
        kernel.signals.force(task, SigInfo(Sig.SEGV, SiCode.KERNEL))
        return 0
    task.registers_replaced = True
    return result


def sys_rt_sigpending(kernel: Kernel, task: Task, address: int, size: int) -> int:
    """rt_sigpending(2): as much of the set as is asked for."""
    if size > SIGSET.size:
        raise LinuxError(errno.EINVAL)
    pending = task.signals.pending_mask & task.signals.blocked
    task.mm.write(address, pending.to_bytes(SIGSET.size, "little")[:size])
    return 0


def sys_rt_sigsuspend(kernel: Kernel, task: Task, mask: int, size: int) -> Generator[Any, None, int]:
    """rt_sigsuspend(2): the old mask comes back once a handler has run."""
    _check_size(size)
    wanted = SIGSET.read(task.mm, mask) & ~UNBLOCKABLE
    task.signals.saved_mask, task.signals.blocked = task.signals.blocked, wanted
    queue = WaitQueue()
    while not task.signals.deliverable():
        yield queue
    raise Interrupted


def sys_rt_sigtimedwait(
    kernel: Kernel, task: Task, mask: int, info: int, timeout: int, size: int
) -> Generator[Any, None, int]:
    """rt_sigtimedwait(2)."""
    _check_size(size)
    wanted = SIGSET.read(task.mm, mask)
    time = TIMESPEC.read(task.mm, timeout) if timeout else None
    deadline = None if time is None else kernel.clock.now_ns() + time
    blocked, task.signals.blocked = task.signals.blocked, task.signals.blocked & ~wanted
    queue = WaitQueue()
    try:
        while True:
            found = kernel.signals.dequeue(task, wanted)
            if found is not None:
                if info:
                    task.mm.write(info, found.pack())
                return found.signo
            if deadline is not None and kernel.clock.now_ns() >= deadline:
                raise LinuxError(errno.EAGAIN)
            try:
                yield (queue, deadline)
            except LinuxError:
                if not task.signals.has(wanted):
                    raise
    finally:
        task.signals.blocked = blocked


def sys_pause(kernel: Kernel, task: Task) -> Generator[Any, None, int]:
    """pause(2)."""
    queue = WaitQueue()
    while not task.signals.deliverable():
        yield queue
    raise Interrupted


def sys_sigaltstack(kernel: Kernel, task: Task, new: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """sigaltstack(2)."""
    signals, rsp = task.signals, kernel.cpu.read("rsp")
    old = signals.alt_stack
    if new is not None:
        sp, flags, size = new
        signals.alt_stack = old.replaced(AltStack(sp, size, flags), rsp)
    return old.sp, old.mode(rsp) | old.flags & SS_AUTODISARM, old.size


def sys_kill(kernel: Kernel, task: Task, pid: int, signo: int) -> int:
    """kill(2)."""
    if pid > 0:
        found = kernel.find_task(pid)
        targets: Iterable[Task] = () if found is None else (found,)
    else:
        leaders = (t for t in kernel.tasks.values() if t is t.group.leader)
        if pid == -1:
            targets = [t for t in leaders if t.group is not task.group and task.sees(t.pid) > 1]
        else:
            group = -pid if pid else task.pgid
            targets = [t for t in leaders if t.pgid == group]
    if not targets:
        raise LinuxError(errno.ESRCH)
    _check_signal(signo, zero=True)
    allowed = [t for t in targets if may_signal(task, t, signo)]
    if not allowed and pid != -1:
        raise LinuxError(errno.EPERM)
    if signo:
        info = SigInfo(signo, SiCode.USER, pid=task.tgid, uid=task.credentials.uid)
        for target in allowed:
            kernel.signals.send_to_process(target, signo, info)
    return 0


def sys_tgkill(kernel: Kernel, task: Task, tgid: int, tid: int, signo: int) -> int:
    """tgkill(2)."""
    if tgid <= 0 or tid <= 0:
        raise LinuxError(errno.EINVAL)
    return _send_to_thread(kernel, task, tid, signo, tgid)


def sys_tkill(kernel: Kernel, task: Task, tid: int, signo: int) -> int:
    """tkill(2)."""
    if tid <= 0:
        raise LinuxError(errno.EINVAL)
    return _send_to_thread(kernel, task, tid, signo)


def _send_to_thread(kernel: Kernel, task: Task, tid: int, signo: int, tgid: int | None = None) -> int:
    target = kernel.find_task(tid)
    if target is None or tgid not in (None, target.tgid):
        raise LinuxError(errno.ESRCH)
    _check_signal(signo, zero=True)
    if not may_signal(task, target, signo):
        raise LinuxError(errno.EPERM)
    if signo:
        kernel.signals.send(target, signo, SigInfo(signo, SiCode.TKILL, pid=task.tgid, uid=task.credentials.uid))
    return 0


class _Frame(Argument):
    """The signal frame at RSP; it is not in an argument register."""

    name = "the signal frame"
    in_register = False
    #: The offset from RSP in rt_sigreturn to uc_sigmask of the ucontext there.
    _mask_at = 296

    def passed(self, register: str, bind: Bind) -> None:
        return None

    def text(self, at: int, call: Shown) -> str:
        mask = SIGSET.text_at(call.view, call.view.stack_pointer() + self._mask_at)
        return f"{{mask={mask or sigset_words(0)}}}"


_AWAITED, _TIMEOUT = Pointer(SIGSET, shown=False), Pointer(TIMESPEC, null=True, shown=False)
_SIGINFO = Pointer(Opaque("siginfo_t"), written=True, null=True)
_MASK_CHANGE = OneOf("SIG_", BLOCK=_SIG_BLOCK, UNBLOCK=_SIG_UNBLOCK, SETMASK=_SIG_SETMASK)
_ONLY_EINTR, _A_SIGNAL = Returned("only EINTR"), Returned("signal")

TABLE = (
    Syscall(13, "rt_sigaction", sys_rt_sigaction, (SIGNAL, Pointer(SIGACTION), Out(SIGACTION, null=True), SIZE)),
    Syscall(
        14, "rt_sigprocmask", sys_rt_sigprocmask,
        (_MASK_CHANGE, Pointer(SIGSET, null=True), Out(SIGSET, null=True), SIZE),
    ),
    Syscall(15, "rt_sigreturn", sys_rt_sigreturn, (_Frame(),), Returned("what RAX was")),
    Syscall(34, "pause", sys_pause, (), _ONLY_EINTR, Restart.NOHAND),
    Syscall(62, "kill", sys_kill, (PID, SIGNAL)),
    Syscall(127, "rt_sigpending", sys_rt_sigpending, (Pointer(SIGSET, written=True), SIZE)),
    Syscall(
        128, "rt_sigtimedwait", sys_rt_sigtimedwait, (_AWAITED, _SIGINFO, _TIMEOUT, SIZE), _A_SIGNAL, Restart.INTR
    ),
    Syscall(130, "rt_sigsuspend", sys_rt_sigsuspend, (Pointer(SIGSET), SIZE), _ONLY_EINTR, Restart.NOHAND),
    Syscall(131, "sigaltstack", sys_sigaltstack, (In(SIGNAL_STACK, null=True), Out(SIGNAL_STACK, null=True))),
    Syscall(200, "tkill", sys_tkill, (PID, SIGNAL)),
    Syscall(234, "tgkill", sys_tgkill, (PID, PID, SIGNAL)),
)  # fmt: skip
