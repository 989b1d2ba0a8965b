"""fork, clone, execve, exit, and on which vCPUs a thread runs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.binprm import Program, open_program
from emu.kernel.cgroup.cgroupfs import group_of_descriptor
from emu.kernel.exec import do_execve
from emu.kernel.fork import CloneFlags, do_clone
from emu.kernel.signal_state import NSIG, Sig
from emu.kernel.usage import Usage
from emu.linux.argument import ADDRESS, INT, PID, SIZE, UINT, OneOf, Out, Pointer
from emu.linux.capability import SYS_NICE
from emu.linux.errors import LinuxError
from emu.linux.layout import PATH, Layout, Opaque
from emu.linux.likeness import Likeness
from emu.linux.syscall import NEVER, PROCESS, Restart, Result, Returned, Syscall
from emu.syscalls.types import ARGV, CLONE, ENVP, RUSAGE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_RUSAGE_THREAD = 1
_MAX_PID_NS_LEVEL = 32
_INT_MAX = (1 << 31) - 1

#: The first size of struct clone_args in bytes, and its present fields.
_FIRST_CLONE_ARGS_SIZE = 64
CLONE_ARGS = Layout("clone_args", "11Q", likeness=Likeness.EXACT, fields={"flags": 0, "exit_signal": 4})


_ARCH_SET_GS, _ARCH_SET_FS, _ARCH_GET_FS, _ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004


def sys_fork(kernel: Kernel, task: Task) -> Result:
    """fork(2)."""
    return do_clone(kernel, task, Sig.CHLD, 0, 0, 0, 0)


def sys_vfork(kernel: Kernel, task: Task) -> Result:
    """vfork(2)."""
    return do_clone(kernel, task, CloneFlags.VFORK | CloneFlags.VM | Sig.CHLD, 0, 0, 0, 0)


def sys_clone(kernel: Kernel, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> Result:
    """clone(2) with the argument order of x86-64."""
    if flags & CloneFlags.THREAD:
        from emu.kernel.threads import new_thread  # few programs have threads

        thread = new_thread(kernel, task, flags, stack, parent_tid, child_tid, tls)
        if thread is not None:
            return thread
    if flags & CloneFlags.PIDFD:
        if flags & (CloneFlags.PARENT_SETTID | CloneFlags.DETACHED):
            raise LinuxError(errno.EINVAL)
        return do_clone(kernel, task, flags, stack, 0, child_tid, tls, parent_tid)
    return do_clone(kernel, task, flags, stack, parent_tid, child_tid, tls)


def sys_clone3(kernel: Kernel, task: Task, arguments: int, size: int) -> Result:
    """clone3(2)."""
    fields = CLONE_ARGS.read_sized(task.mm, arguments, size, _FIRST_CLONE_ARGS_SIZE)
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup = fields
    if set_tid_size > _MAX_PID_NS_LEVEL or bool(set_tid) != bool(set_tid_size):
        raise LinuxError(errno.EINVAL)
    signal_bits = CloneFlags.SIGNAL & ~CloneFlags.NEWTIME
    if flags >= CloneFlags.INTO_CGROUP << 1 or flags & (CloneFlags.DETACHED | signal_bits):
        raise LinuxError(errno.EINVAL)
    new_time, flags = bool(flags & CloneFlags.NEWTIME), flags & ~CloneFlags.NEWTIME
    if bool(stack) != bool(stack_size):
        raise LinuxError(errno.EINVAL)
    if exit_signal > NSIG or (flags & (CloneFlags.THREAD | CloneFlags.PARENT) and exit_signal):
        raise LinuxError(errno.EINVAL)
    wanted = [INT.read(task.mm, set_tid + 4 * index) for index in range(set_tid_size)]
    if stack + stack_size > task.mm.task_size:
        raise LinuxError(errno.EINVAL)
    if flags & CloneFlags.PIDFD and flags & CloneFlags.PARENT_SETTID and pidfd == parent_tid:
        raise LinuxError(errno.EINVAL)
    into = None
    if flags & CloneFlags.INTO_CGROUP:
        if cgroup > _INT_MAX or size < CLONE_ARGS.size:
            raise LinuxError(errno.EINVAL)
        into = group_of_descriptor(kernel, task, cgroup, thread=bool(flags & CloneFlags.THREAD))
    flags |= exit_signal
    return do_clone(
        kernel, task, flags, stack + stack_size, parent_tid, child_tid, tls, pidfd, wanted, new_time, into
    )  # fmt: skip


def sys_execve(kernel: Kernel, task: Task, path: str, argv: int, envp: int) -> int:
    """execve(2)."""
    return execute(kernel, task, open_program(kernel, task, path), argv, envp)


def execute(kernel: Kernel, task: Task, program: Program, argv: int, envp: int) -> int:
    """Run a program that has been opened, whatever its name."""
    try:
        do_execve(kernel, task, program, ARGV.read(task.mm, argv), ENVP.read(task.mm, envp))
    finally:
        program.close()
    kernel.tracer.exec(task, program.filename, task.argv)
    return 0


def sys_exit(kernel: Kernel, task: Task, status: int) -> int:
    """exit(2): the one thread ends."""
    if len(task.group.threads) > 1:
        from emu.kernel.threads import end_thread

        if end_thread(kernel, task, (status & 0xFF) << 8):
            return 0
    kernel.exit_thread(task, (status & 0xFF) << 8)
    return 0


def sys_exit_group(kernel: Kernel, task: Task, status: int) -> int:
    """exit_group(2): the process ends."""
    kernel.exit(task, (status & 0xFF) << 8)
    return 0


def sys_getrusage(kernel: Kernel, task: Task, who: int) -> Usage:
    """getrusage(2)."""
    if who not in (-1, 0, _RUSAGE_THREAD):
        raise LinuxError(errno.EINVAL)
    group = task.group
    if who == -1:
        return group.children_usage
    kernel.scheduler.account(task)
    usage = Usage()
    usage.add(task.usage if who == _RUSAGE_THREAD else group.usage())
    usage.max_rss = max(group.usage().max_rss, task.mm.peak)
    return usage


def sys_getpid(kernel: Kernel, task: Task) -> int:
    """getpid(2)."""
    return task.tgid


def sys_gettid(kernel: Kernel, task: Task) -> int:
    """gettid(2)."""
    return task.pid


def sys_arch_prctl(kernel: Kernel, task: Task, option: int, address: int) -> int:
    """arch_prctl(2): the bases of FS and GS."""
    cpu = kernel.cpu
    if option in (_ARCH_SET_FS, _ARCH_SET_GS) and address >= task.mm.task_size:
        raise LinuxError(errno.EPERM)
    if option == _ARCH_SET_FS:
        cpu.fs_base = address
    elif option == _ARCH_SET_GS:
        cpu.gs_base = address
    elif option == _ARCH_GET_FS:
        ADDRESS.write(task.mm, address, cpu.fs_base)
    elif option == _ARCH_GET_GS:
        ADDRESS.write(task.mm, address, cpu.gs_base)
    else:
        raise LinuxError(errno.EINVAL)
    return 0


def sys_set_tid_address(kernel: Kernel, task: Task, address: int) -> int:
    """set_tid_address(2)."""
    task.clear_child_tid = address
    return task.pid


#: Bytes of the kernel's own mask: one word, for 64 CPUs.
_MASK_BYTES = 8


def sys_sched_yield(kernel: Kernel, task: Task) -> int:
    """sched_yield(2)."""
    kernel.scheduler.yielded = True
    return 0


def _target(kernel: Kernel, task: Task, pid: int) -> Task:
    if not pid:
        return task
    target = kernel.find_task(pid)
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    return target


def sys_sched_setaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_setaffinity(2): a task on a vCPU that is not in the mask moves at once."""
    mask_bytes = task.mm.read(mask, min(length, _MASK_BYTES))
    target = _target(kernel, task, pid)
    who, whose = task.credentials, target.credentials
    if who.euid not in (whose.uid, whose.euid) and not who.capable_in(SYS_NICE, whose.user_ns):
        raise LinuxError(errno.EPERM)
    wanted = int.from_bytes(mask_bytes, "little") & kernel.scheduler.queues.all_cpus
    if not wanted:
        raise LinuxError(errno.EINVAL)
    kernel.scheduler.set_affinity(target, wanted)
    return 0


