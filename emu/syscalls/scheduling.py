"""Priorities and scheduling classes (kernel/sched/syscalls.c, block/ioprio.c).  They are kept and shown, and tasks take
turns whatever they say.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.kernel.rlimit import limits_of
from emu.kernel.task import Scheduling
from emu.linux.argument import INT, PID, S32, UINT, OneOf, Out, Pointer, Scalar
from emu.linux.capability import SYS_NICE
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMESPEC, Layout, Struct
from emu.linux.likeness import Likeness
from emu.linux.limits import Rlimit
from emu.linux.syscall import NUMBER, Returned, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_POLICIES = {"OTHER": 0, "FIFO": 1, "RR": 2, "BATCH": 3, "IDLE": 5, "DEADLINE": 6, "EXT": 7}
_FIFO, _RR, _DEADLINE = _POLICIES["FIFO"], _POLICIES["RR"], _POLICIES["DEADLINE"]
_REALTIME = (_FIFO, _RR)
_RESET_ON_FORK = 0x40000000
_FLAG_RESET, _FLAG_KEEP_POLICY, _FLAG_KEEP_PARAMS = 1, 8, 0x10
_FLAGS_KNOWN = 0x7F
_MAX_PRIORITY = 99
_RR_TIMESLICE_NS = 100_000_000
#: The slice of an ordinary task on one CPU (sched_base_slice), which grows with their number.
_BASE_SLICE_NS = 700_000
_FIRST_SIZE, _PAGE = 48, 4096
#: struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, util_min, util_max.
SCHED_ATTR = Layout("sched_attr", "IIQiIQQQII", likeness=Likeness.EXACT)
_IO_NONE, _IO_REALTIME, _IO_BEST_EFFORT, _IO_IDLE = range(4)


class _Parameter(Struct):
    """struct sched_param, which strace shows as ``[5]``."""

    def words(self, values: tuple[Any, ...]) -> str:
        return f"[{values[0]}]"


SCHED_PARAM = _Parameter("sched_param", sched_priority=INT)


def _task(kernel: Kernel, task: Task, pid: int) -> Task:
    """LinuxError(EINVAL), (ESRCH)."""
    if pid < 0:
        raise LinuxError(errno.EINVAL)
    found = kernel.find_task(pid) if pid else task
    if found is None or not found.alive:
        raise LinuxError(errno.ESRCH)
    return found


def _owns(task: Task, target: Task) -> bool:
    """Whether a task may change another's priority: it is of the same user, or has CAP_SYS_NICE."""
    who, whose = task.credentials, target.credentials
    return who.euid in (whose.uid, whose.euid) or who.capable_in(SYS_NICE, whose.user_ns)


# Nice values


def _members(kernel: Kernel, task: Task, which: int, who: int, first: int) -> list[Task]:
    """The tasks that PRIO_PROCESS, PRIO_PGRP or PRIO_USER (numbered from ``first``) and a number mean.

    LinuxError(EINVAL), (ESRCH).
    """
    chosen: Callable[[Task], bool]
    everyone = kernel.with_init
    if which == first:
        found = kernel.find_task(task.means(who) or task.pid)
        everyone = lambda: [] if found is None else [found]  # noqa: E731
        chosen = lambda other: True  # noqa: E731
    elif which == first + 1:
        chosen = lambda other: other.pgid == (task.means(who) or task.pgid)  # noqa: E731
    elif which == first + 2:
        user = task.credentials.down("uid", who) if who else task.credentials.uid
        chosen = lambda other: other.credentials.uid == user  # noqa: E731
    else:
        raise LinuxError(errno.EINVAL)
    members = [other for other in everyone() if other.alive and chosen(other)]
    if not members:
        raise LinuxError(errno.ESRCH)
    return members


def sys_getpriority(kernel: Kernel, task: Task, which: int, who: int) -> int:
    """getpriority(2): 20 minus the lowest nice value, as the system call has it."""
    return max(20 - other.scheduling.nice for other in _members(kernel, task, which, who, 0))


def sys_setpriority(kernel: Kernel, task: Task, which: int, who: int, nice: int) -> int:
    """setpriority(2)."""
    nice = min(max(nice, -20), 19)
    error = 0
    for other in _members(kernel, task, which, who, 0):
        if not _owns(task, other):
            error = errno.EPERM
        elif nice < other.scheduling.nice and not _may_raise(task, other, nice):
            error = errno.EACCES
        else:
            other.scheduling = other.scheduling._replace(nice=nice)
    if error:
        raise LinuxError(error)
    return 0


def _may_raise(task: Task, target: Task, nice: int) -> bool:
    """can_nice()."""
    return task.credentials.capable(SYS_NICE) or 20 - nice <= limits_of(target, Rlimit.NICE)[0]


# Scheduling classes


