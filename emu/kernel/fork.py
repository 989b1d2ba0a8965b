"""clone, fork, vfork (kernel/fork.c)."""

from __future__ import annotations

import copy
import errno
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import NO_STACK, SIG_DFL, SIG_IGN, SigAction, SigPending
from emu.kernel.task import Task
from emu.kernel.threadgroup import ThreadGroup
from emu.linux.capability import SYS_ADMIN, SYS_RESOURCE
from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit
from emu.linux.namespace import NEW_NAMESPACES, TimeNamespace
from emu.linux.pidns import PidNamespace
from emu.linux.wait import WaitQueue
from emu.linux.words import Flags, tested_often
from emu.mm.kmem import SLAB_UNRECLAIMABLE, Kmem

if TYPE_CHECKING:
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.kernel import Kernel
    from emu.kernel.nsproxy import NsProxy
    from emu.linux.caller import Credentials
    from emu.mm.address_space import AddressSpace


@tested_often
class CloneFlags(Flags, prefix="CLONE_"):
    """CLONE_*."""

    SIGNAL = 0xFF
    NEWTIME = 0x80
    VM = 0x100
    FS = 0x200
    FILES = 0x400
    SIGHAND = 0x800
    PIDFD = 0x1000
    PTRACE = 0x2000
    VFORK = 0x4000
    PARENT = 0x8000
    THREAD = 0x10000
    NEWNS = 0x20000
    SYSVSEM = 0x40000
    SETTLS = 0x80000
    PARENT_SETTID = 0x100000
    CHILD_CLEARTID = 0x200000
    DETACHED = 0x400000
    UNTRACED = 0x800000
    CHILD_SETTID = 0x1000000
    NEWCGROUP = 0x2000000
    NEWUTS = 0x4000000
    NEWIPC = 0x8000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000
    IO = 0x80000000
    CLEAR_SIGHAND = 0x100000000
    INTO_CGROUP = 0x200000000


#: Kinds of namespaces that clone(2) makes anew.
_NEW = int(NEW_NAMESPACES & ~CloneFlags.NEWTIME)
# as plain integers, which are tested quicker
_SIGNAL, _NEWTIME, _VM, _FS, _FILES, _SIGHAND, _PIDFD, _VFORK, _PARENT, _THREAD = map(int, (
    CloneFlags.SIGNAL, CloneFlags.NEWTIME, CloneFlags.VM, CloneFlags.FS, CloneFlags.FILES, CloneFlags.SIGHAND,
    CloneFlags.PIDFD, CloneFlags.VFORK, CloneFlags.PARENT, CloneFlags.THREAD,
))  # fmt: skip
_SYSVSEM, _SETTLS, _PARENT_SETTID, _CHILD_CLEARTID, _CHILD_SETTID, _CLEAR_SIGHAND, _NEWIPC, _NEWUSER = map(int, (
    CloneFlags.SYSVSEM, CloneFlags.SETTLS, CloneFlags.PARENT_SETTID, CloneFlags.CHILD_CLEARTID,
    CloneFlags.CHILD_SETTID, CloneFlags.CLEAR_SIGHAND, CloneFlags.NEWIPC, CloneFlags.NEWUSER,
))  # fmt: skip
_NEWNS_OR_USER, _NEWUSER_OR_PID = _NEWUSER | int(CloneFlags.NEWNS), _NEWUSER | int(CloneFlags.NEWPID)
_VM_OR_VFORK = _VM | _VFORK


