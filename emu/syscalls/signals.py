"""rt_sigaction, rt_sigprocmask, rt_sigreturn, kill, pause, sigaltstack and their relatives."""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import NSIG, UNBLOCKABLE, SiCode, Sig, SigAction, SigInfo
from emu.linux.errors import LinuxError
from emu.linux.syscall import Syscall, s32
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_SIG_BLOCK, _SIG_UNBLOCK, _SIG_SETMASK = 0, 1, 2
_MINSIGSTKSZ = 2048
_SS_ONSTACK, _SS_DISABLE = 1, 2


def _signal_number(value: int, *, zero: bool = False) -> int:
    number = s32(value)
    if not (0 if zero else 1) <= number <= NSIG:
        raise LinuxError(errno.EINVAL)
    return number


def sys_rt_sigaction(kernel: Kernel, task: Task, signo: int, new: int, old: int, size: int) -> int:
    """rt_sigaction(2)."""
    number = _signal_number(signo)
    if size != 8 or (new and number in (Sig.KILL, Sig.STOP)):
        raise LinuxError(errno.EINVAL)
    action = None
    if new:
        handler, flags, restorer, mask = struct.unpack("<4Q", task.mm.read(new, 32))
        action = SigAction(handler, flags, restorer, mask & ~UNBLOCKABLE)
    if old:
        before = task.signals.actions[number]
        task.mm.write(old, struct.pack("<4Q", before.handler, before.flags, before.restorer, before.mask))
    if action is not None:
        task.signals.actions[number] = action
    return 0


def sys_rt_sigprocmask(kernel: Kernel, task: Task, how: int, new: int, old: int, size: int) -> int:
    """rt_sigprocmask(2)."""
    if size != 8:
        raise LinuxError(errno.EINVAL)
    signals = task.signals
    before = signals.blocked
    if new:
        mask = task.mm.read_u64(new)
        if how == _SIG_BLOCK:
            signals.blocked |= mask
        elif how == _SIG_UNBLOCK:
            signals.blocked &= ~mask
        elif how == _SIG_SETMASK:
            signals.blocked = mask
        else:
            raise LinuxError(errno.EINVAL)
        signals.blocked &= ~UNBLOCKABLE
    if old:
        task.mm.write_u64(old, before)
    return 0


def sys_rt_sigreturn(kernel: Kernel, task: Task) -> int:
    """rt_sigreturn(2): a frame that cannot be read is SIGSEGV."""
    from emu.kernel.sigframe import restore_frame

    try:
        result = restore_frame(kernel.cpu, task)
    except LinuxError:
        kernel.signals.force(task, SigInfo(Sig.SEGV, SiCode.KERNEL))
        return 0
    task.registers_replaced = True
    return result


def sys_rt_sigpending(kernel: Kernel, task: Task, buffer: int, size: int) -> int:
    """rt_sigpending(2)."""
    if size != 8:
        raise LinuxError(errno.EINVAL)
    task.mm.write_u64(buffer, task.signals.pending_mask & task.signals.blocked)
    return 0


def sys_rt_sigsuspend(kernel: Kernel, task: Task, mask: int, size: int) -> Generator[Any, None, int]:
    """rt_sigsuspend(2): the old mask comes back once a handler has run."""
    if size != 8:
        raise LinuxError(errno.EINVAL)
    wanted = task.mm.read_u64(mask) & ~UNBLOCKABLE
    task.signals.saved_mask, task.signals.blocked = task.signals.blocked, wanted
    queue = WaitQueue()
    while not task.signals.deliverable():
        yield queue
    raise LinuxError(errno.EINTR)


def sys_rt_sigtimedwait(
    kernel: Kernel, task: Task, mask: int, info: int, timeout: int, size: int
) -> Generator[Any, None, int]:
    """rt_sigtimedwait(2)."""
    if size != 8:
        raise LinuxError(errno.EINVAL)
    wanted = task.mm.read_u64(mask)
    deadline = None
    if timeout:
        seconds, nanoseconds = struct.unpack("<qq", task.mm.read(timeout, 16))
        if seconds < 0 or not 0 <= nanoseconds < 1_000_000_000:
            raise LinuxError(errno.EINVAL)
        deadline = kernel.clock.now_ns() + seconds * 1_000_000_000 + nanoseconds
    blocked, task.signals.blocked = task.signals.blocked, task.signals.blocked & ~wanted
    queue = WaitQueue()
    try:
        while True:
            found = task.signals.take(wanted)
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
    raise LinuxError(errno.EINTR)