def _check(task: Task, target: Task, new: Scheduling) -> None:
    """LinuxError(EINVAL), (EPERM): __sched_setscheduler()."""
    old = target.scheduling
    if new.policy not in _POLICIES.values() or new.priority > _MAX_PRIORITY:
        raise LinuxError(errno.EINVAL)
    if (new.policy in _REALTIME) != (new.priority > 0):
        raise LinuxError(errno.EINVAL)
    if new.policy == _DEADLINE and not 1024 <= new.runtime <= new.deadline <= (new.period or new.deadline):
        raise LinuxError(errno.EINVAL)
    if task.credentials.capable(SYS_NICE):
        return
    limit = limits_of(target, Rlimit.RTPRIO)[0]
    realtime = new.policy in _REALTIME
    if (
        not _owns(task, target)
        or new.policy == _DEADLINE
        or (realtime and new.policy != old.policy and not limit)
        or (realtime and new.priority > max(old.priority, limit))
        or (not realtime and new.nice < old.nice and not _may_raise(task, target, new.nice))
        or (old.reset_on_fork and not new.reset_on_fork)
    ):
        raise LinuxError(errno.EPERM)


def _set(task: Task, target: Task, policy: int, priority: int) -> None:
    reset = bool(policy & _RESET_ON_FORK)
    new = target.scheduling._replace(policy=policy & ~_RESET_ON_FORK, priority=priority, reset_on_fork=reset)
    if priority < 0:
        raise LinuxError(errno.EINVAL)
    _check(task, target, new)
    target.scheduling = new


def sys_sched_setscheduler(kernel: Kernel, task: Task, pid: int, policy: int, parameter: int) -> int:
    """sched_setscheduler(2)."""
    if policy < 0 or not parameter or pid < 0:
        raise LinuxError(errno.EINVAL)
    (priority,) = SCHED_PARAM.read(task.mm, parameter)
    _set(task, _task(kernel, task, pid), policy, priority)
    return 0


def sys_sched_setparam(kernel: Kernel, task: Task, pid: int, parameter: int) -> int:
    """sched_setparam(2)."""
    if not parameter or pid < 0:
        raise LinuxError(errno.EINVAL)
    (priority,) = SCHED_PARAM.read(task.mm, parameter)
    target = _task(kernel, task, pid)
    _set(task, target, _policy_of(target), priority)
    return 0


def _policy_of(task: Task) -> int:
    return task.scheduling.policy | (_RESET_ON_FORK if task.scheduling.reset_on_fork else 0)


def sys_sched_getscheduler(kernel: Kernel, task: Task, pid: int) -> int:
    """sched_getscheduler(2)."""
    return _policy_of(_task(kernel, task, pid))


def sys_sched_getparam(kernel: Kernel, task: Task, pid: int, parameter: int) -> int:
    """sched_getparam(2)."""
    if not parameter:
        raise LinuxError(errno.EINVAL)
    SCHED_PARAM.write(task.mm, parameter, (_task(kernel, task, pid).scheduling.priority,))
    return 0


def sys_sched_get_priority_max(kernel: Kernel, task: Task, policy: int) -> int:
    """sched_get_priority_max(2)."""
    if policy not in _POLICIES.values():
        raise LinuxError(errno.EINVAL)
    return _MAX_PRIORITY if policy in _REALTIME else 0


def sys_sched_get_priority_min(kernel: Kernel, task: Task, policy: int) -> int:
    """sched_get_priority_min(2)."""
    return min(1, sys_sched_get_priority_max(kernel, task, policy))


def sys_sched_rr_get_interval(kernel: Kernel, task: Task, pid: int) -> int:
    """sched_rr_get_interval(2): only SCHED_RR has one."""
    return _RR_TIMESLICE_NS if _task(kernel, task, pid).scheduling.policy == _RR else 0


def sys_sched_setattr(kernel: Kernel, task: Task, pid: int, address: int, flags: int) -> int:
    """sched_setattr(2)."""
    if not address or pid < 0 or flags:
        raise LinuxError(errno.EINVAL)
    size = UINT.read(task.mm, address) or _FIRST_SIZE
    data = task.mm.read(address, size) if _FIRST_SIZE <= size <= _PAGE else b""
    if not data or any(data[SCHED_ATTR.size :]):
        UINT.write(task.mm, address, SCHED_ATTR.size)
        raise LinuxError(errno.E2BIG)
    _, policy, said, nice, priority, runtime, deadline, period, *_ = SCHED_ATTR.unpack(
        data[: SCHED_ATTR.size].ljust(SCHED_ATTR.size, b"\0")
    )
    if S32(policy) < 0 or said & ~_FLAGS_KNOWN:
        raise LinuxError(errno.EINVAL)
    target = _task(kernel, task, pid)
    old = target.scheduling
    new = old._replace(reset_on_fork=bool(said & _FLAG_RESET))
    if not said & _FLAG_KEEP_PARAMS:
        new = new._replace(priority=priority, runtime=runtime, deadline=deadline, period=period)
        if policy in (_POLICIES["OTHER"], _POLICIES["BATCH"]):
            new = new._replace(nice=min(max(nice, -20), 19))
    if not said & _FLAG_KEEP_POLICY:
        new = new._replace(policy=policy)
    _check(task, target, new)
    target.scheduling = new
    return 0