def do_clone(
    kernel: Kernel, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int, pidfd: int = 0,
    wanted: Sequence[int] = (), new_time: bool = False, into: Cgroup | None = None,
) -> int | Generator[Any, None, int]:  # fmt: skip
    """Make a child process, or with CLONE_THREAD another thread; the result is its number.  ``wanted``: numbers that it
    is to have in its PID namespace, and in those around.

    LinuxError(EAGAIN) at the process limit, (ENOMEM) without memory, (EINVAL) for flags that exclude each other,
    (EEXIST) for a number that is in use, (EPERM), (ENOSPC) for namespaces.  ``new_time``: CLONE_NEWTIME, which is one
    of the bits that say which signal the parent gets; ``into``: the control group of the child, if it is not that of
    its maker.
    """
    _check_flags(kernel, task, flags, tls)
    spaces = flags & _NEW | (_NEWTIME if new_time else 0)
    if flags & _PIDFD:
        child = _copy_process_with_pidfd(kernel, task, flags, pidfd, wanted, spaces, into)
    else:
        child = _copy_process(kernel, task, flags, wanted, spaces, into)
    kernel.cpu.save_child(child.context, stack, tls if flags & _SETTLS else None)
    _write_tids(task, child, flags, parent_tid, child_tid)
    kernel.tracer.fork(task, child)
    if task.ptrace is not None:
        task.ptrace.forked(child, flags)
    kernel.scheduler.add(child)
    if child.cgroup is not None:
        kernel.cgroups.scheduled(child)
    if flags & _VFORK:
        child.vfork_done = WaitQueue()
        return _wait_for_vfork(task, child)
    return child.pid


def _check_flags(kernel: Kernel, task: Task, flags: int, tls: int) -> None:
    """As copy_process() does."""
    if flags & _FS and flags & _NEWNS_OR_USER:
        raise LinuxError(errno.EINVAL)
    if flags & _THREAD and not flags & _SIGHAND:
        raise LinuxError(errno.EINVAL)
    if flags & _SIGHAND and (not flags & _VM or flags & _CLEAR_SIGHAND):
        raise LinuxError(errno.EINVAL)
    if flags & _PARENT and task.group.unkillable:
        raise LinuxError(errno.EINVAL)
    if flags & _THREAD:
        apart = task.ns.pid_for_children is not kernel.namespaces.of(task, "pid")
        if apart or flags & _NEWUSER_OR_PID:
            raise LinuxError(errno.EINVAL)
    if flags & _SETTLS and tls >= task.mm.task_size:
        raise LinuxError(errno.EPERM)


def _copy_process(
    kernel: Kernel, task: Task, flags: int, wanted: Sequence[int], spaces: int, into: Cgroup | None
) -> Task:  # fmt: skip
    """The child, in new namespaces of the kinds ``spaces``, and in a control group."""
    _check_processes(kernel, task)
    group = task.cgroup if into is None else into
    if group is None:
        return _copy_into(kernel, task, flags, wanted, spaces)
    kernel.cgroups.can_fork(group)
    try:
        child = _copy_into(kernel, task, flags, wanted, spaces)
    except BaseException:
        kernel.cgroups.cancel_fork(group)
        raise
    kernel.cgroups.forked(child, group)
    return child


def _copy_into(kernel: Kernel, task: Task, flags: int, wanted: Sequence[int], spaces: int) -> Task:
    """The child, in new namespaces of the kinds ``spaces``."""
    if not spaces:
        return _copied(kernel, task, flags, wanted, task.credentials.__copy__(), task.ns)
    try:
        return _copied(kernel, task, flags, wanted, *_set_apart(kernel, task, flags, spaces))
    except LinuxError:
        kernel.namespaces.sweep()
        raise


def _set_apart(kernel: Kernel, task: Task, flags: int, spaces: int) -> tuple[Credentials, NsProxy]:
    """Credentials and namespaces of a child (copy_creds, copy_namespaces).  LinuxError(EPERM, EINVAL, ENOSPC)."""
    namespaces, who = kernel.namespaces, task.credentials
    who = namespaces.new_user(task) if spaces & _NEWUSER else copy.copy(who)
    spaces &= ~_NEWUSER
    if not spaces:
        return who, task.ns
    if spaces & _NEWIPC and flags & _SYSVSEM:
        namespaces.check_admin(who)
        raise LinuxError(errno.EINVAL)
    return who, namespaces.new_proxy(task, spaces, who)


def _charge(kernel: Kernel, kmem: Kmem, size: int, inherited: int) -> None:
    """Charge a task, its stack and the counters that it inherits.  LinuxError(ENOMEM)."""
    kmem.charge(size)
    try:
        if inherited:
            kernel.frames.kmem.charge(inherited)
        try:
            kmem.add_stack()
        except LinuxError:
            kernel.frames.kmem.uncharge(inherited)
            raise
    except LinuxError:
        kmem.uncharge(size)
        raise


