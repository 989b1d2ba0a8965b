"""A control group: its place in the tree, its tasks, and which controllers it has (struct cgroup).

What a group can be depends on others: a *domain* has processes; a *threaded* group has threads of the processes of its
domain, which is a group above it; a domain below a threaded one, or beside it, is *invalid*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple, Protocol

#: Controllers in the order of cgroup_subsys.h, and those that may be in threaded groups.
CONTROLLERS = ("memory", "pids")
THREADED = frozenset({"pids"})
NO_LIMIT = (1 << 31) - 1


class Member(Protocol):
    """A task, as far as its group is concerned."""

    @property
    def alive(self) -> bool:
        """It has not ended."""

    @property
    def spent(self) -> tuple[int, int, int, int]:
        """What it has run, in user and in kernel mode, in ns, and its minor and major faults."""


class State(Protocol):
    """What a controller keeps for a group (cgroup_subsys_state)."""

    #: Called with the name of a file whose text has changed.
    on_change: Callable[[str], None]

    @property
    def in_use(self) -> bool:
        """Whether something is still charged to it."""

    def offline(self) -> None:
        """The group is gone, or does without the controller."""

    def take_over(self, source: State, task: Any) -> None:
        """A task counts here from now on, and no more there."""


class Spent(NamedTuple):
    """Time in user and in kernel mode, in ns, and minor and major faults."""

    user_ns: int
    system_ns: int
    min_flt: int
    maj_flt: int

    def plus(self, other: Spent) -> Spent:
        """The sum."""
        return Spent(*(mine + its for mine, its in zip(self, other, strict=True)))

    def minus(self, other: Spent) -> Spent:
        """The difference."""
        return Spent(*(mine - its for mine, its in zip(self, other, strict=True)))


class Kind(Enum):
    """cgroup.type."""

    DOMAIN = "domain"
    ROOT = "domain threaded"
    INVALID = "domain invalid"
    THREADED = "threaded"


class Cgroup:
    """One group; ``parent`` is None for the root."""

    def __init__(self, parent: Cgroup | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.level: int = 0 if parent is None else parent.level + 1
        self.children: dict[str, Cgroup] = {}
        #: The group that has the processes of which threads are here: itself, unless it is threaded.
        self.domain: Cgroup = self
        self.threaded_children = 0
        #: The tasks that have not ended, in the order in which they came; not of the root.
        self.tasks: dict[Member, Spent] = {}
        #: What tasks had spent here that have left.
        self._past = Spent(0, 0, 0, 0)
        #: Children that are populated, or have populated ones: domains and threaded ones.
        self.populated_domains = self.populated_threaded = 0
        self.subtree_control: frozenset[str] = frozenset()
        self.states: dict[str, State] = {}
        self.max_depth = self.max_descendants = NO_LIMIT
        self.descendants = 0
        #: cgroup.freeze, and whether that or the one of a group above holds.
        self.freeze = self.freezing = False
        self._frozen_ns, self._frozen_since = 0, 0
        #: cgroup.pressure: whether it has files that say how long tasks have waited.
        self.pressure = True
        self.dead = False
        #: Called with the name of a file whose text has changed.
        self.on_change: Callable[[str], None] = lambda name: None

    # -- the tree --------------------------------------------------------------------------------------------------

    @property
    def around(self) -> Iterator[Cgroup]:
        """The groups above, the nearest first."""
        group = self.parent
        while group is not None:
            yield group
            group = group.parent

    def subtree(self) -> Iterator[Cgroup]:
        """The group and all below it, each before its own children."""
        pending = [self]
        while pending:
            group = pending.pop()
            yield group
            pending += reversed(group.children.values())

    def set_freezing(self, wanted: bool, now: int) -> None:
        """Its tasks are frozen from now on, or not any more."""
        if self.freezing:
            self._frozen_ns += now - self._frozen_since
        self.freezing, self._frozen_since = wanted, now

    def frozen_ns(self, now: int) -> int:
        """How long it has been frozen altogether."""
        return self._frozen_ns + (now - self._frozen_since if self.freezing else 0)

    def is_inside(self, other: Cgroup) -> bool:
        """Whether it is another or below it (cgroup_is_descendant)."""
        return self is other or other in self.around

    def common(self, other: Cgroup) -> Cgroup:
        """The nearest group that has both."""
        return next(group for group in (self, *self.around) if other.is_inside(group))

    def path(self, root: Cgroup) -> str:
        """Its name as seen from another group (cgroup_path_ns)."""
        up, top = "", root
        while not self.is_inside(top):
            assert top.parent is not None
            up, top = up + "/..", top.parent
        names = []
        group = self
        while group is not top:
            assert group.parent is not None
            names.append(group.name)
            group = group.parent
        return up + "".join(f"/{name}" for name in reversed(names)) or "/"

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def is_threaded(self) -> bool:
        """Whether its processes are those of another group."""
        return self.domain is not self

    @property
    def populated(self) -> bool:
        """Whether a task is in it or below (cgroup_is_populated)."""
        return bool(self.tasks or self.populated_domains or self.populated_threaded)

    @property
    def is_thread_root(self) -> bool:
        """Whether threaded groups belong to it, or would (cgroup_is_thread_root)."""
        if self.is_threaded:
            return False
        return bool(self.threaded_children) or bool(self.has_tasks and self.subtree_control & THREADED)

    @property
    def has_tasks(self) -> bool:
        """Whether tasks are in the group itself; the root always has some."""
        return self.parent is None or bool(self.tasks)

    @property
    def can_be_thread_root(self) -> bool:
        """cgroup_can_be_thread_root()."""
        if self.parent is None:
            return True
        return not (self.is_threaded or self.populated_domains or self.subtree_control - THREADED)

    @property
    def is_valid_domain(self) -> bool:
        """cgroup_is_valid_domain()."""
        if self.is_threaded:
            return False
        return not any(group.is_threaded or (group.parent and group.is_thread_root) for group in self.around)

    @property
    def kind(self) -> Kind:
        """cgroup.type."""
        if self.is_threaded:
            return Kind.THREADED
        if not self.is_valid_domain:
            return Kind.INVALID
        return Kind.ROOT if self.is_thread_root else Kind.DOMAIN

    @property
    def available(self) -> frozenset[str]:
        """cgroup.controllers (cgroup_control)."""
        given = frozenset(CONTROLLERS) if self.parent is None else self.parent.subtree_control
        return given & THREADED if self.is_threaded else given

    def state(self, controller: str) -> State:
        """What a controller keeps for its tasks: its own, or that of the nearest group above that has one."""
        group = self
        while controller not in group.states:
            assert group.parent is not None, f"Cgroup: the root has no {controller}"
            group = group.parent
        return group.states[controller]

    # -- tasks -----------------------------------------------------------------------------------------------------

    def add(self, task: Member) -> None:
        """A task comes."""
        if self.parent is None:
            return
        was = self.populated
        self.tasks[task] = Spent(*task.spent)
        if not was:
            self._populated_changed(1)

    def remove(self, task: Member) -> None:
        """A task leaves, or has ended."""
        if self.parent is None:
            return
        self._past = self._past.plus(Spent(*task.spent).minus(self.tasks.pop(task)))
        if not self.populated:
            self._populated_changed(-1)

    def _populated_changed(self, step: int) -> None:
        """cgroup_update_populated()."""
        group = self
        group.on_change("cgroup.events")
        while group.parent is not None:
            above = group.parent
            was = above.populated
            if group.is_threaded:
                above.populated_threaded += step
            else:
                above.populated_domains += step
            if above.populated == was or above.parent is None:
                return
            above.on_change("cgroup.events")
            group = above

    @property
    def spent(self) -> Spent:
        """What tasks have spent here and below."""
        spent = Spent(0, 0, 0, 0)
        for group in self.subtree():
            spent = spent.plus(group._past)
            for task, since in group.tasks.items():
                spent = spent.plus(Spent(*task.spent).minus(since))
        return spent

    def keep_spent_of(self, child: Cgroup) -> None:
        """A child is removed, and what was spent there is not forgotten."""
        self._past = self._past.plus(child.spent)
