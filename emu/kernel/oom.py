"""The killer of processes where no memory is left (mm/oom_kill.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.oomreport import OomReport, last_words, path_of
from emu.kernel.printk import EMERGENCY, ERROR, INFO, WARNING
from emu.kernel.signal_state import Sig
from emu.linux.errors import NoIntr
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

#: OOM_SCORE_ADJ_MIN: never killed.
OOM_SCORE_ADJ_MIN = -1000
#: Pages that are made free where a call needs one.
_PAGES = 32
#: How often a call starts again after pages were made free for it, before a process is ended.
_MOST_TRIES = 64


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
        self._report = OomReport(kernel)
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
            self._header(task)
            self._panic(task, f"Out of memory: {kind} panic_on_oom is enabled")
            return
        if self._takes_the_asker(task):
            self._kill(task, task)
            return
        victim = self._select()
        if victim is None:
            self._header(task)
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
        mm = victim.mm
        self._dump(task, victim)
        self._print(ERROR, f"{why}: {last_words(victim)}")
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

    def _dump(self, task: Task, victim: Task, full: Cgroup | None = None) -> None:
        """The report, unless there have been too many lately."""
        if self._report.may_print():
            self._header(task, full)
            self._report.victim(victim, full)

    def _header(self, task: Task, full: Cgroup | None = None) -> None:
        try:
            self._report.header(task, full)
        except NoIntr:  # the run is to end, and what is still to be counted takes long; who is killed is told below
            self._print(WARNING, "Mem-Info: the run ends")

    def end(self, victim: Task) -> None:
        """End a process at once; the one whose turn it is, and that is in the middle of something, as soon as it can
        be.
        """
        kernel = self._kernel
        if kernel.current is not None and victim.group is kernel.current.group:
            kernel.signals.send_to_process(kernel.current, Sig.KILL)
        else:
            kernel.exit(victim, Sig.KILL)

    # -- for a control group that is full --------------------------------------------------------------------------

    def group_is_full(self, full: Cgroup, victim: Task | None) -> bool:
        """A process of a control group is to be ended, if there is any; False if the machine ends instead, or there is
        none (mem_cgroup_out_of_memory).
        """
        current = self._kernel.current
        asker = current if current is not None else victim
        if asker is None:
            return False
        if self.panic_on_oom == 2:
            self._header(asker, full)
            self._panic(asker, "Out of memory: compulsory panic_on_oom is enabled")
            return False
        if victim is None:
            self._header(asker, full)
            self._print(WARNING, "Out of memory and no killable processes...")
            return False
        self._dump(asker, victim, full)
        return True

    def tell_of_group(self, group: Cgroup) -> None:
        """All processes of a group are ended together."""
        self._print(INFO, f"Tasks in {path_of(group)} are going to be killed due to memory.oom.group set")

    def tell_of_member(self, victim: Task) -> None:
        """A process of a group is ended."""
        self._print(ERROR, f"Memory cgroup out of memory: {last_words(victim)}")
        self.kills += 1

    def _panic(self, task: Task, why: str) -> None:
        kernel = self._kernel
        self._print(EMERGENCY, f"Kernel panic - not syncing: {why}")
        kernel.log(f"Kernel panic - not syncing: {why}")
        for other in list(kernel.tasks.values()):
            if other.alive and other.group is not task.group:
                kernel.exit(other, Sig.KILL)
        kernel.exit(task, Sig.KILL)

    def _print(self, level: int, text: str) -> None:
        self._kernel.printk.write(level, text)
