"""memory.stat and memory.numa_stat: what a group has, and what has happened in it (memory_stat_format of
mm/memcontrol.c).
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from emu.mm.hugepmd import mapped_heads
from emu.mm.kmem import SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE, SOCKETS
from emu.mm.lru import list_sizes
from emu.mm.memcontrol import MemCgroup, MemControl
from emu.mm.mlock import locked_pages
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import BLOCK_FRAMES, PG_LARGE, PG_LAZYFREE, PG_SWAPCACHE, FrameKind
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.kernel import Kernel

    Mask = npt.NDArray[np.bool_]

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


def stat_text(kernel: Kernel, group: Cgroup) -> str:
    """What memory.stat of a group says."""
    figures = _figures(kernel, group)
    return "".join(f"{name} {figures.get(name, 0)}\n" for name in (_STATS + _EVENTS).split())


def numa_stat_text(kernel: Kernel, group: Cgroup) -> str:
    """What memory.numa_stat says."""
    figures = _figures(kernel, group)
    return "".join(f"{name} N0={figures.get(name, 0)}\n" for name in _STATS.split() if name not in _OF_NO_NODE)


def _figures(kernel: Kernel, inside: Cgroup) -> dict[str, int]:
    """What there is, in bytes, and what has happened."""
    group, control = inside.states["memory"], kernel.cgroups.memory.control
    assert isinstance(group, MemCgroup)
    pages = _pages(kernel, control, group)
    found = {name: number << PAGE_SHIFT for name, number in pages.items()} | _objects(control, group)
    found["kernel"] += found["pagetables"]
    processes = {task.group for task in kernel.tasks.values()}
    spent = [inside.spent] if inside.parent else [process.usage() for process in processes]
    minor, major = sum(each.min_flt for each in spent), sum(each.maj_flt for each in spent)
    happened = {"pgfault": minor + major, "pgmajfault": major}
    happened |= _events_of_machine(kernel) if group is control.root else group.happened
    for what, counts in (("pgscan", group.scanned), ("pgsteal", group.stolen)):
        happened[what] = sum(counts.values())
        happened |= {f"{what}_{why}": number for why, number in counts.items()}
    return found | happened


def _events_of_machine(kernel: Kernel) -> dict[str, int]:
    context = kernel.mm_context
    return context.thp.events | context.swap.events | kernel.frames.events


def _objects(control: MemControl, group: MemCgroup) -> dict[str, int]:
    """Objects of the kernel, without page tables: bytes."""
    held: Counter[str] = Counter()
    for each in [] if group is control.root else control.below(group):
        held.update(each.kernel)
    slab = held[SLAB_RECLAIMABLE] + held[SLAB_UNRECLAIMABLE]
    return {**held, "slab": slab, "kernel": held.total() - held[SOCKETS]}


def _pages(kernel: Kernel, control: MemControl, group: MemCgroup) -> dict[str, int]:
    """Pages of the group and of those below it, by what they are."""
    frames = kernel.frames
    kinds, in_swap = frames.kinds, frames.flags & PG_SWAPCACHE != 0
    ours: Mask = np.ones(frames.total, dtype=bool)
    if group is not control.root:
        ours = control.charged_to(control.below(group))
    of_files = _of_files(kernel)
    cached = ours & (kinds == FrameKind.CACHE) & ~in_swap
    mapped = cached & (frames.counts > 1)
    # of the swap cache, those that nobody maps are no private memory
    anon = ours & (kinds == FrameKind.ANON) & ~(in_swap & (frames.counts == 1))

    def count(mask: Mask) -> int:
        return int(np.count_nonzero(mask))

    given_up = np.flatnonzero((kinds == FrameKind.ANON) & (frames.flags & PG_LAZYFREE != 0))
    locked = locked_pages(kernel.mm_context.address_spaces.values()) | frames.left_locked
    lists = list_sizes(frames, chain(np.flatnonzero(of_files).tolist(), given_up.tolist()), locked, ours)
    return {
        "anon": count(anon), "file": count(cached), "pagetables": count(ours & (kinds == FrameKind.PAGETABLE)),
        "shmem": count(cached & ~of_files), "file_mapped": count(mapped), "swapcached": count(ours & in_swap),
        "anon_thp": _anon_thps(kernel, control, group), "shmem_thp": count(cached & (frames.flags & PG_LARGE != 0)),
        **lists._asdict(),
    }  # fmt: skip


def _of_files(kernel: Kernel) -> Mask:
    """Which frames have pages of files."""
    found = np.zeros(kernel.frames.total, dtype=bool)
    for cache in list(kernel.frames.page_caches):
        if isinstance(cache, PageCache) and not cache.is_shmem:
            for part in cache.frames_in_batches():
                found[part] = True
    return found


def _anon_thps(kernel: Kernel, control: MemControl, group: MemCgroup) -> int:
    """Pages of private memory that entries of 2 MiB map."""
    heads = mapped_heads(list(kernel.mm_context.address_spaces.values()), FrameKind.ANON)
    return BLOCK_FRAMES * sum(control.group_of(head).is_inside(group) for head in heads)
