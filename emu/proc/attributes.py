"""Files of /proc/PID through which attributes of a process are seen and set: comm, oom_score_adj, loginuid and others
(fs/proc/base.c).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import decode_name, encode_name
from emu.kernel.oom import badness, total_pages
from emu.linux.capability import AUDIT_CONTROL, SYS_NICE, SYS_RESOURCE
from emu.linux.errors import LinuxError
from emu.proc.pidfile import PidFile

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials

_OOM_MIN, _OOM_MAX, _OOM_DISABLE, _OOM_ADJUST_MAX = -1000, 1000, -17, 15
_UNSET = 0xFFFFFFFF
_COREDUMP_BITS = 0x1FF


def _who(kernel: Kernel) -> Credentials:
    """The rights of whoever writes."""
    assert kernel.current is not None, "a file of /proc/PID is written outside of any call"
    return kernel.current.credentials


def _number(data: bytes, base: int = 0) -> int:
    """kstrtoint() and its relatives."""
    try:
        return int(data.strip(b" \n\t\0"), base)
    except ValueError:
        raise LinuxError(errno.EINVAL) from None


def comm(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/comm."""
    return encode_name(task.comm) + b"\n"


def set_comm(kernel: Kernel, task: Task, data: bytes) -> None:
    """Rename a thread of one's own process.  LinuxError(EINVAL) for another's."""
    if kernel.current is None or kernel.current.tgid != task.tgid:
        raise LinuxError(errno.EINVAL)
    task.comm = decode_name(data[:15].split(b"\0")[0])


def cgroup(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/cgroup (proc_cgroup_show)."""
    if "cgroups" not in kernel.__dict__:
        return b"0::/\n"
    groups = kernel.cgroups
    group, top = groups.of(task), groups.root if kernel.current is None else groups.top_of(kernel.current)
    gone = " (deleted)" if group.dead else ""
    return b"0::" + encode_name(group.path(top) + gone) + b"\n"


# The out-of-memory killer


def oom_score(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/oom_score (proc_oom_score, oom_badness)."""
    points, total = badness(kernel, task), total_pages(kernel)
    return b"%d\n" % (0 if points is None else max(0, (1000 + int(points * 1000 / total)) * 2 // 3))


def oom_score_adj(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/oom_score_adj."""
    return b"%d\n" % task.group.oom_score_adj


def set_oom_score_adj(kernel: Kernel, task: Task, data: bytes) -> None:
    """LinuxError(EINVAL, EACCES): only a privileged process goes below what a privileged one has set."""
    value = _number(data)
    if not _OOM_MIN <= value <= _OOM_MAX:
        raise LinuxError(errno.EINVAL)
    _adjust(kernel, task, value)


def _adjust(kernel: Kernel, task: Task, value: int) -> None:
    group, privileged = task.group, _who(kernel).capable(SYS_RESOURCE)
    if value < group.oom_score_adj_min and not privileged:
        raise LinuxError(errno.EACCES)
    group.oom_score_adj = value
    if privileged:
        group.oom_score_adj_min = value


def oom_adj(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/oom_adj, the old scale."""
    value = task.group.oom_score_adj
    if value == _OOM_MAX:
        return b"%d\n" % _OOM_ADJUST_MAX
    return b"%d\n" % int(value * -_OOM_DISABLE / _OOM_MAX)


def set_oom_adj(kernel: Kernel, task: Task, data: bytes) -> None:
    """LinuxError(EINVAL, EACCES)."""
    value = _number(data)
    if not _OOM_DISABLE <= value <= _OOM_ADJUST_MAX:
        raise LinuxError(errno.EINVAL)
    _adjust(kernel, task, _OOM_MAX if value == _OOM_ADJUST_MAX else int(value * _OOM_MAX / -_OOM_DISABLE))


# The audit's ids


def loginuid(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/loginuid."""
    return b"%d" % task.group.loginuid


def set_loginuid(kernel: Kernel, task: Task, data: bytes) -> None:
    """LinuxError(EPERM, EINVAL): only of oneself, and once it is set only by a privileged process."""
    if kernel.current is None or kernel.current.tgid != task.tgid:
        raise LinuxError(errno.EPERM)
    value = _number(data, 10)
    if not 0 <= value <= _UNSET:
        raise LinuxError(errno.EINVAL)
    if task.group.loginuid != _UNSET and not _who(kernel).capable(AUDIT_CONTROL):
        raise LinuxError(errno.EPERM)
    task.group.loginuid = value
    if value == _UNSET:
        task.group.sessionid = _UNSET
    else:
        kernel.login_sessions += 1
        task.group.sessionid = kernel.login_sessions


# Others


def coredump_filter(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/coredump_filter."""
    return b"%08x\n" % task.mm.coredump_filter


def set_coredump_filter(kernel: Kernel, task: Task, data: bytes) -> None:
    """LinuxError(EINVAL)."""
    task.mm.coredump_filter = _number(data) & _COREDUMP_BITS


def timerslack(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/timerslack_ns: kept, since timers are exact."""
    return b"%d\n" % task.timer_slack_ns


def set_timerslack(kernel: Kernel, task: Task, data: bytes) -> None:
    """0 is the default.  LinuxError(EPERM, EINVAL)."""
    who = _who(kernel)
    value = _number(data)
    if value < 0:
        raise LinuxError(errno.EINVAL)
    if task is not kernel.current and not who.capable(SYS_NICE):
        raise LinuxError(errno.EPERM)
    task.timer_slack_ns = value or DEFAULT_SLACK_NS


DEFAULT_SLACK_NS = 50_000


def no_lsm(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/attr/*: without a security module.  LinuxError(EINVAL)."""
    raise LinuxError(errno.EINVAL)


PID_FILES = {
    "autogroup": PidFile(lambda kernel, task: b"/autogroup-%d nice 0\n" % task.sid, of_thread=False),
    "cgroup": PidFile(cgroup),
    "comm": PidFile(comm, 0o644, set_comm),
    "coredump_filter": PidFile(coredump_filter, 0o644, set_coredump_filter, of_thread=False),
    "cpuset": PidFile(lambda kernel, task: b"/\n"),
    "loginuid": PidFile(loginuid, 0o644, set_loginuid),
    "oom_adj": PidFile(oom_adj, 0o644, set_oom_adj), "oom_score": PidFile(oom_score),
    "oom_score_adj": PidFile(oom_score_adj, 0o644, set_oom_score_adj),
    "personality": PidFile(lambda kernel, task: b"%08x\n" % task.personality, 0o400),
    "sessionid": PidFile(lambda kernel, task: b"%d" % task.group.sessionid),
    "timerslack_ns": PidFile(timerslack, 0o666, set_timerslack, of_thread=False),
}  # fmt: skip
