"""Freezing: the tasks of a group do nothing until it is thawed (kernel/cgroup/freezer.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.task import Task, TaskState

if TYPE_CHECKING:
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.sched import Scheduler
    from emu.linux.clock import Clock


class Freezer:
    """Freezes and thaws tasks; each does either at once."""

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self._scheduler, self._clock = scheduler, clock

    def make(self, group: Cgroup) -> None:
        """A group has been made, perhaps in a frozen one."""
        assert group.parent is not None
        group.set_freezing(group.parent.freezing, self._clock.now_ns())

    def change(self, group: Cgroup) -> None:
        """cgroup.freeze of a group has changed (cgroup_freeze)."""
        for each in group.subtree():
            wanted = each.freeze or any(above.freeze for above in each.around)
            if each.freezing == wanted:
                continue
            each.set_freezing(wanted, self._clock.now_ns())
            for task in list(each.tasks):
                assert isinstance(task, Task)
                if wanted:
                    self.freeze(task)
                else:
                    self.thaw(task)
            each.on_change("cgroup.events")

    def freeze(self, task: Task) -> None:
        """A task runs no more."""
        task.frozen = True
        scheduler = self._scheduler
        if task.state in (TaskState.RUNNABLE, TaskState.SLEEPING):
            if task is scheduler.current:
                scheduler.yielded = True  # when its call is over
            scheduler.suspend(task, TaskState.FROZEN)

    def thaw(self, task: Task) -> None:
        """A task goes on."""
        task.frozen = False
        if task.state == TaskState.FROZEN:
            self._scheduler.resume(task)

    def moved(self, old: Cgroup, new: Cgroup, task: Task) -> None:
        """A task has moved (cgroup_freezer_migrate_task)."""
        if new.freezing and not old.freezing:
            self.freeze(task)
        elif old.freezing and not new.freezing:
            self.thaw(task)
