"""clone, fork, vfork (kernel/fork.c)."""

from __future__ import annotations

import copy
import errno
from collections.abc import Generator
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from emu.kernel.errors import LinuxError
from emu.kernel.limits import INFINITY, Rlimit, limits_of
from emu.kernel.signal_state import NSIG
from emu.kernel.task import Task
from emu.kernel.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel


class CloneFlags(IntFlag):
    """CLONE_*."""

    SIGNAL = 0xFF
    VM = 0x100
    FS = 0x200
    FILES = 0x400
    SIGHAND = 0x800
    VFORK = 0x4000
    PARENT = 0x8000
    THREAD = 0x10000
    SYSVSEM = 0x40000
    SETTLS = 0x80000
    PARENT_SETTID = 0x100000
    CHILD_CLEARTID = 0x200000
    DETACHED = 0x400000
    UNTRACED = 0x800000
    CHILD_SETTID = 0x1000000
    CLEAR_SIGHAND = 0x100000000


_KNOWN = (
    CloneFlags.SIGNAL | CloneFlags.VM | CloneFlags.FS | CloneFlags.FILES | CloneFlags.VFORK | CloneFlags.PARENT_SETTID
    | CloneFlags.CHILD_CLEARTID | CloneFlags.CHILD_SETTID | CloneFlags.SETTLS | CloneFlags.DETACHED |
    CloneFlags.UNTRACED | CloneFlags.CLEAR_SIGHAND
)  # fmt: skip


def do_clone(
    kernel: Kernel, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int
) -> int | Generator[Any, None, int]:
    """Make a child process; the result is its pid.

    A child that shares memory (CLONE_VM) is only made together with CLONE_VFORK: threads are not built yet.
    LinuxError(EAGAIN) at the process limit, (ENOMEM) without memory.
    """
    if flags & ~_KNOWN or (flags & CloneFlags.VM and not flags & CloneFlags.VFORK):
        names = "|".join(str(f.name) for f in CloneFlags if f & flags and f != CloneFlags.SIGNAL)
        what = "threads are" if flags & CloneFlags.VM else "it is"
        named = f" ({names})" if names else ""
        kernel.log_once(f"clone with flags {flags:#x}{named}: {what} not supported: ENOSYS")
        raise LinuxError(errno.ENOSYS)
    if flags & CloneFlags.SIGNAL > NSIG:
        raise LinuxError(errno.EINVAL)
    child = _copy_process(kernel, task, flags)
    cpu = kernel.cpu
    saved = {name: cpu.read(name) for name in ("rax", "rsp")}
    fs_base = cpu.fs_base
    cpu.write("rax", 0)
    if stack:
        cpu.write("rsp", stack)
    if flags & CloneFlags.SETTLS:
        cpu.fs_base = tls
    child.context.save()
    cpu.fs_base = fs_base
    for name, value in saved.items():
        cpu.write(name, value)
    _write_tids(task, child, flags, parent_tid, child_tid)
    kernel.tracer.fork(task, child)
    kernel.scheduler.add(child)
    if flags & CloneFlags.VFORK:
        child.vfork_done = WaitQueue()
        return _wait_for_vfork(child)
    return child.pid


def _copy_process(kernel: Kernel, task: Task, flags: int) -> Task:
    _check_processes(kernel, task)
    pid = kernel.new_pid()
    if flags & CloneFlags.VM:
        mm = task.mm.get()
    else:
        from emu.mm.fork import dup_mm  # many programs never fork

        mm = dup_mm(task.mm, task.mm.name)
    mm.on_kernel_fault = kernel.count_kernel_fault
    child = Task(
        pid=pid,
        ppid=task.pid,
        mm=mm,
        files=task.files.share() if flags & CloneFlags.FILES else task.files.copy(),
        fs=task.fs if flags & CloneFlags.FS else task.fs.copy(),
        context=kernel.cpu.new_context_like_current(),
        credentials=copy.copy(task.credentials),
        comm=task.comm,
        argv=task.argv,
        exe=task.exe,
        rip=task.rip,
        pgid=task.pgid,
        sid=task.sid,
        limits=dict(task.limits),
        affinity=task.affinity,
        parent=task,
        exit_signal=flags & CloneFlags.SIGNAL,
    )
    child.signals.actions = list(task.signals.actions)
    child.signals.blocked = task.signals.blocked
    if not flags & CloneFlags.VM:
        child.signals.alt_stack = task.signals.alt_stack
    task.children[pid] = child
    kernel.tasks[pid] = child
    return child


def _check_processes(kernel: Kernel, task: Task) -> None:
    """RLIMIT_NPROC, which does not hold for root.  LinuxError(EAGAIN)."""
    limit, uid = limits_of(task, Rlimit.NPROC)[0], task.credentials.uid
    if uid and task.credentials.euid and limit < INFINITY:
        if sum(other.credentials.uid == uid for other in kernel.tasks.values()) >= limit:
            raise LinuxError(errno.EAGAIN)


def _write_tids(task: Task, child: Task, flags: int, parent_tid: int, child_tid: int) -> None:
    for flag, mm, address in (
        (CloneFlags.PARENT_SETTID, task.mm, parent_tid),
        (CloneFlags.CHILD_SETTID, child.mm, child_tid),
    ):
        if flags & flag:
            try:
                mm.write_u32(address, child.pid)
            except LinuxError:
                pass  # the kernel does not look at what put_user() says here: the child exists
    if flags & CloneFlags.CHILD_CLEARTID:
        child.clear_child_tid = child_tid


def _wait_for_vfork(child: Task) -> Generator[Any, None, int]:
    """The parent sleeps until the child has a memory of its own; only a kill could end that, and then there is no
    caller.
    """
    while child.vfork_done is not None:
        try:
            yield child.vfork_done
        except LinuxError:
            continue
    return child.pid