def _copied(
    kernel: Kernel, task: Task, flags: int, wanted: Sequence[int], credentials: Credentials, ns: NsProxy
) -> Task:  # fmt: skip
    pid_ns = ns.pid_for_children if isinstance(ns.pid_for_children, PidNamespace) else None
    pid, numbers = kernel.pids.alloc(task, pid_ns, wanted)
    kmem = kernel.frames.kmem.account(SLAB_UNRECLAIMABLE)
    inherited = 0 if task.perf is None else task.perf.size_for_child(flags)
    _charge(kernel, kmem, task.charged, inherited)
    try:
        files = task.files.share() if flags & _FILES else task.files.copy()
        try:
            mm = _copy_mm(task, flags)
        except LinuxError:
            files.put()
            raise
    except LinuxError:
        kmem.drop_stack()
        kmem.uncharge(task.charged)
        kernel.frames.kmem.uncharge(inherited)
        raise
    mm.on_kernel_fault = kernel.count_kernel_fault
    if flags & _THREAD and not mm.futex_slots_asked:
        mm.add_futex_slots(min(len(task.group.threads), len(kernel.scheduler.vcpus)))
    child = Task(
        pid=pid,
        group=task.group if flags & _THREAD else _new_group(task, pid, flags),
        mm=mm,
        files=files,
        fs=task.fs if flags & _FS else task.fs.copy(),
        context=kernel.cpu.new_context(),
        ns=ns,
        pid_ns=pid_ns,
        credentials=credentials,
        comm=task.comm,
        argv=task.argv,
        charged=task.charged,
        kmem=kmem,
        stacked=True,
        exe=task.exe,
        started_ns=kernel.clock.now_ns(),
        rip=task.rip,
        affinity=task.affinity,
        scheduling=task.scheduling.inherited(),
        personality=task.personality,
        memory_policy=task.memory_policy,
        seccomp=task.seccomp,
        timer_slack_ns=task.timer_slack_ns,
        default_timer_slack_ns=task.timer_slack_ns,
        mce_kill=task.mce_kill,
        signals=task.signals.of_thread(SigPending(kmem), task.group.pending) if flags & _THREAD else None,  # type: ignore[arg-type]
    )
    if ns.mnt is not task.ns.mnt:
        ns.mnt.adopt(child.fs)
    if ns.time is not ns.time_for_children and not flags & _VM:
        enter_time_namespace(kernel, child, ns.time_for_children)
    if task.rseq is not None and not flags & _VM:
        child.rseq, child.rseq_event = copy.copy(task.rseq), True
    if not flags & _THREAD or flags & _VFORK:
        _copy_signals(task, child, flags)
    if not flags & _THREAD and child.group.parent is not None:
        child.group.parent.adopt(child.group)
    kernel.tasks[pid] = child
    if pid_ns is not None:
        _enter_pid_namespace(child, pid_ns, numbers, len(wanted))
    if task.perf is not None:
        task.perf.forked(child, flags)
    if not flags & _THREAD and Rlimit.CPU in child.limits:
        from emu.kernel.timing import limit_cpu_time  # with the timers, and few programs ask

        limit_cpu_time(kernel, child.group)
    return child


def enter_time_namespace(kernel: Kernel, task: Task, space: TimeNamespace) -> None:
    """A task with memory of its own comes into a time namespace, which cannot be set any more (timens_commit)."""
    space.frozen = True
    task.ns = task.ns.with_others({"time": space, "time_for_children": space})
    kernel.vdso.join(task.mm, space)


def _enter_pid_namespace(child: Task, ns: PidNamespace, numbers: list[int], chosen: int) -> None:
    """A child has a number in its namespace and in each around it, the first ``chosen`` because its maker wanted so."""
    for index, (space, number) in enumerate(zip(ns.around, numbers, strict=True)):
        space.add(number, child.pid, chosen=index < chosen)
    if numbers[0] == 1:
        ns.begun = child.group.unkillable = True


