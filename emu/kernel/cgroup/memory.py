"""The memory controller at work: who pays, what becomes of a group without room, and its OOM killer (mm/memcontrol.c,
mm/oom_kill.c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from emu.kernel.task import Task
from emu.mm.memcgreclaim import reclaim
from emu.mm.memcontrol import NO_LIMIT, MemCgroup, MemControl
from emu.mm.swapcgroup import SwapCharges
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.cgroup.group import Cgroup, State
    from emu.kernel.threadgroup import ThreadGroup
    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.frameusers import Payer

#: How often a call starts again after pages of its group were taken (MAX_RECLAIM_RETRIES).
_RETRIES = 16
#: Pages that are taken at a time (SWAP_CLUSTER_MAX).
CLUSTER = 32
_NOT_KILLABLE = -1000
#: Where there is swap, this part of a group at least.
_SHARE = 16
#: The longest that a task waits for one charge beyond memory.high, in ns (MEMCG_MAX_HIGH_DELAY_JIFFIES), and how
#: many pages Linux charges at once (MEMCG_CHARGE_BATCH).
_LONGEST_DELAY, _BATCH = 2 * 10**9, 64


class OomTeller(Protocol):
    """Tells the kernel's log who is ended."""

    def group_is_full(self, full: Cgroup, victim: Task | None, /) -> bool:
        """A process of a group is to be ended, if any is.  False if the machine ends instead, or there is none."""

    def tell_of_group(self, group: Cgroup, /) -> None:
        """All processes of a group are ended together."""

    def tell_of_member(self, victim: Task, /) -> None:
        """A process of a group is ended."""


