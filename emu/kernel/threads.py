"""Threads of which nothing is special come and go by the short way: what :mod:`emu.kernel.fork` and
:mod:`emu.kernel.exit` ask and do for processes, and for tasks that are traced, counted or confined, is left out.

Each function says whether it has done its work; if not, nothing has changed, and those do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.task import Task, TaskState
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

#: CLONE_VM, _FS, _FILES, _SIGHAND and _THREAD: what a thread shares.
_SHARED = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000
_SETTLS, _PARENT_SETTID, _CHILD_CLEARTID, _CHILD_SETTID = 0x80000, 0x100000, 0x200000, 0x1000000
#: With CLONE_SYSVSEM, CLONE_DETACHED and the bits of a signal, which mean nothing here: all that may be asked besides.
_MAY = _SHARED | _SETTLS | _PARENT_SETTID | _CHILD_CLEARTID | _CHILD_SETTID | 0x40000 | 0x400000 | 0xFF
_ZOMBIE, _DEAD = TaskState.ZOMBIE, TaskState.DEAD


def new_thread(
    kernel: Kernel, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int
) -> int | None:
    """clone(2) with the flags of pthread_create(3): the thread's number, or None.  LinuxError(EAGAIN, ENOMEM)."""
    if flags & ~_MAY or flags & _SHARED != _SHARED or task.cgroup is not None or task.pid_ns is not None:
        return None
    kmem, namespaces, ns, mm, who = kernel.frames.kmem, kernel.namespaces, task.ns, task.mm, task.credentials
    if kmem.accounts is not None or namespaces.others or task.perf is not None or task.ptrace is not None:
        return None
    if who.uid or ns.pid_for_children is not namespaces.pid or (flags & _SETTLS and tls >= mm.task_size):
        return None
    pid = kernel.pids.new_number()
    kmem.charge(task.charged)
    task.files.share()
    mm.users += 1
    mm.on_kernel_fault = kernel.count_kernel_fault
    group = task.group
    if not mm.futex_slots_asked:
        mm.add_futex_slots(min(len(group.threads), len(kernel.scheduler.vcpus)))
    context = kernel.cpu.new_context()
    thread = task.new_thread(pid, context, kmem, kernel.clock.now_ns())
    kernel.tasks[pid] = thread
    kernel.cpu.save_child(context, stack, tls if flags & _SETTLS else None)
    if flags & _PARENT_SETTID:
        _write_tid(task, parent_tid, pid)
    if flags & _CHILD_SETTID:
        _write_tid(thread, child_tid, pid)
    if flags & _CHILD_CLEARTID:
        thread.clear_child_tid = child_tid
    kernel.tracer.fork(task, thread)
    kernel.scheduler.add(thread)
    return pid


def _write_tid(task: Task, address: int, pid: int) -> None:
    try:
        task.mm.write_u32(address, pid)
    except LinuxError:
        pass  # the kernel ignores the result of put_user() here: the thread exists already


def end_thread(kernel: Kernel, task: Task, status: int) -> bool:
    """exit(2) of a thread that runs and is neither the first of its process nor the last."""
    group, scheduler, futexes, mm = task.group, kernel.scheduler, kernel.futexes, task.mm
    if task is group.leader or task is not scheduler.current or len(group.threads) < 2 or task.cgroup is not None:
        return False
    if task.ptrace is not None or group.tracees or group.children or task.end_watchers is not None:
        return False
    if task.vfork_done is not None or task.robust_list or futexes.pi or task.pid_ns is not None:
        return False
    if kernel.namespaces.others:
        return False
    kernel.tracer.exit(task, status)
    task.state = _ZOMBIE
    scheduler.current_ends(task)
    scheduler.account(task)
    word, usage = task.clear_child_tid, task.usage
    if word:
        if mm.users > 1:
            try:
                mm.write_u32(word, 0)
            except LinuxError:
                pass  # as the kernel does: the address is the guest's affair
            futexes.wake_word(mm, word)
        task.clear_child_tid = 0
    del group.threads[task.pid]
    for hook in kernel.thread_exit_hooks:
        hook(task)
    task.files.put()
    usage.max_rss = max(usage.max_rss, mm.peak)
    mm.users -= 1  # somebody else has it
    group.ended_usage.add(usage)
    task.state = _DEAD
    del kernel.tasks[task.pid]
    task.free()
    return True
