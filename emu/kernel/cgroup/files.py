"""The files of control groups: those of every group, and those of the controllers (cgroup_base_files, pids_files)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.cgroup.cgroupfs import FileType, check_may_move
from emu.kernel.cgroup.group import CONTROLLERS, NO_LIMIT
from emu.kernel.cgroup.memoryfiles import MEMORY_FILES
from emu.kernel.cgroup.numbers import integer, stripped
from emu.kernel.cgroup.pids import NO_LIMIT as NO_PIDS_LIMIT
from emu.kernel.cgroup.pids import Pids
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.kernel.cgroup.cgroupfs import CgroupHandle
    from emu.kernel.task import Task


# -- processes and threads ---------------------------------------------------------------------------------------------


def _numbers(handle: CgroupHandle, tasks: list[Task]) -> bytes:
    """As the reader's PID namespace has them; what it does not have is 0."""
    reader = handle.inode.sb.kernel.current
    return b"".join(b"%d\n" % (task.pid if reader is None else reader.sees(task.pid)) for task in tasks)


def show_procs(handle: CgroupHandle) -> bytes:
    """cgroup.procs.  LinuxError(EOPNOTSUPP) of a threaded group."""
    group, sb = handle.inode.group, handle.inode.sb
    if group.is_threaded:
        raise LinuxError(errno.EOPNOTSUPP)
    everyone = sb.kernel.with_init() if group.parent is None else list(sb.kernel.tasks.values())
    found: dict[Task, None] = {}
    for each in group.subtree():
        if each is group or (each.is_threaded and each.domain is group):
            for task in sb.hierarchy.members(each, everyone):
                found[task.group.leader] = None
    return _numbers(handle, [task for task in found if sb.hierarchy.of(task).domain is group])


def show_threads(handle: CgroupHandle) -> bytes:
    """cgroup.threads."""
    group, sb = handle.inode.group, handle.inode.sb
    everyone = sb.kernel.with_init() if group.parent is None else list(sb.kernel.tasks.values())
    return _numbers(handle, sb.hierarchy.members(group, everyone))


def _store_tasks(handle: CgroupHandle, data: bytes, *, threads: bool) -> None:
    """__cgroup_procs_write().  LinuxError(EINVAL, ESRCH, EACCES, ENOENT, EBUSY, EOPNOTSUPP)."""
    kernel, hierarchy, target = handle.inode.sb.kernel, handle.inode.sb.hierarchy, handle.inode.group
    try:
        number = integer(stripped(data))
    except LinuxError:
        raise LinuxError(errno.EINVAL) from None
    writer = kernel.current
    assert writer is not None
    if number < 0:
        raise LinuxError(errno.EINVAL)
    task = writer if number == 0 else kernel.find_task(writer.means(number))
    if task is None:
        raise LinuxError(errno.ESRCH)
    if not threads:
        task = task.group.leader
    check_may_move(handle, hierarchy.of(task), target, threads=threads)
    hierarchy.attach(target, [task] if threads else list(task.group.threads.values()))


def store_procs(handle: CgroupHandle, data: bytes) -> None:
    _store_tasks(handle, data, threads=False)


def store_threads(handle: CgroupHandle, data: bytes) -> None:
    _store_tasks(handle, data, threads=True)


# -- what the group is -------------------------------------------------------------------------------------------------


def show_type(handle: CgroupHandle) -> bytes:
    return handle.inode.group.kind.value.encode() + b"\n"


def store_type(handle: CgroupHandle, data: bytes) -> None:
    if stripped(data) != "threaded":
        raise LinuxError(errno.EINVAL)
    group, hierarchy = handle.inode.group, handle.inode.sb.hierarchy
    hierarchy.make_threaded(group)


def _controllers(found: frozenset[str]) -> bytes:
    words = " ".join(name for name in CONTROLLERS if name in found)
    return f"{words}\n".encode() if words else b""


def show_controllers(handle: CgroupHandle) -> bytes:
    return _controllers(handle.inode.group.available)


def show_subtree_control(handle: CgroupHandle) -> bytes:
    return _controllers(handle.inode.group.subtree_control)


def store_subtree_control(handle: CgroupHandle, data: bytes) -> None:
    handle.inode.sb.hierarchy.set_subtree_control(handle.inode.group, stripped(data))


def show_events(handle: CgroupHandle) -> bytes:
    group = handle.inode.group
    return b"populated %d\nfrozen %d\n" % (group.populated, group.freezing)


def show_stat(handle: CgroupHandle) -> bytes:
    return handle.inode.sb.hierarchy.stat(handle.inode.group).encode()


