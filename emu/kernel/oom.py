"""The killer of processes where no memory is left (mm/oom_kill.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.kernel.printk import EMERGENCY, ERROR, INFO, WARNING
from emu.kernel.signal_state import Sig
from emu.linux.errors import NoIntr
from emu.linux.version import RELEASE, VERSION
from emu.mm.residents import resident
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

#: OOM_SCORE_ADJ_MIN: never killed.
OOM_SCORE_ADJ_MIN = -1000
#: Pages that are made free where a call needs one.
_PAGES = 32
#: How often a call starts again after pages were made free for it, before a process is ended.
_MOST_TRIES = 64
#: GFP_HIGHUSER_MOVABLE | __GFP_ZERO.
_GFP = 0x140DCA, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"
_HEAD = "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name"


def total_pages(kernel: Kernel) -> int:
    """What badness is a part of: memory and swap."""
    return kernel.frames.total + kernel.mm_context.swap.areas.total


def badness(kernel: Kernel, task: Task) -> int | None:
    """How much would be gained, in pages, by killing a process (oom_badness); None: it is never killed."""
    adjusted = task.group.oom_score_adj
    if not task.alive or adjusted == OOM_SCORE_ADJ_MIN:
        return None
    mm = task.mm
    points = mm.rss_anon + mm.rss_cache + mm.rss_swap + mm.tables.vm_pte_bytes // PAGE_SIZE
    return points + adjusted * (total_pages(kernel) // 1000)


class OomKiller:
    """The settings of a machine, and what is done when memory is out."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        #: vm.panic_on_oom, vm.oom_kill_allocating_task and vm.oom_dump_tasks.
        self.panic_on_oom = self.kill_allocating_task = 0
        self.dump_tasks = 1
        #: How many processes have been killed.
        self.kills = 0
        #: The task whose call was started again last, where it was made, and how often.
        self._tries: tuple[Task | None, int, int] = None, 0, 0

    def relieve(self, mm: AddressSpace | None) -> bool:
        """A page is missing that somebody needs to go on, in an operation on an address space: end the process that is
        to be ended.  True if there is hope now.  One that uses this address space ends when the operation has failed,
        and the one whose turn it is when it leaves the kernel.
        """
        current = self._kernel.current
        if current is None or self.panic_on_oom or current.signals.fatal():
            return False
        victim = current if self._takes_the_asker(current) else self._select()
        if victim is None or (victim.mm is mm and victim.mm is not current.mm):
            return False
        self._kill(current, victim)
        return not current.signals.fatal()

    def relieve_here(self) -> bool:
        """The same between two pages of a call, for the machine or for the group that is full."""
        kernel = self._kernel
        if kernel.current is None:
            return False
        mm, context = kernel.current.mm, kernel.mm_context
        if context.group_is_full():
            return context.shrink_group(_PAGES) > 0 or context.end_one_of_group(mm)
        return context.take_pages(_PAGES) or self.relieve(mm)

    def relieve_call(self, task: Task) -> bool:
        """A call of a task has failed since there was no page.  Whether it is to start again: pages have been made
        free, or a process has been ended.
        """
        if task.signals.fatal():
            return False
        known, rip, tries = self._tries
        tries = tries + 1 if known is task and rip == task.rip else 0
        self._tries = task, task.rip, tries
        if tries >= _MOST_TRIES or not self._kernel.mm_context.take_pages(_PAGES << tries.bit_length()):
            self._tries = None, 0, 0
            self.kill_for(task)
        return task.alive and not task.signals.fatal()

    def _takes_the_asker(self, task: Task) -> bool:
        return bool(self.kill_allocating_task) and task.group.oom_score_adj != OOM_SCORE_ADJ_MIN

    def kill_for(self, task: Task) -> None:
        """A process cannot go on without a page: end the one that has most, or the machine if there is none that may be
        ended (out_of_memory).
        """
        if task.signals.fatal():  # it has been chosen already
            self._kernel.exit(task, Sig.KILL)
            return
        if self.panic_on_oom:
            kind = "compulsory" if self.panic_on_oom == 2 else "system-wide"
            self._report(task)
            self._panic(task, f"Out of memory: {kind} panic_on_oom is enabled")
            return
        if self._takes_the_asker(task):
            self._kill(task, task)
            return
        victim = self._select()
        if victim is None:
            self._report(task)
            self._print(WARNING, "Out of memory and no killable processes...")
            self._panic(task, "System is deadlocked on memory")
            return
        self._kill(task, victim)

    def _select(self) -> Task | None:
        """The process with the most points, of equals the one made last (select_bad_process)."""
        chosen, most = None, 0
        for task in self._kernel.tasks.values():
            points = badness(self._kernel, task) if task is task.group.leader or not task.group.leader.alive else None
            if points is not None and (chosen is None or points >= most):
                chosen, most = task, points
        return chosen

    def _kill(self, task: Task, victim: Task) -> None:
        """oom_kill_process(): the process, and others that use its memory."""
        kernel = self._kernel
        why = "Out of memory (oom_kill_allocating_task)" if self._takes_the_asker(task) else "Out of memory"
        try:
            self._report(task)
        except NoIntr:  # the run is to end, and what is still to be counted takes long; who is killed is told below
            self._print(WARNING, "Mem-Info: the run ends")
        uid, mm = victim.credentials.uid, victim.mm
        self._print(
            INFO,
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,"
            f"task={victim.comm},pid={victim.pid},uid={uid}",
        )
        self._print(ERROR, f"{why}: {_last_words(victim)}")
        self.kills += 1
        kernel.log(
            f"out of memory: killed process {victim.pid} ({victim.comm}); "
            f"{kernel.frames.free} of {kernel.frames.total} frames are free"
        )
        for other in list(kernel.tasks.values()):
            if other.alive and other.mm is mm and other.group is not victim.group:
                if other.group.oom_score_adj != OOM_SCORE_ADJ_MIN:
                    self.end(other)
        self.end(victim)

    def end(self, victim: Task) -> None:
        """End a process at once; the one whose turn it is, and that is in the middle of something, as soon as it can
        be.
        """
        kernel = self._kernel
        if kernel.current is not None and victim.group is kernel.current.group:
            kernel.signals.send_to_process(kernel.current, Sig.KILL)
        else:
            kernel.exit(victim, Sig.KILL)

    def tell_of_group(self, victim: Task, full: str, group: str) -> None:
        """A process of a control group is ended, since that, or one above it, is full (mem_cgroup_out_of_memory)."""
        uid = victim.credentials.uid
        self._print(
            INFO,
            f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={full},"
            f"task_memcg={group},task={victim.comm},pid={victim.pid},uid={uid}",
        )
        self._print(ERROR, f"Memory cgroup out of memory: {_last_words(victim)}")
        self.kills += 1

    def _panic(self, task: Task, why: str) -> None:
        kernel = self._kernel
        self._print(EMERGENCY, f"Kernel panic - not syncing: {why}")
        kernel.log(f"Kernel panic - not syncing: {why}")
        for other in list(kernel.tasks.values()):
            if other.alive and other.group is not task.group:
                kernel.exit(other, Sig.KILL)
        kernel.exit(task, Sig.KILL)

    # -- the report ------------------------------------------------------------------------------------------------

    def _print(self, level: int, text: str) -> None:
        self._kernel.printk.write(level, text)

    def _report(self, task: Task) -> None:
        """dump_header()."""
        self._print(
            WARNING,
            f"{task.comm} invoked oom-killer: gfp_mask={_GFP[0]:#x}({_GFP[1]}), order=0, "
            f"oom_score_adj={task.group.oom_score_adj}",
        )
        version = VERSION.split()[0]
        self._print(
            WARNING,
            f"CPU: {task.cpu} UID: {task.credentials.uid} PID: {task.pid} Comm: {task.comm} Not tainted "
            f"{RELEASE} {version}",
        )
        self._print(WARNING, "Mem-Info:\n" + "\n".join(_memory(self._kernel)))
        if self.dump_tasks:
            self._print(INFO, "Tasks state (memory values in pages):\n" + _HEAD)
            for other in self._kernel.tasks.values():
                if other.alive and other is other.group.leader:
                    self._print(INFO, _row(other))


