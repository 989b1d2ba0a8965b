"""inotify_init, inotify_add_watch, inotify_rm_watch."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.inotify import Inotify
from emu.fs.notify import Notice
from emu.linux.argument import FD, INT, Bits, Named
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, OpenFlags
from emu.linux.layout import LATE_PATH, PATHNAME
from emu.linux.syscall import DESCRIPTOR, NUMBER, Syscall
from emu.syscalls.paths import resolve

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_KNOWN = sum(int(flag) for flag in Notice)


def sys_inotify_init1(kernel: Kernel, task: Task, flags: int) -> int:
    """inotify_init(2)."""
    if flags & ~(_CLOEXEC | _NONBLOCK):
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    return task.files.open(Inotify(kernel.vfs.anon_inode("inotify"), flags & _NONBLOCK), bool(flags & _CLOEXEC))


def sys_inotify_init(kernel: Kernel, task: Task) -> int:
    """inotify_init(2)."""
    return sys_inotify_init1(kernel, task, 0)


def _instance(task: Task, fd: int) -> Inotify:
    file = task.files.get(fd)
    if not isinstance(file, Inotify):
        raise LinuxError(errno.EINVAL)
    return file


def sys_inotify_add_watch(kernel: Kernel, task: Task, fd: int, address: int, mask: int) -> int:
    """inotify_add_watch(2)."""
    if mask & ~_KNOWN or not mask:
        raise LinuxError(errno.EINVAL)
    task.files.get(fd)
    if mask & Notice.MASK_ADD and mask & Notice.MASK_CREATE:
        raise LinuxError(errno.EINVAL)
    instance = _instance(task, fd)
    walker, path = resolve(kernel, task, PATHNAME.read(task.mm, address), not mask & Notice.DONT_FOLLOW)
    inode = path.dentry.inode
    if mask & Notice.ONLYDIR and not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    inode.permission(int(May.READ), walker.who)
    return instance.add(path, mask)


def sys_inotify_rm_watch(kernel: Kernel, task: Task, fd: int, wd: int) -> int:
    """inotify_rm_watch(2)."""
    _instance(task, fd).remove(wd)
    return 0


_FLAGS = Bits("IN_", NONBLOCK=_NONBLOCK, CLOEXEC=_CLOEXEC)

TABLE = (
    Syscall(253, "inotify_init", sys_inotify_init, (), DESCRIPTOR),
    Syscall(254, "inotify_add_watch", sys_inotify_add_watch, (FD, LATE_PATH, Named(Notice)), NUMBER),
    Syscall(255, "inotify_rm_watch", sys_inotify_rm_watch, (FD, INT)),
    Syscall(294, "inotify_init1", sys_inotify_init1, (_FLAGS,), DESCRIPTOR),
)
