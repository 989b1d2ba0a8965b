"""pidfd: a descriptor of a process, or of one of its threads (fs/pidfs.c)."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.dentry import unnamed_path
from emu.fs.file import File
from emu.fs.inode import Attributes, Inode, Stat
from emu.fs.libfs import PseudoFsType
from emu.kernel.pidns import numbers
from emu.kernel.task import task_of
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import FILP, INODE

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.superblock import SuperBlock
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.linux.namespace import Namespace

PID_FS_MAGIC = 0x50494446
_ENDED = int(PollEvents.IN | PollEvents.RDNORM)
_REAPED = _ENDED | int(PollEvents.HUP)
#: _IO(PIDFS_IOCTL_MAGIC, 0), and the kinds of namespaces from the next number on.
_GET_NAMESPACE = 0xFF00
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts")
#: O_EXCL of open(2), which a descriptor of a thread keeps.
PIDFD_THREAD = int(OpenFlags.EXCL)


class PidFd(File):
    """The descriptor: it is readable when the process (``thread``: the thread) has ended."""

    inode: PidInode
    struct_size = FILP + INODE

    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(path, flags | OpenFlags.RDWR)
        self.thread = bool(flags & PIDFD_THREAD)

    @property
    def target(self) -> Task | None:
        """The thread, or the leader of the process; None if it has been waited for."""
        task = self.inode.task if self.thread else self.inode.task.group.leader
        return None if task.gone else task

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        raise LinuxError(errno.EOPNOTSUPP)

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        """PIDFD_GET_*_NAMESPACE: a descriptor of one of its.  LinuxError(ENOTTY, EINVAL, ESRCH, EACCES)."""
        if not 0 < command - _GET_NAMESPACE <= len(_NAMESPACES):
            raise LinuxError(errno.ENOTTY)
        from emu.kernel.nsfs import open_namespace  # few programs ask

        target, reader, kernel = self.target, task_of(caller), self.inode.kernel
        if target is None or not target.alive:
            raise LinuxError(errno.ESRCH)
        if argument:
            raise LinuxError(errno.EINVAL)
        if not may_access(reader, target):
            raise LinuxError(errno.EACCES)
        reader.files.check_room()
        space = kernel.namespaces.of(target, _NAMESPACES[command - _GET_NAMESPACE - 1])
        return reader.files.open(open_namespace(kernel, space), cloexec=True)

    @property
    def pollable(self) -> bool:
        return True

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        task = self.target
        if task is None:
            return _REAPED, ()
        watched = task if self.thread else task.group  # whose leader may be another thread one day (execve)
        if watched.end_watchers is None:
            watched.end_watchers = WaitQueue()
        return 0 if watched.alive else _ENDED, (watched.end_watchers,)

    def show_numbers(self, space: Namespace | None) -> str:
        """Its lines in a /proc of a PID namespace (pidfd_show_fdinfo)."""
        target = self.target
        inside = [-1] if target is None else numbers(target, target.pid, space)
        return f"Pid:\t{inside[0]}\nNSpid:\t" + "\t".join(map(str, inside)) + "\n"


class PidInode(Inode):
    """The inode, which stands for the task that it is bound to."""

    task: Task

    def __init__(self, sb: SuperBlock, kernel: Kernel) -> None:
        super().__init__(sb, stat.S_IFREG | 0o700, ino=0)
        self.kernel = kernel

    def bind(self, task: Task) -> None:
        """From now on it stands for this task."""
        self.task = task
        self.ino = task.pid

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return PidFd(path, flags)

    def getattr(self) -> Stat:
        """Programs see no type (anon_inode_getattr)."""
        return super().getattr()._replace(mode=stat.S_IMODE(self.mode))

    def setattr(self, change: Attributes) -> None:
        raise LinuxError(errno.EOPNOTSUPP)


def new_pidfd(kernel: Kernel, flags: int) -> PidFd:
    """A descriptor whose inode is yet to be bound (pidfd_prepare): of a process, or with PIDFD_THREAD of a thread."""
    mount = kernel.vfs.internal_mount(PseudoFsType("pidfs", PID_FS_MAGIC))
    file = PidFd(unnamed_path(mount, PidInode(mount.sb, kernel), "anon_inode:[pidfd]"), flags)
    file.flags |= flags & PIDFD_THREAD
    return file
