"""All namespaces: how they are made, counted and given up (kernel/nsproxy.c, kernel/ucount.c)."""

from __future__ import annotations

import copy
import errno
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from emu.kernel.nsproxy import NsProxy
from emu.kernel.rlimit import limits_of
from emu.linux.capability import ALL_CAPABILITIES, SETFCAP, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.limits import INFINITY, Rlimit
from emu.linux.namespace import (
    FIRST_NUMBER,
    KINDS,
    MOST_LEVELS,
    NEW_NAMESPACES,
    LateNamespace,
    Namespace,
    TimeNamespace,
    UserNamespace,
    UtsNamespace,
    is_inside,
)
from emu.linux.pidns import PidNamespace

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.vfs import Vfs
    from emu.ipc.namespace import IpcNamespace
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials
    from emu.net.namespace import NetNamespace

#: /proc/sys/user/max_*_namespaces: of the machine, and of a user namespace that nobody has limited further.
_MOST, _UNLIMITED = 2048, (1 << 31) - 1


class Namespaces:
    """All namespaces of a machine."""

    def __init__(
        self,
        hostname: str,
        tasks: Mapping[int, Task],
        *,
        ipc: Callable[[UserNamespace | None], LateNamespace[IpcNamespace]],
        net: Callable[[UserNamespace | None], LateNamespace[NetNamespace]],
        cgroup: Callable[[Task, UserNamespace | None], Namespace],
        vfs: Vfs,
        pid_in_use: Callable[[int], bool],
        begin: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        """``ipc``, ``net`` and ``cgroup`` make namespaces of these kinds; ``begin`` is
        called with the first of users or processes; ``tell`` says to the user, once, what is missing.
        """
        self.user, self.pid, self.mnt = Namespace("user"), Namespace("pid"), vfs.mount_ns
        uts, time = UtsNamespace(hostname, "(none)"), TimeNamespace()
        time.frozen = True
        self.initial = NsProxy(uts, ipc(None), self.mnt, net(None), Namespace("cgroup"), time, self.pid, time)
        self._tasks, self._vfs, self._tell = tasks, vfs, tell
        self._pid_in_use, self._begin = pid_in_use, begin
        #: Those besides the initial ones.
        self.others: dict[Namespace, None] = {}
        self._last = FIRST_NUMBER
        #: How many of a kind a user has made in a user namespace, and how many there may be.
        self._counts: Counter[tuple[UserNamespace | None, int, str]] = Counter()
        self._limits: dict[tuple[UserNamespace | None, str], int] = {(None, kind): _MOST for kind in KINDS}
        #: How many tasks are ending: meanwhile nothing is given up.
        self.leaving = 0
        #: Namespaces that something besides tasks keeps (files and mounts of nsfs).
        self.kept: Callable[[], set[Namespace]] = set
        #: Called with each that has ended.
        self.on_end: list[Callable[[Namespace], None]] = []
        self._makers: dict[str, Callable[[Task, UserNamespace | None], Namespace]] = {
            "uts": lambda task, user: UtsNamespace(task.ns.uts.hostname, task.ns.uts.domainname, user),
            "ipc": lambda task, user: ipc(user),
            "pid": self._new_pid_namespace,
            "mnt": lambda task, user: self._vfs.copy_tree(task.ns.mnt, user),
            "net": lambda task, user: net(user),
            "cgroup": cgroup,
            "time": lambda task, user: task.ns.time_for_children.another(user),
        }

    def of(self, task: Task, kind: str) -> Namespace:
        """The namespace of a kind that a task is in, or that its children will be in."""
        if kind == "user":
            return self.user if task.credentials.user_ns is None else task.credentials.user_ns
        if kind == "pid":
            return self.pid if task.pid_ns is None else task.pid_ns
        found: Namespace = getattr(task.ns, kind)
        return found

    def id_of(self, space: Namespace) -> int:
        """The number that no other namespace ever has (ns_id): small for the initial ones."""
        if space in self.others:
            return space.number - FIRST_NUMBER + len(KINDS)
        return 0xF0000000 - space.number

    # -- making ----------------------------------------------------------------------------------------------------

    def count(self, made: Namespace, who: Credentials) -> None:
        """A namespace exists from now on, by a user.  LinuxError(ENOSPC): there would be too many (inc_ucount)."""
        owner, uid = (made.parent, who.euid) if isinstance(made, UserNamespace) else (made.user, who.euid)
        assert owner is None or isinstance(owner, UserNamespace)
        for ns, user in self._payers(owner, uid):
            if self._counts[ns, user, made.kind] >= self.limit(ns, made.kind):
                raise LinuxError(errno.ENOSPC)
        for ns, user in self._payers(owner, uid):
            self._counts[ns, user, made.kind] += 1
        made.counted = owner, uid
        if made.kind in ("user", "pid"):
            self._begin()
        self._last += 1
        made.number = self._last
        self.others[made] = None

    def _payers(self, ns: UserNamespace | None, uid: int) -> list[tuple[UserNamespace | None, int]]:
        """For whom a namespace counts that a user makes: also for the makers of the user namespaces around."""
        payers = [(ns, uid)]
        while ns is not None:
            uid, ns = ns.owner, ns.parent
            payers.append((ns, uid))
        return payers

    def limit(self, ns: UserNamespace | None, kind: str) -> int:
        """How many namespaces of a kind a user may have in a user namespace."""
        return self._limits.get((ns, kind), _UNLIMITED)

    def set_limit(self, ns: UserNamespace | None, kind: str, value: int) -> None:
        """The same is set."""
        self._limits[ns, kind] = value

    def has_most_tasks(self, ns: UserNamespace | None, uid: int, limit: int) -> bool:
        """Whether a user has as many tasks in a user namespace as ``limit``, or its maker, or that of one around it, as
        many as he might have when he made it (is_rlimit_overlimit).
        """
        for space, user in self._payers(ns, uid):
            if limit < INFINITY and self.tasks_of(space, user) >= limit:
                return True
            limit = INFINITY if space is None else space.most_tasks
        return False

    def tasks_of(self, ns: UserNamespace | None, uid: int) -> int:
        """How many tasks count for a user in a user namespace: also those in namespaces that he has made."""
        found = 0
        for task in self._tasks.values():
            who = task.credentials
            found += (ns, uid) in self._payers(who.user_ns, who.uid) if who.user_ns or ns else who.uid == uid
        return found

    def new_user(self, task: Task) -> Credentials:
        """The credentials of the first task in a new user namespace: all capabilities, and no id (create_user_ns).

        LinuxError(ENOSPC): too deep, or too many; (EPERM): for who has no id, or is not in the root.
        """
        who = task.credentials
        if who.user_ns is not None and who.user_ns.level > MOST_LEVELS:
            raise LinuxError(errno.ENOSPC)
        made = UserNamespace(who.user_ns, (who.euid, who.egid), who.capable_here(SETFCAP))
        if who.user_ns is not None or who.uid:
            made.most_tasks = limits_of(task, Rlimit.NPROC)[0]
        self.count(made, who)
        if task.fs.root != self.root_of(task) or None in (who.up("uid", who.euid), who.up("gid", who.egid)):
            self.sweep()
            raise LinuxError(errno.EPERM)
        return with_user_ns(who, made)

    def root_of(self, task: Task) -> Path:
        """The root of the mount namespace of a task."""
        return self._vfs.mount_table.cross(task.ns.mnt.root.root_path)

    def new_proxy(self, task: Task, flags: int, who: Credentials) -> NsProxy:
        """The namespaces of a task with those of CLONE_NEW* made anew (create_new_namespaces).

        LinuxError(EPERM) without CAP_SYS_ADMIN; (ENOSPC).
        """
        self.check_admin(who)
        self.check_kinds(flags)
        made: dict[str, Namespace] = {}
        try:
            for kind, make in self._makers.items():
                if flags & KINDS[kind]:
                    space = make(task, who.user_ns)
                    self.count(space, who)
                    made[f"{kind}_for_children" if kind in ("pid", "time") else kind] = space
        except LinuxError:
            self.sweep()
            raise
        return task.ns.with_others(made)

    def _new_pid_namespace(self, task: Task, user: UserNamespace | None) -> PidNamespace:
        """create_pid_namespace().  LinuxError(EINVAL): its children are in another one already; (ENOSPC): too deep."""
        parent = task.pid_ns
        if task.ns.pid_for_children is not self.of(task, "pid"):
            raise LinuxError(errno.EINVAL)
        if not is_inside(user, self.of(task, "pid").user):
            raise LinuxError(errno.EINVAL)
        if parent is not None and parent.level >= MOST_LEVELS:
            raise LinuxError(errno.ENOSPC)
        return PidNamespace(parent, user, self._pid_in_use)

    def check_admin(self, who: Credentials) -> None:
        """LinuxError(EPERM) without CAP_SYS_ADMIN in one's own user namespace."""
        if not who.capable_here(SYS_ADMIN):
            raise LinuxError(errno.EPERM)

    def check_kinds(self, flags: int) -> None:
        """LinuxError(EINVAL) for a kind of namespaces that there is not."""
        known = sum(KINDS[kind] for kind in self._makers) | KINDS["user"]
        if flags & NEW_NAMESPACES & ~known:
            self._tell(f"namespaces of the kinds {flags & NEW_NAMESPACES & ~known:#x} are not there: EINVAL")
            raise LinuxError(errno.EINVAL)

    # -- their end -------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Give up the namespaces in which no task is and which nothing keeps."""
        if not self.others or self.leaving:
            return
        found: set[Namespace] = self.kept()
        for space in self.others:  # sockets keep their network
            if isinstance(space, LateNamespace) and space.kind == "net" and space.made and space.made.open:
                found.add(space)
        for task in self._tasks.values():
            if task.alive:
                found.update(task.ns)
            if task.pid_ns is not None:
                found.add(task.pid_ns)
            if task.credentials.user_ns is not None:
                found.add(task.credentials.user_ns)
        live: set[Namespace] = set()
        while found:
            space = found.pop()
            if space not in live:
                live.add(space)
                found.update(each for each in (space.user, space.parent) if each is not None)
        for space in [other for other in self.others if other not in live]:
            del self.others[space]
            assert space.counted is not None, "a namespace was not counted"
            for ns, user in self._payers(*space.counted):
                self._counts[ns, user, space.kind] -= 1
            space.release()
            for told in self.on_end:
                told(space)


def with_user_ns(who: Credentials, ns: UserNamespace | None) -> Credentials:
    """The credentials of who comes into a user namespace: all capabilities there (set_cred_user_ns)."""
    new = copy.copy(who)
    new.user_ns = ns
    new.permitted = new.effective = new.bounding = ALL_CAPABILITIES
    new.inheritable = new.ambient = new.securebits = 0
    return new