def _copy_mm(task: Task, flags: int) -> AddressSpace:
    """The child's address space.  LinuxError(ENOMEM)."""
    if flags & _VM:
        return task.mm.get()
    from emu.mm.fork import dup_mm  # 0.6 ms, and many programs never fork

    return dup_mm(task.mm, task.mm.name)


def _new_group(task: Task, pid: int, flags: int) -> ThreadGroup:
    """A process for a child that is not a thread; with CLONE_PARENT it is the caller's sibling."""
    group = task.group
    if flags & _PARENT:
        ppid, parent, maker, exit_signal = group.ppid, group.parent, group.maker, group.exit_signal
    else:
        ppid, parent, maker, exit_signal = task.tgid, group, task, flags & _SIGNAL
    return ThreadGroup(
        tgid=pid, ppid=ppid, pgid=task.pgid, sid=task.sid, parent=parent, maker=maker, tty=group.tty,
        exit_signal=exit_signal, limits=dict(task.limits), barriers=group.barriers,
        oom_score_adj=group.oom_score_adj, oom_score_adj_min=group.oom_score_adj_min,
        loginuid=group.loginuid, sessionid=group.sessionid,
        session_keyring=None if group.session_keyring is None else group.session_keyring.get(),
    )  # fmt: skip


def _copy_signals(task: Task, child: Task, flags: int) -> None:
    actions = task.signals.actions
    if flags & _CLEAR_SIGHAND:
        child.signals.actions = [SigAction(SIG_IGN if a.handler == SIG_IGN else SIG_DFL) for a in actions]
    else:
        child.signals.actions = actions if flags & _SIGHAND else list(actions)
    child.signals.blocked = task.signals.blocked
    child.signals.alt_stack = NO_STACK if flags & _VM_OR_VFORK == _VM else task.signals.alt_stack


def _check_processes(kernel: Kernel, task: Task) -> None:
    """Check RLIMIT_NPROC, which does not apply to root.  LinuxError(EAGAIN)."""
    uid = task.credentials.uid
    if not uid or task.credentials.capable(SYS_RESOURCE) or task.credentials.capable(SYS_ADMIN):
        return
    limit = limits_of(task, Rlimit.NPROC)[0]
    if kernel.namespaces.has_most_tasks(task.credentials.user_ns, uid, limit):
        raise LinuxError(errno.EAGAIN)


def _write_tids(task: Task, child: Task, flags: int, parent_tid: int, child_tid: int) -> None:
    if flags & _PARENT_SETTID:
        _write_tid(task, parent_tid, child)
    if flags & _CHILD_SETTID:
        _write_tid(child, child_tid, child)
    if flags & _CHILD_CLEARTID:
        child.clear_child_tid = child_tid


def _write_tid(reader: Task, address: int, child: Task) -> None:
    try:
        reader.mm.write_u32(address, child.pid if reader.pid_ns is None else reader.sees(child.pid))
    except LinuxError:
        pass  # the kernel ignores the result of put_user() here: the child exists already


def _copy_process_with_pidfd(
    kernel: Kernel, task: Task, flags: int, address: int, wanted: Sequence[int], spaces: int, into: Cgroup | None
) -> Task:  # fmt: skip
    """CLONE_PIDFD: the parent gets a descriptor of the child.  Whatever fails does so before there is a child."""
    from emu.kernel.pidfd import PIDFD_THREAD, new_pidfd

    task.files.check_room()
    task.mm.write(address, task.mm.read(address, 4))
    file = new_pidfd(kernel, PIDFD_THREAD if flags & _THREAD else 0)
    try:
        child = _copy_process(kernel, task, flags, wanted, spaces, into)
    except BaseException:
        file.put()
        raise
    file.inode.bind(child)
    task.mm.write_u32(address, task.files.open(file, cloexec=True))
    return child


def _wait_for_vfork(task: Task, child: Task) -> Generator[Any, None, int]:
    """The parent sleeps until the child has memory of its own.  Only a kill could end the wait, and then no caller is
    left.
    """
    while child.vfork_done is not None:
        try:
            yield child.vfork_done
        except LinuxError:
            continue
    if task.ptrace is not None:
        task.ptrace.vfork_done(child)
    return child.pid
