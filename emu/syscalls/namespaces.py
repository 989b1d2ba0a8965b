"""unshare and setns: coming into other namespaces (kernel/fork.c, kernel/nsproxy.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.mount import MountNamespace
from emu.kernel.creds import changed
from emu.kernel.fork import CloneFlags, enter_time_namespace
from emu.kernel.namespaces import with_user_ns
from emu.kernel.nsfs import NsFile
from emu.kernel.pidfd import PidFd
from emu.linux.argument import FD, Named
from emu.linux.caller import may_access
from emu.linux.capability import SYS_ADMIN, SYS_CHROOT
from emu.linux.errors import LinuxError
from emu.linux.namespace import KINDS, NEW_NAMESPACES, Namespace, UserNamespace
from emu.linux.pidns import PidNamespace
from emu.linux.syscall import Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.nsproxy import NsProxy
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials

_FOR_ONE_THREAD = int(CloneFlags.THREAD | CloneFlags.SIGHAND | CloneFlags.VM)
_UNSHARED = int(CloneFlags.FS | CloneFlags.FILES | CloneFlags.SYSVSEM) | _FOR_ONE_THREAD
_NEWUSER, _NEWNS = int(CloneFlags.NEWUSER), int(CloneFlags.NEWNS)


def _is_single(kernel: Kernel, task: Task) -> bool:
    """Whether nobody else uses the memory of a task (current_is_single_threaded)."""
    if len(task.group.threads) > 1:
        return False
    return all(other is task or other.mm is not task.mm for other in kernel.tasks.values() if other.alive)


def sys_unshare(kernel: Kernel, task: Task, flags: int) -> int:
    """unshare(2)."""
    if flags & ~(_UNSHARED | NEW_NAMESPACES):
        raise LinuxError(errno.EINVAL)
    if flags & (_FOR_ONE_THREAD | _NEWUSER) and len(task.group.threads) > 1:
        raise LinuxError(errno.EINVAL)
    if flags & CloneFlags.VM and not _is_single(kernel, task):
        raise LinuxError(errno.EINVAL)
    spaces = flags & NEW_NAMESPACES
    who, ns = task.credentials, task.ns
    if spaces:
        try:
            who = kernel.namespaces.new_user(task) if spaces & _NEWUSER else who
            ns = kernel.namespaces.new_proxy(task, spaces, who) if spaces & ~_NEWUSER else ns
        except LinuxError:
            kernel.namespaces.sweep()
            raise
    if flags & (CloneFlags.SYSVSEM | CloneFlags.NEWIPC) and len(task.group.threads) == 1:
        kernel.ipc.sem.exit(task.tgid)
    if flags & CloneFlags.FS or spaces & (_NEWUSER | _NEWNS):
        task.fs = task.fs.copy()
    if flags & CloneFlags.FILES:
        task.files = task.files.unshare()
    if ns.mnt is not task.ns.mnt:
        ns.mnt.adopt(task.fs)
    _enter(kernel, task, who, ns)
    return 0


def _enter(kernel: Kernel, task: Task, who: Credentials, ns: NsProxy) -> None:
    """A task comes into other namespaces."""
    old, task.credentials, task.ns = task.credentials, who, ns
    if who is not old:
        changed(task, old)
    kernel.namespaces.sweep()


# setns


def sys_setns(kernel: Kernel, task: Task, fd: int, flags: int) -> int:
    """setns(2): one namespace, or with the descriptor of a process several of its."""
    file = task.files.get(fd)
    if isinstance(file, NsFile):
        space = file.inode.space
        if flags and flags != KINDS[space.kind]:
            raise LinuxError(errno.EINVAL)
        wanted = {space.kind: space}
    elif isinstance(file, PidFd):
        if not flags or flags & ~NEW_NAMESPACES:
            raise LinuxError(errno.EINVAL)
        wanted = _of_process(kernel, task, file, flags)
    else:
        raise LinuxError(errno.EINVAL)
    entering = _Entering(kernel, task)
    for kind in KINDS:
        if kind in wanted:
            entering.enter(wanted[kind])
    entering.commit()
    return 0


def _of_process(kernel: Kernel, task: Task, file: PidFd, flags: int) -> dict[str, Namespace]:
    """The namespaces of a process of the kinds ``flags``.  LinuxError(ESRCH, EPERM)."""
    target = file.target
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    if not may_access(task, target):
        raise LinuxError(errno.EPERM)
    return {kind: kernel.namespaces.of(target, kind) for kind, flag in KINDS.items() if flags & flag}


class _Entering:
    """What a task will have once it has come into all that it wants to (struct nsset)."""

    def __init__(self, kernel: Kernel, task: Task) -> None:
        self._kernel, self._task = kernel, task
        self._who, self._ns = task.credentials, task.ns

    def enter(self, space: Namespace) -> None:
        """One namespace more.  LinuxError(EPERM, EINVAL, EUSERS)."""
        if space.kind == "user":
            self._enter_user(space)
            return
        if not self._task.credentials.capable_in(SYS_ADMIN, space.user) or not self._who.capable_here(SYS_ADMIN):
            raise LinuxError(errno.EPERM)
        if space.kind == "pid":
            self._enter_pid(space)
            return
        if isinstance(space, MountNamespace):
            self._check_mnt()
        if space.kind == "time" and not _is_single(self._kernel, self._task):
            raise LinuxError(errno.EUSERS)
        self._ns = self._ns.with_others({space.kind: space})

    def _check_mnt(self) -> None:
        """mntns_install()."""
        if not self._who.capable_here(SYS_CHROOT):
            raise LinuxError(errno.EPERM)
        if self._shares_directory():
            raise LinuxError(errno.EINVAL)

    def _enter_pid(self, space: Namespace) -> None:
        """pidns_install(): its children will be there, which must be in or below its own."""
        mine = self._task.pid_ns
        if mine is not None and not (isinstance(space, PidNamespace) and mine in space.around):
            raise LinuxError(errno.EINVAL)
        self._ns = self._ns.with_others({"pid_for_children": space})

    def _enter_user(self, space: Namespace) -> None:
        """userns_install()."""
        target = space if isinstance(space, UserNamespace) else None
        who = self._task.credentials
        if target is who.user_ns or len(self._task.group.threads) > 1 or self._shares_directory():
            raise LinuxError(errno.EINVAL)
        if not who.capable_in(SYS_ADMIN, target):
            raise LinuxError(errno.EPERM)
        self._who = with_user_ns(who, target)

    def _shares_directory(self) -> bool:
        task = self._task
        return any(other.fs is task.fs for other in self._kernel.tasks.values() if other is not task and other.alive)

    def commit(self) -> None:
        """It is in them."""
        if self._ns.mnt is not self._task.ns.mnt:
            fs, root = self._task.fs, self._kernel.vfs.mount_table.cross(self._ns.mnt.root.root_path)
            fs.root = fs.cwd = root
        if self._ns.time is not self._task.ns.time:
            enter_time_namespace(self._kernel, self._task, self._ns.time)
            self._ns = self._ns.with_others({"time_for_children": self._ns.time})
        _enter(self._kernel, self._task, self._who, self._ns)


TABLE = (
    Syscall(272, "unshare", sys_unshare, (Named(CloneFlags),)),
    Syscall(308, "setns", sys_setns, (FD, Named(CloneFlags))),
)