def sys_sigaltstack(kernel: Kernel, task: Task, new: int, old: int) -> int:
    """sigaltstack(2)."""
    sp, size, flags = task.signals.alt_stack
    rsp = kernel.cpu.read("rsp")
    on_it = bool(size) and sp < rsp <= sp + size
    if new:
        new_sp, new_flags, _, new_size = struct.unpack("<QiiQ", task.mm.read(new, 24))
        if on_it:
            raise LinuxError(errno.EPERM)
        if new_flags & ~(_SS_ONSTACK | _SS_DISABLE):
            raise LinuxError(errno.EINVAL)
        if new_flags & _SS_DISABLE:
            task.signals.alt_stack = (0, 0, _SS_DISABLE)
        elif new_size < _MINSIGSTKSZ:
            raise LinuxError(errno.ENOMEM)
        else:
            task.signals.alt_stack = (new_sp, new_size, 0)
    if old:
        task.mm.write(old, struct.pack("<QiiQ", sp, _SS_ONSTACK if on_it else flags, 0, size))
    return 0


def _permitted(task: Task, target: Task) -> bool:
    mine, theirs = task.credentials, target.credentials
    return mine.euid == 0 or theirs.uid in (mine.uid, mine.euid)


def sys_kill(kernel: Kernel, task: Task, pid: int, signo: int) -> int:
    """kill(2)."""
    number = _signal_number(signo, zero=True)
    wanted = s32(pid)
    leaders = [t for t in kernel.tasks.values() if t is t.group.leader] if wanted <= 0 else []
    if wanted > 0:
        targets = [t for t in (kernel.tasks.get(wanted),) if t is not None]
    elif wanted == -1:
        targets = [t for t in leaders if t.group is not task.group]
    else:
        group = -wanted if wanted else task.pgid
        targets = [t for t in leaders if t.pgid == group]
    if not targets:
        raise LinuxError(errno.ESRCH)
    allowed = [t for t in targets if _permitted(task, t)]
    if not allowed:
        raise LinuxError(errno.EPERM)
    for target in allowed if number else ():
        info = SigInfo(number, SiCode.USER, pid=task.tgid, uid=task.credentials.uid)
        kernel.signals.send_to_process(target, number, info)
    return 0


def sys_tgkill(kernel: Kernel, task: Task, tgid: int, tid: int, signo: int) -> int:
    """tgkill(2)."""
    if s32(tgid) <= 0 or s32(tid) <= 0:
        raise LinuxError(errno.EINVAL)
    return _send_to_thread(kernel, task, s32(tid), signo, s32(tgid))


def sys_tkill(kernel: Kernel, task: Task, tid: int, signo: int) -> int:
    """tkill(2)."""
    if s32(tid) <= 0:
        raise LinuxError(errno.EINVAL)
    return _send_to_thread(kernel, task, s32(tid), signo)


def _send_to_thread(kernel: Kernel, task: Task, tid: int, signo: int, tgid: int | None = None) -> int:
    number = _signal_number(signo, zero=True)
    target = kernel.tasks.get(tid)
    if target is None or tgid not in (None, target.tgid):
        raise LinuxError(errno.ESRCH)
    if not _permitted(task, target):
        raise LinuxError(errno.EPERM)
    if number:
        kernel.signals.send(target, number, SigInfo(number, SiCode.TKILL, pid=task.tgid, uid=task.credentials.uid))
    return 0


TABLE = (
    Syscall(13, "rt_sigaction", sys_rt_sigaction, ("signal", "ptr", "ptr", "size")),
    Syscall(14, "rt_sigprocmask", sys_rt_sigprocmask, ("int", "ptr", "ptr", "size")),
    Syscall(15, "rt_sigreturn", sys_rt_sigreturn),
    Syscall(34, "pause", sys_pause),
    Syscall(62, "kill", sys_kill, ("pid", "signal")),
    Syscall(127, "rt_sigpending", sys_rt_sigpending, ("ptr", "size")),
    Syscall(128, "rt_sigtimedwait", sys_rt_sigtimedwait, ("ptr", "ptr", "ptr", "size")),
    Syscall(130, "rt_sigsuspend", sys_rt_sigsuspend, ("ptr", "size")),
    Syscall(131, "sigaltstack", sys_sigaltstack, ("ptr", "ptr")),
    Syscall(200, "tkill", sys_tkill, ("pid", "signal")),
    Syscall(234, "tgkill", sys_tgkill, ("pid", "pid", "signal")),
)
