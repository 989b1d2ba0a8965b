"""What the kernel's log says where memory is out: dump_header() and dump_oom_victim() of mm/oom_kill.c, show_mem() of
mm/show_mem.c, mem_cgroup_print_oom_meminfo() of mm/memcontrol.c.

The kernel's own stack, which Linux puts between the two parts of the head, is left out: there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.kernel.printk import INFO, WARNING
from emu.linux.version import RELEASE, VERSION
from emu.mm.buddy import free_by_order
from emu.mm.memcontrol import NO_LIMIT, MemCgroup
from emu.mm.pageflags import FrameKind
from emu.mm.residents import resident

if TYPE_CHECKING:
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

_HEAD = "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name"
#: With which flags a frame for each use is asked for (gfp_mask, as %pGg shows it), and what is charged to a group.
_GFP = {
    FrameKind.ANON: "0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO)",
    FrameKind.CACHE: "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)",
    FrameKind.PAGETABLE: "0x400dc0(GFP_KERNEL_ACCOUNT|__GFP_ZERO)",
    FrameKind.RESERVED: "0xcc0(GFP_KERNEL)",
}
_GFP_OF_CHARGE = "0xcc0(GFP_KERNEL)"
#: Of so many reports in five seconds all are printed (DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST).
_BURST, _INTERVAL_NS = 10, 5 * 10**9
#: MAX_NR_ZONES.
_ZONES = 5


class OomReport:
    """The reports of a machine."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        #: Since when reports are counted, how many there have been since, and how many of these were left out.
        self._begin_ns = 0
        self._printed = self._missed = 0

    def may_print(self) -> bool:
        """Whether one more report is no flood (___ratelimit)."""
        now = self._kernel.clock.now_ns()
        if not self._begin_ns or now > self._begin_ns + _INTERVAL_NS:
            if self._missed:
                self._print(WARNING, f"oom_kill_process: {self._missed} callbacks suppressed")
            self._begin_ns, self._printed, self._missed = now, 0, 0
        if self._printed < _BURST:
            self._printed += 1
            return True
        self._missed += 1
        return False

    def header(self, task: Task, full: Cgroup | None = None) -> None:
        """What a task has asked for, and what there is, in the machine or in a group that is full."""
        kernel = self._kernel
        gfp = _GFP[kernel.frames.missing] if full is None else _GFP_OF_CHARGE
        self._print(
            WARNING,
            f"{task.comm} invoked oom-killer: gfp_mask={gfp}, order=0, oom_score_adj={task.group.oom_score_adj}\n"
            f"CPU: {task.cpu} UID: {task.credentials.uid} PID: {task.pid} Comm: {task.comm} Not tainted "
            f"{RELEASE} {VERSION.split()[0]} PREEMPT(full) ",
        )
        if full is None:
            self._print(WARNING, "Mem-Info:\n" + "\n".join(show_mem(kernel)))
        else:
            self._print(INFO, "\n".join(_group_info(kernel, full)))
        if kernel.oom.dump_tasks:
            self._print(INFO, "Tasks state (memory values in pages):\n" + _HEAD)
            for other in kernel.tasks.values():
                if other.alive and other is other.group.leader and (full is None or _is_inside(kernel, other, full)):
                    self._print(INFO, _row(other))

    def victim(self, victim: Task, full: Cgroup | None = None) -> None:
        """Who is to be ended."""
        kernel = self._kernel
        constraint, reason = ("NONE", "global_oom") if full is None else ("MEMCG", f"oom_memcg={path_of(full)}")
        group = path_of(kernel.cgroups.of(victim)) if kernel.frames.memcg is not None else "/"
        self._print(
            INFO,
            f"oom-kill:constraint=CONSTRAINT_{constraint},nodemask=(null),cpuset=/,mems_allowed=0,{reason},"
            f"task_memcg={group},task={victim.comm},pid={victim.pid},uid={victim.credentials.uid}",
        )

    def _print(self, level: int, text: str) -> None:
        self._kernel.printk.write(level, text)


def last_words(victim: Task) -> str:
    """What the log says of who is killed."""
    mm = victim.mm
    sizes = {"total-vm": mm.total_bytes >> 10, **_kilobytes(mm)}
    told = ", ".join(f"{name}:{size}kB" for name, size in sizes.items())
    return (
        f"Killed process {victim.tgid} ({victim.comm}) {told}, UID:{victim.credentials.uid} "
        f"pgtables:{mm.tables.vm_pte_bytes >> 10}kB oom_score_adj:{victim.group.oom_score_adj}"
    )


def _kilobytes(mm: AddressSpace) -> dict[str, int]:
    anon, of_files, shmem = resident(mm)
    return {"anon-rss": anon << 2, "file-rss": of_files << 2, "shmem-rss": shmem << 2}


def _row(task: Task) -> str:
    mm = task.mm
    anon, of_files, shmem = resident(mm)
    return (
        f"[{task.pid:>7}] {task.credentials.uid:>5} {task.tgid:>5} {mm.total_bytes >> 12:>8} "
        f"{anon + of_files + shmem:>8} {anon:>8} {of_files:>8} {shmem:>9} {mm.tables.vm_pte_bytes:>8} "
        f"{mm.rss_swap:>8}         {task.group.oom_score_adj:>5} {task.comm}"
    )