def show_stat_local(handle: CgroupHandle) -> bytes:
    group, now = handle.inode.group, handle.inode.sb.kernel.clock.now_ns()
    return b"frozen_usec %d\n" % (group.frozen_ns(now) // 1000)


# -- limits ------------------------------------------------------------------------------------------------------------


def _store_limit(data: bytes) -> int:
    text = stripped(data)
    if text == "max":
        return NO_LIMIT
    value = integer(text)
    if value < 0:
        raise LinuxError(errno.ERANGE)
    return value


def _limit(value: int) -> bytes:
    return b"max\n" if value == NO_LIMIT else b"%d\n" % value


def store_max_depth(handle: CgroupHandle, data: bytes) -> None:
    handle.inode.group.max_depth = _store_limit(data)


def store_max_descendants(handle: CgroupHandle, data: bytes) -> None:
    handle.inode.group.max_descendants = _store_limit(data)


# -- killing, freezing, time -------------------------------------------------------------------------------------------


def store_freeze(handle: CgroupHandle, data: bytes) -> None:
    value = integer(stripped(data))
    if value not in (0, 1):
        raise LinuxError(errno.ERANGE)
    handle.inode.sb.hierarchy.freeze(handle.inode.group, bool(value))


def store_kill(handle: CgroupHandle, data: bytes) -> None:
    if integer(stripped(data)) != 1:
        raise LinuxError(errno.ERANGE)
    handle.inode.sb.hierarchy.kill(handle.inode.group)


def show_cpu_stat(handle: CgroupHandle) -> bytes:
    """cpu.stat, which a group has without the controller."""
    group, kernel = handle.inode.group, handle.inode.sb.kernel
    if kernel.current is not None:
        kernel.scheduler.account(kernel.current)
    if group.parent is None:
        vcpus = kernel.scheduler.vcpus
        user, system = sum(v.instructions for v in vcpus), sum(v.system_ns for v in vcpus)
    else:
        user, system = group.spent[:2]
    text = f"usage_usec {(user + system) // 1000}\nuser_usec {user // 1000}\nsystem_usec {system // 1000}\n"
    return f"{text}nice_usec 0\n".encode()


# -- waiting ----------------------------------------------------------------------------------------------------------


def show_waiting(handle: CgroupHandle) -> bytes:
    """cpu.pressure and its like: nobody waits for what is not measured."""
    words = "avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    return f"some {words}full {words}".encode()


def refuse(handle: CgroupHandle, data: bytes) -> None:
    """Nothing ever happens that could be waited for."""
    raise LinuxError(errno.EINVAL)


def store_pressure(handle: CgroupHandle, data: bytes) -> None:
    """cgroup.pressure: whether there are such files."""
    value = integer(stripped(data))
    if value not in (0, 1):
        raise LinuxError(errno.ERANGE)
    handle.inode.group.pressure = bool(value)
    if not value:
        handle.inode.sb.hide(handle.inode.group, [kind.name for kind in _PRESSURE if kind.of_pressure])


# -- the number of tasks -----------------------------------------------------------------------------------------------


def _pids(handle: CgroupHandle) -> Pids:
    state = handle.inode.group.states["pids"]
    assert isinstance(state, Pids)
    return state


def show_pids_max(handle: CgroupHandle) -> bytes:
    limit = _pids(handle).limit
    return b"max\n" if limit >= NO_PIDS_LIMIT else b"%d\n" % limit


def store_pids_max(handle: CgroupHandle, data: bytes) -> None:
    _pids(handle).set_limit(stripped(data))


def _pids_events(local: bool) -> Callable[[CgroupHandle], bytes]:
    def show(handle: CgroupHandle) -> bytes:
        pids = _pids(handle)
        if "pids_localevents" in handle.inode.sb.hierarchy.options:
            return b"max %d\n" % pids.local_failed
        return b"max %d\n" % (pids.local_max_events if local else pids.max_events)

    return show


_BASE = (
    FileType("cgroup.type", show_type, store_type, on_root=False),
    FileType("cgroup.procs", show_procs, store_procs, delegatable=True),
    FileType("cgroup.threads", show_threads, store_threads, delegatable=True),
    FileType("cgroup.controllers", show_controllers),
    FileType("cgroup.subtree_control", show_subtree_control, store_subtree_control, delegatable=True),
    FileType("cgroup.events", show_events, on_root=False),
    FileType("cgroup.max.descendants", lambda handle: _limit(handle.inode.group.max_descendants),
             store_max_descendants),
    FileType("cgroup.max.depth", lambda handle: _limit(handle.inode.group.max_depth), store_max_depth),
    FileType("cgroup.stat", show_stat),
    FileType("cgroup.stat.local", show_stat_local, on_root=False),
    FileType("cgroup.freeze", lambda handle: b"%d\n" % handle.inode.group.freeze, store_freeze, on_root=False),
    FileType("cgroup.kill", None, store_kill, on_root=False),
    FileType("cpu.stat", show_cpu_stat),
    FileType("cpu.stat.local", lambda handle: b""),
)  # fmt: skip

_PIDS = (
    FileType("pids.max", show_pids_max, store_pids_max, on_root=False, controller="pids"),
    FileType("pids.current", lambda handle: b"%d\n" % _pids(handle).number, on_root=False, controller="pids"),
    FileType("pids.peak", lambda handle: b"%d\n" % _pids(handle).peak, on_root=False, controller="pids"),
    FileType("pids.events", _pids_events(local=False), on_root=False, controller="pids"),
    FileType("pids.events.local", _pids_events(local=True), on_root=False, controller="pids"),
)  # fmt: skip

_PRESSURE = (
    FileType("cgroup.pressure", lambda handle: b"%d\n" % handle.inode.group.pressure, store_pressure),
    *(FileType(f"{what}.pressure", show_waiting, refuse, of_pressure=True) for what in ("cpu", "io", "memory")),
)  # fmt: skip

#: Every file that a group can have.
FILES: tuple[FileType, ...] = _BASE + _PRESSURE + MEMORY_FILES + _PIDS