def _last_words(victim: Task) -> str:
    """What the log says of who is killed."""
    mm = victim.mm
    sizes = {"total-vm": mm.total_bytes >> 10, **_kilobytes(mm)}
    told = ", ".join(f"{name}:{size}kB" for name, size in sizes.items())
    return (
        f"Killed process {victim.pid} ({victim.comm}) {told}, UID:{victim.credentials.uid} "
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


def _memory(kernel: Kernel) -> list[str]:
    """show_mem(), as far as there is anything."""
    figures: dict[str, Any] = kernel.memory_figures()
    areas = kernel.mm_context.swap.areas
    return [
        "active_anon:{nr_active_anon} inactive_anon:{nr_inactive_anon} isolated_anon:0".format(**figures),
        " active_file:{nr_active_file} inactive_file:{nr_inactive_file} isolated_file:0".format(**figures),
        " unevictable:{nr_unevictable} dirty:0 writeback:0".format(**figures),
        " slab_reclaimable:0 slab_unreclaimable:{nr_slab_unreclaimable}".format(**figures),
        " mapped:{nr_mapped} shmem:{nr_shmem} pagetables:{nr_page_table_pages}".format(**figures),
        " sec_pagetables:0 bounce:0",
        " kernel_misc_reclaimable:0",
        f" free:{kernel.frames.free} free_pcp:0 free_cma:0",
        "{nr_file_pages} total pagecache pages".format(**figures),
        "{nr_swapcached} pages in swap cache".format(**figures),
        f"Free swap  = {areas.free << 2}kB",
        f"Total swap = {areas.total << 2}kB",
        f"{kernel.frames.total} pages RAM",
        "0 pages HighMem/MovableOnly",
        "0 pages reserved",
    ]
