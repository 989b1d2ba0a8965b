"""Namespaces: what a process sees of the machine, and user namespaces, in which its ids and rights count
(namespaces(7), user_namespaces(7), kernel/user_namespace.c).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from emu.linux.capability import ALL_CAPABILITIES
from emu.linux.errors import LinuxError
from emu.linux.limits import INFINITY

#: CLONE_NEW* of each kind, in the order in which setns(2) enters several.
KINDS = {
    "user": 0x10000000, "mnt": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000, "cgroup": 0x2000000,
    "net": 0x40000000, "time": 0x80,
}  # fmt: skip
#: All of them.
NEW_NAMESPACES = sum(KINDS.values())
#: The inode numbers of the initial namespaces (PROC_*_INIT_INO), and the first of others.
INITIAL_NUMBERS = {
    "ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE, "user": 0xEFFFFFFD, "pid": 0xEFFFFFFC, "cgroup": 0xEFFFFFFB,
    "time": 0xEFFFFFFA, "net": 0xEFFFFFF9, "mnt": 0xEFFFFFF8,
}  # fmt: skip
FIRST_NUMBER = 0xF0000080
#: How deep namespaces of users and of processes may be inside each other.
MOST_LEVELS = 32
#: What an id is shown as that a namespace does not have (fs.overflowuid), and no id at all.
OVERFLOW_ID, NO_ID = 65534, 0xFFFF_FFFF
_MOST_EXTENTS, _PAGE = 340, 4096
#: CLOCK_MONOTONIC, _RAW and _COARSE; CLOCK_BOOTTIME and _ALARM.
_MONOTONICS, _BOOTTIMES = frozenset({1, 4, 6}), frozenset({7, 9})

T = TypeVar("T")


class Namespace:
    """A namespace of a kind; ``user`` is the user namespace that owns it, None being the initial one."""

    #: That of which it is part (user, pid).
    parent: Namespace | None = None

    def __init__(self, kind: str, user: UserNamespace | None = None, number: int = 0) -> None:
        self.kind = kind
        self.user = user
        #: Its inode number: that of the initial one, until it is counted among the others.
        self.number = number or INITIAL_NUMBERS[kind]
        #: The user who counts for it (/proc/sys/user).
        self.counted: tuple[UserNamespace | None, int] | None = None

    @property
    def is_initial(self) -> bool:
        """Whether it is the first of its kind."""
        return self.number == INITIAL_NUMBERS[self.kind]

    def release(self) -> None:
        """Nobody is in it, or can come into it, any more."""

    def __repr__(self) -> str:
        return f"{self.kind}:[{self.number}]"


class LateNamespace(Namespace, Generic[T]):
    """A namespace whose ``content`` is made for the first who asks."""

    def __init__(
        self, kind: str, make: Callable[[], T], user: UserNamespace | None = None,
        end: Callable[[T], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kind, user)
        self._make = make
        self._end = end
        self._content: T | None = None

    @property
    def content(self) -> T:
        """What there is in it."""
        if self._content is None:
            self._content = self._make()
        return self._content

    @property
    def made(self) -> T | None:
        """The same if somebody has asked."""
        return self._content

    def release(self) -> None:
        if self._content is not None and self._end is not None:
            self._end(self._content)


#: The bytes of a host name or a domain name (__NEW_UTS_LEN).
HOST_NAME_MAX = 64


class UtsNamespace(Namespace):
    """The names of the machine."""

    def __init__(self, hostname: str, domainname: str, user: UserNamespace | None = None) -> None:
        super().__init__("uts", user)
        self.hostname, self.domainname = hostname, domainname


class TimeNamespace(Namespace):
    """What CLOCK_MONOTONIC and CLOCK_BOOTTIME are ahead, in ns; it can be set until a task is in it."""

    def __init__(self, monotonic: int = 0, boottime: int = 0, user: UserNamespace | None = None) -> None:
        super().__init__("time", user)
        self.monotonic, self.boottime = monotonic, boottime
        self.frozen = False

    def another(self, user: UserNamespace | None) -> TimeNamespace:
        """A new one that begins like this one."""
        return TimeNamespace(self.monotonic, self.boottime, user)

    def ahead(self, clock: int) -> int:
        """What a clock is ahead here."""
        return self.boottime if clock in _BOOTTIMES else self.monotonic if clock in _MONOTONICS else 0

    def to_machine(self, clock: int, ns: int) -> int:
        """The machine's time for one that is given here (timens_ktime_to_host)."""
        ahead = self.ahead(clock)
        return max(0, ns - ahead) if ahead else ns