def sys_sched_getattr(kernel: Kernel, task: Task, pid: int, address: int, size: int, flags: int) -> int:
    """sched_getattr(2)."""
    if not address or pid < 0 or flags or not _FIRST_SIZE <= size <= _PAGE:
        raise LinuxError(errno.EINVAL)
    now = _task(kernel, task, pid).scheduling
    stated = min(size, SCHED_ATTR.size)
    runtime, nice = now.runtime, 0
    if now.policy in (_POLICIES["OTHER"], _POLICIES["BATCH"]):
        runtime, nice = _BASE_SLICE_NS * min(kernel.cpus, 8).bit_length(), now.nice
    data = SCHED_ATTR.pack(
        stated, now.policy, _FLAG_RESET if now.reset_on_fork else 0, nice, now.priority, runtime, now.deadline,
        now.period, 0, 0,
    )  # fmt: skip
    task.mm.write(address, data[:stated])
    return 0


# Priorities of input and output


def sys_ioprio_set(kernel: Kernel, task: Task, which: int, who: int, priority: int) -> int:
    """ioprio_set(2)."""
    kind, level = priority >> 13, priority & 7
    if kind not in (_IO_NONE, _IO_REALTIME, _IO_BEST_EFFORT, _IO_IDLE) or (kind == _IO_NONE and level):
        raise LinuxError(errno.EINVAL)
    if kind == _IO_REALTIME and not task.credentials.capable(SYS_NICE):
        raise LinuxError(errno.EPERM)
    for other in _members(kernel, task, which, who, 1):
        if not _owns(task, other):
            raise LinuxError(errno.EPERM)
        other.scheduling = other.scheduling._replace(io=priority)
    return 0


def sys_ioprio_get(kernel: Kernel, task: Task, which: int, who: int) -> int:
    """ioprio_get(2): the best of several, where one that was not set is best-effort."""
    found = [other.scheduling.io for other in _members(kernel, task, which, who, 1)]
    return found[0] if len(found) == 1 else min(value or _IO_BEST_EFFORT << 13 | 4 for value in found)


_WHICH, _POLICY = OneOf("PRIO_", PROCESS=0, PGRP=1, USER=2), OneOf("SCHED_", **_POLICIES)
_IO_WHICH = OneOf("IOPRIO_WHO_", PROCESS=1, PGRP=2, USER=3)
_POLICY_AND_FLAG = Scalar("SCHED_*", S32, lambda value: _policy_words(value))
_THE_POLICY = Returned("policy", lambda result: f"{result} ({_policy_words(result)})")
_PARAMETER, _ATTR = Pointer(SCHED_PARAM, null=True), Pointer(SCHED_ATTR, null=True)


def _policy_words(value: int) -> str:
    reset = "|SCHED_RESET_ON_FORK" if value & _RESET_ON_FORK else ""
    return _POLICY.words(value & ~_RESET_ON_FORK) + reset


TABLE = (
    Syscall(140, "getpriority", sys_getpriority, (_WHICH, INT), NUMBER),
    Syscall(141, "setpriority", sys_setpriority, (_WHICH, INT, INT)),
    Syscall(142, "sched_setparam", sys_sched_setparam, (PID, _PARAMETER)),
    Syscall(143, "sched_getparam", sys_sched_getparam, (PID, Pointer(SCHED_PARAM, written=True, null=True))),
    Syscall(144, "sched_setscheduler", sys_sched_setscheduler, (PID, _POLICY_AND_FLAG, _PARAMETER)),
    Syscall(145, "sched_getscheduler", sys_sched_getscheduler, (PID,), _THE_POLICY),
    Syscall(146, "sched_get_priority_max", sys_sched_get_priority_max, (_POLICY,), NUMBER),
    Syscall(147, "sched_get_priority_min", sys_sched_get_priority_min, (_POLICY,), NUMBER),
    Syscall(148, "sched_rr_get_interval", sys_sched_rr_get_interval, (PID, Out(TIMESPEC))),
    Syscall(251, "ioprio_set", sys_ioprio_set, (_IO_WHICH, INT, INT)),
    Syscall(252, "ioprio_get", sys_ioprio_get, (_IO_WHICH, INT), NUMBER),
    Syscall(314, "sched_setattr", sys_sched_setattr, (PID, _ATTR, UINT)),
    Syscall(315, "sched_getattr", sys_sched_getattr, (PID, _ATTR, UINT, UINT)),
)
