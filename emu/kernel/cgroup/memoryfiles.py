"""The files of the memory controller (memory_files, swap_files)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.cgroup.cgroupfs import FileType
from emu.kernel.cgroup.memory import CLUSTER
from emu.kernel.cgroup.memorystat import numa_stat_text, stat_text
from emu.kernel.cgroup.numbers import integer, pages, shown, size, stripped
from emu.linux.errors import LinuxError
from emu.mm.memcontrol import MemCgroup
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.kernel.cgroup.cgroupfs import CgroupHandle

_MOST_TRIES = 16


def _memory(handle: CgroupHandle) -> MemCgroup:
    state = handle.inode.group.states["memory"]
    assert isinstance(state, MemCgroup)
    return state


def _number(name: str) -> Callable[[CgroupHandle], bytes]:
    """A file with a number of bytes."""
    return lambda handle: b"%d\n" % (getattr(_memory(handle), name) << PAGE_SHIFT)


def _limit(name: str) -> Callable[[CgroupHandle], bytes]:
    return lambda handle: shown(getattr(_memory(handle), name))


def _set(name: str) -> Callable[[CgroupHandle, bytes], None]:
    def store(handle: CgroupHandle, data: bytes) -> None:
        setattr(_memory(handle), name, pages(stripped(data)))

    return store


def store_high(handle: CgroupHandle, data: bytes) -> None:
    """memory.high: what is above it goes, if it can."""
    group, memory = _memory(handle), handle.inode.sb.kernel.cgroups.memory
    group.high = pages(stripped(data))
    tries = _MOST_TRIES
    while group.usage > group.high and tries:
        tries -= not memory.reclaim(group, group.usage - group.high)


def store_max(handle: CgroupHandle, data: bytes) -> None:
    """memory.max: what is above it goes, or processes do."""
    group, memory = _memory(handle), handle.inode.sb.kernel.cgroups.memory
    group.max = pages(stripped(data))
    memory.shrink_to(group, group.max)


def store_reclaim(handle: CgroupHandle, data: bytes) -> None:
    """memory.reclaim (user_proactive_reclaim).  LinuxError(EINVAL), (EAGAIN) if there was less."""
    words = stripped(data).split()
    if not words:
        raise LinuxError(errno.EINVAL)
    wanted = size(words[0]) >> PAGE_SHIFT
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name != "swappiness" or not (value == "max" or 0 <= integer(value) <= 200):
            raise LinuxError(errno.EINVAL)
    group, memory = _memory(handle), handle.inode.sb.kernel.cgroups.memory
    taken, tries = 0, _MOST_TRIES
    while taken < wanted:
        got = memory.reclaim(group, max(wanted - taken, CLUSTER), "proactive")
        tries -= not got
        if not tries:
            raise LinuxError(errno.EAGAIN)
        taken += got


# -- peaks -------------------------------------------------------------------------------------------------------------


def show_peak(handle: CgroupHandle) -> bytes:
    """memory.peak and memory.swap.peak: since ever, or since this file was written to."""
    group = _memory(handle)
    ever = group.swap_peak if _of_swap(handle) else group.peak
    return b"%d\n" % ((ever if handle.peak is None else handle.peak[0]) << PAGE_SHIFT)


def store_peak(handle: CgroupHandle, data: bytes) -> None:
    """From now on this open file shows the most that there is."""
    group, swap = _memory(handle), _of_swap(handle)
    if handle.peak is None:
        handle.peak = [0]
        (group.swap_watchers if swap else group.watchers).append(handle.peak)
    handle.peak[0] = group.swap_usage if swap else group.usage


def _of_swap(handle: CgroupHandle) -> bool:
    return "swap" in handle.inode.cft.name


def forget_peak(handle: CgroupHandle) -> None:
    state = handle.inode.group.states.get("memory")
    if isinstance(state, MemCgroup):
        state.watchers = [each for each in state.watchers if each is not handle.peak]
        state.swap_watchers = [each for each in state.swap_watchers if each is not handle.peak]


# -- figures -----------------------------------------------------------------------------------------------------------


def show_stat(handle: CgroupHandle) -> bytes:
    """memory.stat."""
    return stat_text(handle.inode.sb.kernel, handle.inode.group).encode()


def show_numa_stat(handle: CgroupHandle) -> bytes:
    """memory.numa_stat: there is one node."""
    return numa_stat_text(handle.inode.sb.kernel, handle.inode.group).encode()


def _events(name: str) -> Callable[[CgroupHandle], bytes]:
    def show(handle: CgroupHandle) -> bytes:
        group, local = _memory(handle), "memory_localevents" in handle.inode.sb.hierarchy.options
        events: dict[str, int] = getattr(group, "local_events" if local and name == "events" else name)
        return "".join(f"{event} {times}\n" for event, times in events.items()).encode()

    return show


def store_oom_group(handle: CgroupHandle, data: bytes) -> None:
    """memory.oom.group."""
    text = stripped(data)
    if not text:
        raise LinuxError(errno.EINVAL)
    value = integer(text)
    if value not in (0, 1):
        raise LinuxError(errno.EINVAL)
    _memory(handle).oom_group = bool(value)


def _file(name: str, show: Callable[[CgroupHandle], bytes], **more: object) -> FileType:
    return FileType(f"memory.{name}", show, on_root=False, controller="memory", **more)  # type: ignore[arg-type]


#: Every file of the controller.
MEMORY_FILES: tuple[FileType, ...] = (
    _file("current", _number("usage")),
    _file("peak", show_peak, store=store_peak, forget=forget_peak),
    _file("min", _limit("min"), store=_set("min")),
    _file("low", _limit("low"), store=_set("low")),
    _file("high", _limit("high"), store=store_high),
    _file("max", _limit("max"), store=store_max),
    _file("events", _events("events")),
    _file("events.local", _events("local_events")),
    FileType("memory.stat", show_stat, controller="memory"),
    FileType("memory.numa_stat", show_numa_stat, controller="memory"),
    _file("oom.group", lambda handle: b"%d\n" % _memory(handle).oom_group, store=store_oom_group, delegatable=True),
    FileType("memory.reclaim", None, store_reclaim, controller="memory", delegatable=True),
    _file("swap.current", _number("swap_usage")),
    _file("swap.high", _limit("swap_high"), store=_set("swap_high")),
    _file("swap.max", _limit("swap_max"), store=_set("swap_max")),
    _file("swap.peak", show_peak, store=store_peak, forget=forget_peak),
    _file("swap.events", _events("swap_events")),
)