# User namespaces


class Extent(NamedTuple):
    """A range of ids: the first, that of the machine which it stands for, and how many."""

    first: int
    lower: int
    size: int


class IdMap:
    """The ids that a user namespace has, each for one of the machine's."""

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self.extents = tuple(extents)

    def down(self, number: int, count: int = 1) -> int | None:
        """The machine's id (make_kuid); None if there is none for each of so many."""
        for first, lower, size in self.extents:
            if first <= number and number + count <= first + size:
                return lower + number - first
        return None

    def up(self, number: int) -> int | None:
        """The id of one of the machine's (from_kuid)."""
        for first, lower, size in self.extents:
            if lower <= number < lower + size:
                return first + number - lower
        return None


class UserNamespace(Namespace):
    """A user namespace besides the initial one.  ``owner``: the machine's user and group who made it."""

    parent: UserNamespace | None

    def __init__(self, parent: UserNamespace | None, owner: tuple[int, int], could_setfcap: bool) -> None:
        super().__init__("user", parent)
        self.parent = parent
        self.level: int = 1 if parent is None else parent.level + 1
        self.owner, self.group = owner
        self.maps = {"uid": IdMap(), "gid": IdMap(), "projid": IdMap()}
        #: Whether groups may be set there once it has groups (/proc/PID/setgroups).
        self.setgroups_allowed: bool = parent is None or parent.setgroups_allowed
        #: How many tasks its maker might have (RLIMIT_NPROC).
        self.most_tasks: int = INFINITY
        #: Whether its maker had CAP_SETFCAP.
        self.could_setfcap = could_setfcap


def parse_map(data: bytes) -> list[Extent]:
    """What is written to uid_map, the second id of each line being the parent's.  LinuxError(EINVAL)."""
    if not data or len(data) >= _PAGE:
        raise LinuxError(errno.EINVAL)
    lines = data.split(b"\0")[0].split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not 0 < len(lines) <= _MOST_EXTENTS:
        raise LinuxError(errno.EINVAL)
    extents = [_parse_extent(line) for line in lines]
    for index, one in enumerate(extents):
        for other in extents[:index]:
            if _overlap(one.first, one.size, other.first, other.size) or _overlap(
                one.lower, one.size, other.lower, other.size
            ):
                raise LinuxError(errno.EINVAL)
    return extents


def _parse_extent(line: bytes) -> Extent:
    words = line.split()
    if len(words) != 3 or not all(word.isdigit() for word in words):
        raise LinuxError(errno.EINVAL)
    extent = Extent(*(int(word) for word in words))
    if max(extent) > NO_ID or NO_ID in extent[:2] or not extent.size:
        raise LinuxError(errno.EINVAL)
    if max(extent.first, extent.lower) + extent.size > NO_ID + 1:
        raise LinuxError(errno.EINVAL)
    return extent


def _overlap(one: int, count: int, other: int, number: int) -> bool:
    return one < other + number and other < one + count


def is_inside(inner: UserNamespace | None, outer: UserNamespace | None) -> bool:
    """Whether a user namespace is another, or inside it (in_userns)."""
    if outer is None:
        return True
    while inner is not None and inner is not outer:
        inner = inner.parent
    return inner is outer


def rights_in(effective: int, mine: UserNamespace | None, euid: int, target: UserNamespace | None) -> int:
    """The capabilities that somebody with these ``effective`` ones in a user namespace, ``mine``, has in another: the
    same in those inside, and all in one that the user has made from here (cap_capable).
    """
    while target is not mine:
        if target is None:
            return 0
        if target.parent is mine and target.owner == euid:
            return ALL_CAPABILITIES
        target = target.parent
    return effective