# -- the machine -------------------------------------------------------------------------------------------------------


def show_mem(kernel: Kernel) -> Iterable[str]:
    """What memory is used for, in the node, in its one zone, and by the sizes of what is free (__show_mem)."""
    figures = kernel.memory_figures()
    yield from _global_lines(figures, kernel.frames.free)
    yield _node_line(figures)
    yield _zone_line(kernel, figures)
    yield "lowmem_reserve[]:" + " 0" * _ZONES
    orders = free_by_order(kernel.frames, kernel.stop)
    sizes = "".join(f"{number}*{4 << order}kB " + ("(M) " if number else "") for order, number in enumerate(orders))
    yield f"Node 0 DMA: {sizes}= {sum(number << order for order, number in enumerate(orders)) << 2}kB"
    huge = kernel.huge_pages
    yield (
        f"Node 0 hugepages_total={huge.total} hugepages_free={huge.free} hugepages_surp={huge.surplus} "
        "hugepages_size=2048kB"
    )
    areas = kernel.mm_context.swap.areas
    yield f"{figures['nr_file_pages']} total pagecache pages"
    yield f"{figures['nr_swapcached']} pages in swap cache"
    yield f"Free swap  = {areas.free << 2}kB"
    yield f"Total swap = {areas.total << 2}kB"
    yield f"{kernel.frames.total} pages RAM"
    yield "0 pages HighMem/MovableOnly"
    yield "0 pages reserved"


def _global_lines(node: dict[str, int], free: int) -> Iterable[str]:
    lines = (
        ("active_anon", "inactive_anon", "isolated_anon"),
        ("active_file", "inactive_file", "isolated_file"),
        ("unevictable", "dirty", "writeback"),
        ("slab_reclaimable", "slab_unreclaimable"),
        ("mapped", "shmem", "pagetables"),
        ("sec_pagetables",),
        ("kernel_misc_reclaimable",),
    )
    space = ""
    for names in lines:
        yield space + " ".join(f"{name}:{node.get(_NAMES.get(name, f'nr_{name}'), 0)}" for name in names)
        space = " "
    yield f" free:{free} free_pcp:0 free_cma:0"


#: Figures that have other names in /proc/vmstat.
_NAMES = {"pagetables": "nr_page_table_pages", "sec_pagetables": "nr_sec_page_table_pages"}


def _node_line(node: dict[str, int]) -> str:
    def kilobytes(*names: str) -> str:
        return " ".join(f"{name}:{node.get(_NAMES.get(name, f'nr_{name}'), 0) << 2}kB" for name in names)

    thps = {"shmem_thp": "shmem_hugepages", "shmem_pmdmapped": "shmem_pmdmapped",
            "anon_thp": "anon_transparent_hugepages"}  # fmt: skip
    return (
        f"Node 0 {kilobytes('active_anon', 'inactive_anon', 'active_file', 'inactive_file', 'unevictable')} "
        f"isolated(anon):0kB isolated(file):0kB {kilobytes('mapped', 'dirty', 'writeback', 'shmem')} "
        + " ".join(f"{name}:{node.get(f'nr_{figure}', 0) << 11}kB" for name, figure in thps.items())
        + f" writeback_tmp:0kB kernel_stack:{node.get('nr_kernel_stack', 0)}kB "
        f"{kilobytes('pagetables', 'sec_pagetables')} all_unreclaimable? yes Balloon:0kB"
    )


def _zone_line(kernel: Kernel, figures: dict[str, int]) -> str:
    marks, total = kernel.mm_context.watermarks, kernel.frames.total << 2
    lists = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable")
    sizes = {name: figures.get(f"nr_{name}", 0) for name in lists}
    return (
        f"Node 0 DMA free:{kernel.frames.free << 2}kB boost:0kB min:{marks.min << 2}kB low:{marks.low << 2}kB "
        f"high:{marks.high << 2}kB reserved_highatomic:0KB free_highatomic:0KB "
        + " ".join(f"{name}:{pages << 2}kB" for name, pages in sizes.items())
        + f" writepending:0kB present:{total}kB managed:{total}kB mlocked:{figures.get('nr_unevictable', 0) << 2}kB "
        "free_pcp:0kB local_pcp:0kB free_cma:0kB"
    )


# -- a group -----------------------------------------------------------------------------------------------------------


def path_of(group: Cgroup) -> str:
    """Its name as seen from the root."""
    return group.path([group, *group.around][-1])


def _is_inside(kernel: Kernel, task: Task, full: Cgroup) -> bool:
    return kernel.cgroups.of(task).is_inside(full)


def _group_info(kernel: Kernel, full: Cgroup) -> Iterable[str]:
    memory = full.states["memory"]
    assert isinstance(memory, MemCgroup)
    yield (f"memory: usage {memory.usage << 2}kB, limit {_limit(memory.max)}kB, failcnt {memory.local_events['max']}")
    yield (
        f"swap: usage {memory.swap_usage << 2}kB, limit {_limit(memory.swap_max)}kB, "
        f"failcnt {memory.swap_events['max']}"
    )
    yield f"Memory cgroup stats for {path_of(full)}:"
    yield from kernel.memory_stat(full).splitlines()


def _limit(pages: int) -> int:
    """PAGE_COUNTER_MAX is 2^63 bytes less a page."""
    return min(pages, NO_LIMIT) << 2