class Memory:
    """``of``: the group that a task is in; ``end`` ends a process, ``post`` does something soon, between
    two turns, ``log`` tells the user, ``oom`` the kernel's log who is killed.
    """

    def __init__(
        self,
        context: MmContext,
        tasks: Mapping[int, Task],
        current: Callable[[], Task | None],
        of: Callable[[Task], Cgroup],
        *,
        end: Callable[[Task], None],
        post: Callable[[Callable[[], object]], None],
        log: Callable[[str], None],
        oom: Callable[[], OomTeller],
    ) -> None:
        self._context, self._tasks, self._current, self._of = context, tasks, current, of
        self._end, self._post, self._log, self._oom = end, post, log, oom
        self.control = MemControl(context.frames, self._payer, self._owner)
        self.swap = SwapCharges(self.control, context.swap.areas)
        self.control.take_unmapped = lambda group, wanted: self.reclaim(group, wanted, mapped=False)
        self.control.over_high = self._over_high
        context.group_is_full = lambda: self.control.failed is not None
        context.shrink_group = self._shrink_failed
        context.end_one_of_group = self._end_one
        #: Whether memory.min and memory.low of a group protect those below (memory_recursiveprot).
        self.recursive = True
        self._awaited: set[MemCgroup] = set()
        self._cgroups: WeakKeyDictionary[MemCgroup, Cgroup] = WeakKeyDictionary()
        self._tries: tuple[Task | None, int, int] = None, 0, 0

    def make(self, above: State | None, group: Cgroup) -> State:
        """What the controller keeps for a group; pages are charged from the first one on.  LinuxError(ENOSPC)."""
        if above is None:
            return self.control.root
        assert isinstance(above, MemCgroup)
        if self._context.frames.memcg is None:
            self._context.frames.memcg = self.control
            self._context.swap.charges = self.swap
            kmem = self._context.frames.kmem
            kmem.accounts = lambda kind: self.control.account(kmem, kind)
        made = self.control.new_group(above, group.path(list(group.around)[-1]))
        self._cgroups[made] = group
        return made

    # -- who pays --------------------------------------------------------------------------------------------------

    def group_of(self, task: Task) -> MemCgroup:
        """The group that pays for a task."""
        state = self._of(task).state("memory")
        assert isinstance(state, MemCgroup)
        return state

    def _payer(self) -> MemCgroup:
        current = self._current()
        return self.control.root if current is None else self.group_of(current)

    def _owner(self, mm: Payer) -> MemCgroup:
        """The group of the owner of an address space (mem_cgroup_from_task of mm->owner)."""
        current = self._current()
        if current is not None and current.mm is mm:
            return self.group_of(current)
        owner = next((task for task in self._tasks.values() if task.mm is mm and task.alive), None)
        return self._payer() if owner is None else self.group_of(owner)

    @contextmanager
    def paid_by(self, group: MemCgroup) -> Iterator[None]:
        """Meanwhile, what the current task would pay for is another group's (set_active_memcg)."""
        before, self.control.active = self.control.active, group
        try:
            yield
        finally:
            self.control.active = before

    # -- taking pages ----------------------------------------------------------------------------------------------

    def reclaim(self, group: MemCgroup, wanted: int, why: str = "direct", *, mapped: bool = True) -> int:
        """Take pages of a group; ``mapped`` ones only where nobody holds an entry of a table."""
        return reclaim(self._context, self.control, group, wanted, why, mapped=mapped, recursive=self.recursive)

    def _shrink_failed(self, wanted: int) -> int:
        failed = self.control.failed
        if failed is not None and self._context.swapping:  # more at once, since all tables are looked at each time
            wanted = max(wanted, failed.usage // _SHARE)
        return 0 if failed is None else self.reclaim(failed, wanted)

    def shrink_to(self, group: MemCgroup, limit: int) -> None:
        """memory.max has become less than what there is: take pages, then end processes (memory_max_write)."""
        tries = _RETRIES
        while group.usage > limit:
            current = self._current()
            if current is not None and (not current.alive or current.signals.fatal()):
                return
            if tries:
                tries -= not self.reclaim(group, group.usage - limit)
            elif not self.out_of_memory(group):
                return

    def _over_high(self, group: MemCgroup) -> None:
        """memory.high is exceeded: pages are taken soon, and the task is slowed down (mem_cgroup_handle_over_high)."""
        overage = (group.usage - group.high << 20) // max(group.high, 1)
        self._context.clock.charge(min(_LONGEST_DELAY, (overage * overage * 10**9 >> 34) // _BATCH))
        if group not in self._awaited:
            self._awaited.add(group)
            self._post(lambda: self._reclaim_high(group))

    def _reclaim_high(self, group: MemCgroup) -> None:
        self._awaited.discard(group)
        for each in group.chain:
            if each.usage > each.high:
                each.event("high")
                share = each.usage // _SHARE if self._context.swapping else CLUSTER
                self.reclaim(each, max(each.usage - each.high, CLUSTER, share))

    # -- out of memory ---------------------------------------------------------------------------------------------

    def relieve(self, task: Task) -> bool:
        """A call has failed for want of memory.  If that was its group's: pages are taken, or a process is ended.
        Whether the call is to start again.
        """
        failed, self.control.failed = self.control.failed, None
        if failed is None or task.signals.fatal():
            return False
        known, rip, tries = self._tries
        tries = tries + 1 if known is task and rip == task.rip else 0
        if tries < _RETRIES and self.reclaim(failed, CLUSTER):
            self._tries = task, task.rip, tries
            return True
        self._tries = None, 0, 0
        return self.out_of_memory(failed) and task.alive and not task.signals.fatal()

    def fault_fails(self, task: Task) -> bool:
        """A fault of a task has failed.  Whether that was its group's doing; then a process has been ended, perhaps its
        own.
        """
        failed, self.control.failed = self.control.failed, None
        if failed is None:
            return False
        if task.signals.fatal():  # it has been chosen already
            self._end(task)
        elif not self.out_of_memory(failed):
            self._log(f"control group out of memory: no process of {failed.name} can be killed but {task.pid}")
            self._end(task)
        return True

    def _end_one(self, mm: AddressSpace) -> bool:
        """A page of an address space could not be charged: end a process of the group.  True if there is hope now."""
        failed, current = self.control.failed, self._current()
        if failed is None or current is None or current.signals.fatal():
            return False
        users = [task for task in self._tasks.values() if task.mm is mm and mm is not current.mm]
        if any(self.group_of(task).is_inside(failed) for task in users):
            return False  # when the operation on it has failed
        return self.out_of_memory(failed) and not current.signals.fatal()

    def out_of_memory(self, group: MemCgroup) -> bool:
        """End a process of a group without room, or all of a group with memory.oom.group; False if there is none that
        can be ended (mem_cgroup_out_of_memory).
        """
        group.event("oom")
        full = self._cgroups[group]
        limit = min((each.max for each in group.chain), default=NO_LIMIT)
        total = self._context.frames.total if limit >= NO_LIMIT else max(limit, 1)
        worst: tuple[int, Task] | None = None
        for process in self._processes(group):
            points = _badness(process, total)
            if points is not None and (worst is None or points >= worst[0]):
                worst = points, process.leader
        victim = None if worst is None else worst[1]
        if not self._oom().group_is_full(full, victim) or victim is None:
            return False
        together = [each for each in self.group_of(victim).chain if each.is_inside(group) and each.oom_group]
        self._kill(victim.group)
        if together:
            together[-1].event("oom_group_kill")
            self._oom().tell_of_group(self._cgroups[together[-1]])
            for process in self._processes(together[-1]):
                if process is not victim.group and process.oom_score_adj != _NOT_KILLABLE and process.alive:
                    self._kill(process)
        return True

    def _processes(self, group: MemCgroup) -> list[ThreadGroup]:
        inside = [task for task in self._tasks.values() if task.alive and self.group_of(task).is_inside(group)]
        return list(dict.fromkeys(task.group for task in inside))

    def _kill(self, process: ThreadGroup) -> None:
        """__oom_kill_process(): others that have the same memory end too."""
        task = next(iter(process.threads.values()))
        mm, group = task.mm, self.group_of(task)
        group.event("oom_kill")
        self._oom().tell_of_member(task)
        pages = {"total-vm": mm.total_bytes >> 12, "anon-rss": mm.rss_anon, "file-rss": mm.rss_cache}
        figures = ", ".join(f"{name}:{number << 2}kB" for name, number in pages.items())
        self._log(f"Memory cgroup out of memory: Killed process {task.tgid} ({task.comm}) {figures}")
        for other in list(self._tasks.values()):
            if other.alive and other.mm is mm:
                self._end(other)


def _badness(process: ThreadGroup, total: int) -> int | None:
    """oom_badness(); None: it cannot be ended."""
    if process.oom_score_adj == _NOT_KILLABLE:
        return None
    mm: AddressSpace = next(iter(process.threads.values())).mm
    points = mm.rss_anon + mm.rss_cache + mm.rss_swap + mm.tables.vm_pte_bytes // PAGE_SIZE
    return points + process.oom_score_adj * (total // 1000)
