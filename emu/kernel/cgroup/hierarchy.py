"""The hierarchy of control groups: making and removing groups, moving tasks, and controllers for children
(kernel/cgroup/cgroup.c).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from emu.kernel.cgroup.group import CONTROLLERS, THREADED, Cgroup, State
from emu.kernel.cgroup.pids import Pids
from emu.linux.errors import LinuxError
from emu.linux.namespace import Namespace

if TYPE_CHECKING:
    from emu.kernel.cgroup.freezer import Freezer
    from emu.kernel.cgroup.memory import Memory
    from emu.kernel.task import Task
    from emu.linux.namespace import UserNamespace
    from emu.mm.kmem import Kmem

#: What a group takes on the host, with its files (CPython 3.11, seen with tracemalloc), with a fifth more.
CGROUP = 36864
#: Makes what a controller keeps for a group, from what it keeps for the group above.
Make = Callable[[State | None, Cgroup], State]


class CgroupNamespace(Namespace):
    """What is above ``top`` is not seen from inside."""

    def __init__(self, top: Cgroup, user: UserNamespace | None) -> None:
        super().__init__("cgroup", user)
        self.top = top


class Hierarchy:
    """The groups of a machine.

    ``tasks``: every task; ``memory``: the memory controller; ``kill``: sends SIGKILL.
    """

    def __init__(
        self,
        tasks: Mapping[int, Task],
        kmem: Kmem,
        freezer: Freezer,
        memory: Memory,
        kill: Callable[[Task], None],
    ) -> None:
        self._tasks, self._kmem, self._freezer, self._kill = tasks, kmem, freezer, kill
        self.memory = memory
        self._make: dict[str, Make] = {"memory": memory.make, "pids": lambda above, group: Pids(above)}
        self.root = Cgroup(None, "")
        for name in CONTROLLERS:
            self.root.states[name] = self._make[name](None, self.root)
        #: The groups that are gone, and still have what is charged to them.
        self.dying: list[tuple[Cgroup, str, State]] = []
        #: Where tasks count that have ended, until they are released.
        self._ended: dict[Task, Pids] = {}
        #: What all groups but the root are charged with.
        self.charged = 0
        #: Options of the mounts.
        self.options: frozenset[str] = frozenset()
        #: Told of a group that is removed, and of one that has, or has lost, controllers.
        self.on_remove: Callable[[Cgroup], None] = lambda group: None
        self.on_controllers: Callable[[Cgroup, Collection[str], Collection[str]], None] = lambda group, come, go: None

    def of(self, task: Task) -> Cgroup:
        """The group that a task is in, or was in when it ended."""
        return self.root if task.cgroup is None else task.cgroup

    def top_of(self, task: Task) -> Cgroup:
        """The group that is the root for a task (its cgroup namespace)."""
        space = task.ns.cgroup
        return space.top if isinstance(space, CgroupNamespace) else self.root

    def members(self, group: Cgroup, everyone: Iterable[Task]) -> list[Task]:
        """The tasks of a group that have not ended, of all that there are."""
        if group is self.root:
            return [task for task in everyone if task.cgroup is None and task.alive]
        return [task for task in everyone if task.cgroup is group and task in group.tasks]

    # -- making and removing ---------------------------------------------------------------------------------------

    def make_group(self, parent: Cgroup, name: str) -> Cgroup:
        """cgroup_mkdir().  LinuxError(EAGAIN) at a limit, (ENOMEM)."""
        if "\n" in name:
            raise LinuxError(errno.EINVAL)
        if parent.dead:
            raise LinuxError(errno.ENODEV)
        for depth, above in enumerate((parent, *parent.around), 1):
            if above.descendants >= above.max_descendants or depth > above.max_depth:
                raise LinuxError(errno.EAGAIN)
        self._kmem.charge(CGROUP)
        group = Cgroup(parent, name)
        try:
            for controller in [each for each in CONTROLLERS if each in group.available]:
                group.states[controller] = self._make[controller](group.state(controller), group)
        except LinuxError:
            self._kmem.uncharge(CGROUP)
            raise
        self.charged += CGROUP
        self._freezer.make(group)
        parent.children[name] = group
        for above in group.around:
            above.descendants += 1
        return group

    def remove_group(self, group: Cgroup) -> None:
        """cgroup_rmdir().  LinuxError(EBUSY) with tasks or children."""
        assert group.parent is not None
        if group.populated or group.children:
            raise LinuxError(errno.EBUSY)
        for controller in list(group.states):
            self._offline(group, controller)
        parent = group.parent
        del parent.children[group.name]
        parent.keep_spent_of(group)
        if group.is_threaded:
            parent.threaded_children -= 1
        for above in group.around:
            above.descendants -= 1
        group.dead = True
        self._kmem.uncharge(CGROUP)
        self.charged -= CGROUP
        self.on_remove(group)

    def _offline(self, group: Cgroup, controller: str) -> None:
        state = group.states.pop(controller)
        state.offline()
        if state.in_use:
            self.dying.append((group, controller, state))

    def dying_below(self, group: Cgroup, controller: str | None = None) -> int:
        """How many groups below are gone, and still hold something of a controller, or of any."""
        self.dying = [each for each in self.dying if each[2].in_use]
        found = {
            id(state) if controller else id(each)
            for each, name, state in self.dying
            if each.is_inside(group) and (each is not group) and (name == controller if controller else each.dead)
        }
        return len(found)

    # -- controllers -----------------------------------------------------------------------------------------------

    def set_subtree_control(self, group: Cgroup, text: str) -> None:
        """cgroup_subtree_control_write().  LinuxError(EINVAL, ENOENT, EBUSY, EOPNOTSUPP)."""
        enable: set[str] = set()
        disable: set[str] = set()
        for word in filter(None, text.split(" ")):
            if word[0] not in "+-" or word[1:] not in CONTROLLERS:
                raise LinuxError(errno.EINVAL)
            here, there = (enable, disable) if word[0] == "+" else (disable, enable)
            here.add(word[1:])
            there.discard(word[1:])
        enable -= group.subtree_control
        disable &= group.subtree_control
        if enable - group.available:
            raise LinuxError(errno.ENOENT)
        if any(child.subtree_control & disable for child in group.children.values()):
            raise LinuxError(errno.EBUSY)
        if enable:
            self._check_enable(group, enable)
        group.subtree_control = (group.subtree_control | enable) - disable
        for child in group.children.values():
            self._lose(child, disable)
        for child in group.children.values():
            self._gain(child)

    @staticmethod
    def _check_enable(group: Cgroup, enable: set[str]) -> None:
        """cgroup_vet_subtree_control_enable()."""
        if not group.domain.is_valid_domain:
            raise LinuxError(errno.EOPNOTSUPP)
        if group.parent is None:
            return
        if enable - THREADED:
            if group.is_thread_root or group.is_threaded:
                raise LinuxError(errno.EOPNOTSUPP)
        elif group.can_be_thread_root or group.is_threaded:
            return
        if group.tasks:
            raise LinuxError(errno.EBUSY)

    def _gain(self, child: Cgroup) -> None:
        """A child gets what its parent gives to children (cgroup_apply_control_enable)."""
        come = [name for name in CONTROLLERS if name in child.available and name not in child.states]
        for name in come:
            assert child.parent is not None
            child.states[name] = self._make[name](child.parent.state(name), child)
        self._carry_over(child, come)
        if come:
            self.on_controllers(child, come, ())

    def _lose(self, child: Cgroup, controllers: AbstractSet[str]) -> None:
        """cgroup_apply_control_disable()."""
        go = [name for name in CONTROLLERS if name in controllers and name in child.states]
        for name in go:
            state = child.states[name]
            assert child.parent is not None
            for task in _tasks_of(child, name):
                child.parent.state(name).take_over(state, task)
            self._offline(child, name)
        if go:
            self.on_controllers(child, (), go)

    def _carry_over(self, child: Cgroup, controllers: Iterable[str]) -> None:
        """The tasks below a new state count there from now on."""
        for name in controllers:
            assert child.parent is not None
            above = child.parent.state(name)
            for task in _tasks_of(child, name):
                child.states[name].take_over(above, task)

    # -- types -----------------------------------------------------------------------------------------------------

    def make_threaded(self, group: Cgroup) -> None:
        """cgroup_enable_threaded().  LinuxError(EOPNOTSUPP)."""
        if group.is_threaded:
            return
        assert group.parent is not None
        domain = group.parent.domain
        if group.populated or group.subtree_control - THREADED:
            raise LinuxError(errno.EOPNOTSUPP)
        if not domain.is_valid_domain or not domain.can_be_thread_root:
            raise LinuxError(errno.EOPNOTSUPP)
        for each in [each for each in group.subtree() if each is group or each.is_threaded]:
            each.domain = domain
        group.parent.threaded_children += 1
        self._lose(group, group.states.keys() - group.available)

    # -- tasks -----------------------------------------------------------------------------------------------------

    @staticmethod
    def check_target(group: Cgroup) -> None:
        """cgroup_migrate_vet_dst().  LinuxError(EOPNOTSUPP, EBUSY)."""
        if group.dead:
            raise LinuxError(errno.ENODEV)
        if not group.domain.is_valid_domain:
            raise LinuxError(errno.EOPNOTSUPP)
        if group.can_be_thread_root or group.is_threaded:
            return
        if group.subtree_control:
            raise LinuxError(errno.EBUSY)

    def attach(self, group: Cgroup, tasks: Iterable[Task]) -> None:
        """Move tasks (cgroup_migrate)."""
        for task in tasks:
            old = self.of(task)
            if old is group or not task.alive:
                continue
            for name in CONTROLLERS:
                source, target = old.state(name), group.state(name)
                if source is not target:
                    target.take_over(source, task)
            old.remove(task)
            task.cgroup = None if group is self.root else group
            group.add(task)
            self._freezer.moved(old, group, task)

    @staticmethod
    def can_fork(group: Cgroup) -> None:
        """A task is about to make another, in a group.  LinuxError(EAGAIN); else :meth:`forked` or
        :meth:`cancel_fork` follows.
        """
        pids = group.state("pids")
        assert isinstance(pids, Pids)
        pids.try_charge()

    @staticmethod
    def cancel_fork(group: Cgroup) -> None:
        """The child is not made."""
        pids = group.state("pids")
        assert isinstance(pids, Pids)
        pids.uncharge()

    def forked(self, child: Task, group: Cgroup) -> None:
        """The child is there (cgroup_post_fork)."""
        if group is not self.root:
            child.cgroup = group
            group.add(child)

    def scheduled(self, child: Task) -> None:
        """It can run, unless its group is frozen."""
        if self.of(child).freezing:
            self._freezer.freeze(child)

    def exited(self, task: Task) -> None:
        """A task has ended; what counts it does until it is released (cgroup_exit)."""
        if task.cgroup is not None:
            pids = task.cgroup.state("pids")
            assert isinstance(pids, Pids)
            self._ended[task] = pids
            task.cgroup.remove(task)

    def released(self, task: Task) -> None:
        """Nobody will look at it again (cgroup_release)."""
        pids = self._ended.pop(task, None)
        if pids is not None:
            pids.uncharge()

    # -- killing and freezing --------------------------------------------------------------------------------------

    def kill(self, group: Cgroup) -> None:
        """cgroup.kill.  LinuxError(EOPNOTSUPP) of a threaded group."""
        if group.is_threaded:
            raise LinuxError(errno.EOPNOTSUPP)
        for each in group.subtree():
            for task in list(each.tasks):
                self._kill(task)  # type: ignore[arg-type]

    def freeze(self, group: Cgroup, wanted: bool) -> None:
        """cgroup.freeze."""
        if group.freeze != wanted:
            group.freeze = wanted
            self._freezer.change(group)

    def stat(self, group: Cgroup) -> str:
        """cgroup.stat."""
        inside = [each for each in group.subtree() if each is not group]
        lines = [f"nr_descendants {group.descendants}"]
        for name in CONTROLLERS:
            number = sum(name in each.states for each in inside) + 1 if name in group.states else 0
            lines.append(f"nr_subsys_{name} {number}")
        lines.append(f"nr_dying_descendants {self.dying_below(group)}")
        lines += [f"nr_dying_subsys_{name} {self.dying_below(group, name)}" for name in CONTROLLERS]
        return "\n".join(lines) + "\n"


def _tasks_of(group: Cgroup, controller: str) -> list[Task]:
    """The tasks that count in a group's state of a controller, and in none below."""
    found: list[Task] = []
    for each in group.subtree():
        if each.state(controller) is group.state(controller):
            found += each.tasks  # type: ignore[arg-type]
    return found