def sys_sched_getaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_getaffinity(2); returns how many bytes of the mask it has written."""
    if length < _MASK_BYTES or length & (_MASK_BYTES - 1):
        raise LinuxError(errno.EINVAL)
    ADDRESS.write(task.mm, mask, kernel.scheduler.queues.allowed(_target(kernel, task, pid)))
    return _MASK_BYTES


def sys_getcpu(kernel: Kernel, task: Task) -> tuple[int, int]:
    """getcpu(2): there is one node."""
    return task.cpu, 0


#: How long a mask is depends on how many CPUs a kernel is made for.
_OF_MASK = Returned("bytes", likeness=Likeness.FREE)
_ARCH_CODE = OneOf("ARCH_", SET_GS=_ARCH_SET_GS, SET_FS=_ARCH_SET_FS, GET_FS=_ARCH_GET_FS, GET_GS=_ARCH_GET_GS)
_CPUS = Opaque("cpu_set_t")

TABLE = (
    Syscall(39, "getpid", sys_getpid, (), PROCESS),
    Syscall(56, "clone", sys_clone, CLONE, PROCESS, Restart.UNINTERRUPTIBLE),
    Syscall(57, "fork", sys_fork, (), PROCESS),
    Syscall(58, "vfork", sys_vfork, (), PROCESS, Restart.UNINTERRUPTIBLE),
    Syscall(59, "execve", sys_execve, (PATH, Pointer(ARGV, null=True), Pointer(ENVP, null=True))),
    Syscall(60, "exit", sys_exit, (INT,), NEVER),
    Syscall(98, "getrusage", sys_getrusage, (INT, Out(RUSAGE))),
    Syscall(158, "arch_prctl", sys_arch_prctl, (_ARCH_CODE, ADDRESS)),
    Syscall(186, "gettid", sys_gettid, (), PROCESS),
    Syscall(218, "set_tid_address", sys_set_tid_address, (Pointer(INT),), PROCESS),
    Syscall(231, "exit_group", sys_exit_group, (INT,), NEVER),
    Syscall(435, "clone3", sys_clone3, (Pointer(CLONE_ARGS), SIZE), PROCESS, Restart.UNINTERRUPTIBLE),
    Syscall(24, "sched_yield", sys_sched_yield),
    Syscall(203, "sched_setaffinity", sys_sched_setaffinity, (PID, UINT, Pointer(_CPUS))),
    Syscall(204, "sched_getaffinity", sys_sched_getaffinity, (PID, UINT, Pointer(_CPUS, written=True)), _OF_MASK),
    Syscall(309, "getcpu", sys_getcpu, (Out(UINT, null=True), Out(UINT, null=True))),
)
