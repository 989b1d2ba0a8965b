"""The files of the memory controller (memory_files, swap_files)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from emu.kernel.cgroup.cgroupfs import FileType
from emu.kernel.cgroup.memory import CLUSTER
from emu.kernel.cgroup.numbers import integer, pages, shown, size, stripped
from emu.linux.errors import LinuxError
from emu.mm.frames import BLOCK_FRAMES, PG_ACTIVE, PG_LARGE, PG_SWAPCACHE, FrameKind
from emu.mm.hugememory import mapped_heads
from emu.mm.memcontrol import MemCgroup, MemControl
from emu.mm.pagecache import PageCache
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.kernel.cgroup.cgroupfs import CgroupHandle
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.kernel import Kernel

#: memory_stats: the lines of memory.stat that say what there is; the others say what has happened.
_STATS = """
    anon file kernel kernel_stack pagetables sec_pagetables percpu sock vmalloc shmem file_mapped file_dirty
    file_writeback swapcached anon_thp file_thp shmem_thp inactive_anon active_anon inactive_file active_file
    unevictable slab_reclaimable slab_unreclaimable slab workingset_refault_anon workingset_refault_file
    workingset_activate_anon workingset_activate_file workingset_restore_anon workingset_restore_file
    workingset_nodereclaim pgdemote_kswapd pgdemote_direct pgdemote_khugepaged pgdemote_proactive
"""
_EVENTS = """
    pgscan pgsteal pswpin pswpout pgscan_kswapd pgscan_direct pgscan_khugepaged pgscan_proactive pgsteal_kswapd
    pgsteal_direct pgsteal_khugepaged pgsteal_proactive pgfault pgmajfault pgrefill pgactivate pgdeactivate pglazyfree
    pglazyfreed swpin_zero swpout_zero thp_fault_alloc thp_collapse_alloc thp_swpout thp_swpout_fallback
"""
#: Those that are no figures of a node.
_OF_NO_NODE = {"kernel", "percpu", "sock", "vmalloc", "slab"}
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


def _present(kernel: Kernel, control: MemControl, group: MemCgroup) -> dict[str, int]:
    """What there is, in pages."""
    frames, kinds = kernel.frames, control.by_kind(group)
    anon, cached, tables = (kinds[kind] for kind in (FrameKind.ANON, FrameKind.CACHE, FrameKind.PAGETABLE))
    ours = np.ones(frames.total, dtype=bool) if group is control.root else control.charged_to(control.below(group))
    on_list = ours & ((frames.kinds == FrameKind.ANON) | (frames.kinds == FrameKind.CACHE))
    of_cache = ours & (frames.kinds == FrameKind.CACHE)
    of_files = np.zeros(frames.total, dtype=bool)
    for cache in list(frames.page_caches):
        if isinstance(cache, PageCache) and not cache.is_shmem:
            for part in cache.frames_in_batches():
                of_files[part] = True
    file, active, in_swap = of_files & of_cache, frames.flags & PG_ACTIVE != 0, frames.flags & PG_SWAPCACHE != 0

    def count(mask: npt.NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask))

    return {
        "anon": anon, "file": cached, "kernel": tables, "pagetables": tables, "shmem": cached - count(file),
        "file_mapped": count(of_cache & (frames.counts - in_swap > 1)), "swapcached": count(ours & in_swap),
        "inactive_anon": count(on_list & ~file & ~active), "active_anon": count(on_list & ~file & active),
        "inactive_file": count(file & ~active), "active_file": count(file & active),
        "anon_thp": _anon_thps(kernel, control, group), "shmem_thp": count(of_cache & (frames.flags & PG_LARGE != 0)),
    }  # fmt: skip


def _figures(kernel: Kernel, inside: Cgroup) -> dict[str, int]:
    """What there is, in bytes, and what has happened."""
    group = inside.states["memory"]
    assert isinstance(group, MemCgroup)
    found = _present(kernel, kernel.cgroups.memory.control, group)
    processes = {task.group for task in kernel.tasks.values()}
    spent = [inside.spent] if inside.parent else [process.usage() for process in processes]
    minor, major = sum(each.min_flt for each in spent), sum(each.maj_flt for each in spent)
    of_machine = group is kernel.cgroups.memory.control.root
    happened = {"pgfault": minor + major, "pgmajfault": major}
    happened |= kernel.mm_context.swap.events if of_machine else group.swapped
    for what, counts in (("pgscan", group.scanned), ("pgsteal", group.stolen)):
        happened[what] = sum(counts.values())
        happened |= {f"{what}_{why}": number for why, number in counts.items()}
    return {name: number << PAGE_SHIFT for name, number in found.items()} | happened


def _anon_thps(kernel: Kernel, control: MemControl, group: MemCgroup) -> int:
    """Pages of private memory that entries of 2 MiB map."""
    heads = mapped_heads(list(kernel.mm_context.address_spaces.values()), FrameKind.ANON)
    return BLOCK_FRAMES * sum(control.group_of(head).is_inside(group) for head in heads)


def stat_text(kernel: Kernel, group: Cgroup) -> str:
    """What memory.stat of a group says."""
    figures = _figures(kernel, group)
    return "".join(f"{name} {figures.get(name, 0)}\n" for name in (_STATS + _EVENTS).split())


def show_stat(handle: CgroupHandle) -> bytes:
    """memory.stat."""
    return stat_text(handle.inode.sb.kernel, handle.inode.group).encode()


def show_numa_stat(handle: CgroupHandle) -> bytes:
    """memory.numa_stat: there is one node."""
    figures = _figures(handle.inode.sb.kernel, handle.inode.group)
    return "".join(f"{name} N0={figures.get(name, 0)}\n" for name in _STATS.split() if name not in _OF_NO_NODE).encode()


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
