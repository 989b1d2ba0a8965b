"""fanotify_init and fanotify_mark (fs/notify/fanotify/fanotify_user.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs import handle
from emu.fs.fanotify import FID_BITS, REPORT_DIR_FID, REPORT_NAME, REPORT_PIDFD, REPORT_TID, Fan, Fanotify, Mark, Reader
from emu.fs.fanotify import SilentPath as Silent
from emu.linux.argument import DIRFD, FD, U64, Bits, Named, Scalar
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, OpenFlags
from emu.linux.layout import LATE_PATH, PATHNAME
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.syscalls.paths import at_path, start_of
from emu.syscalls.pidfd import sys_pidfd_open

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_CLOEXEC, _NONBLOCK, _CLASSES, _UNLIMITED, _AUDIT = 1, 2, 0xC, 0x30, 0x40
#: What an unprivileged group cannot have (FANOTIFY_ADMIN_INIT_FLAGS); what is known, and what is not here.
_OF_ADMIN = _CLASSES | _UNLIMITED | _AUDIT | REPORT_PIDFD | REPORT_TID | 0x2000
_INIT_KNOWN, _TARGET_FID, _FD_ERROR, _MNT = 0x7FFF, 0x1000, 0x2000, 0x4000
_FID_KNOWN = FID_BITS | _TARGET_FID
#: Flags of open(2) for the descriptors of events.
_EVENT_FLAGS = int(OpenFlags.ACCMODE | OpenFlags.APPEND | OpenFlags.NONBLOCK | OpenFlags.SYNC | OpenFlags.DSYNC)
_EVENT_FLAGS |= int(OpenFlags.LARGEFILE | OpenFlags.NOATIME | OpenFlags.CLOEXEC)
#: FAN_MARK_*.
_ADD, _REMOVE, _DONT_FOLLOW, _ONLYDIR, _MOUNT, _IGNORED_MASK, _SURVIVES, _FLUSH, _SB, _EVICTABLE, _IGNORE = (
    1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400,
)  # fmt: skip
_MARK_KNOWN = 0x7FF
_KINDS = {0: "inode", _MOUNT: "mount", _SB: "sb"}
_EVENTS, _PERMISSIONS, _RENAME, _FS_ERROR = 0x1FFF, 0x70000, 0x10000000, 0x8000
_BY_DESCRIPTOR = int(Fan.ACCESS | Fan.MODIFY | Fan.CLOSE_WRITE | Fan.CLOSE_NOWRITE | Fan.OPEN | Fan.OPEN_EXEC)
_EVENT_BITS = int(Fan.ONDIR | Fan.EVENT_ON_CHILD)


def _check_init(kernel: Kernel, task: Task, flags: int, event_flags: int) -> None:
    """LinuxError(EPERM, EINVAL)."""
    if not task.credentials.capable(SYS_ADMIN) and (flags & _OF_ADMIN or not flags & (_FID_KNOWN | _MNT)):
        raise LinuxError(errno.EPERM)
    if flags & ~_INIT_KNOWN or flags & (REPORT_PIDFD | REPORT_TID) == REPORT_PIDFD | REPORT_TID:
        raise LinuxError(errno.EINVAL)
    if event_flags & ~_EVENT_FLAGS or event_flags & 3 == 3 or flags & _CLASSES == _CLASSES:
        raise LinuxError(errno.EINVAL)
    fid = flags & _FID_KNOWN
    if fid and (flags & _CLASSES or flags & _MNT):
        raise LinuxError(errno.EINVAL)
    if fid & REPORT_NAME and not fid & REPORT_DIR_FID:
        raise LinuxError(errno.EINVAL)
    if flags & (_TARGET_FID | _MNT):
        if not flags & _TARGET_FID or fid & (REPORT_NAME | 0x200) == REPORT_NAME | 0x200:
            kernel.log_once("fanotify_init: FAN_REPORT_TARGET_FID and FAN_REPORT_MNT are not supported: EINVAL")
        raise LinuxError(errno.EINVAL)


def sys_fanotify_init(kernel: Kernel, task: Task, flags: int, event_flags: int) -> int:
    """fanotify_init(2); of permission events there is FAN_OPEN_PERM, which execve(2) does not ask."""
    _check_init(kernel, task, flags, event_flags)
    task.files.check_room()
    nonblocking = int(OpenFlags.NONBLOCK) if flags & _NONBLOCK else 0
    reader = Reader(
        lambda: (0, 0) if kernel.current is None else (kernel.current.tgid, kernel.current.pid),
        lambda pid: pid if kernel.current is None else kernel.current.sees(pid),
        lambda path: _open_event(_current(kernel), path, event_flags),
        lambda pid: _pidfd(kernel, pid),
    )
    file = Fanotify(kernel.vfs.anon_inode("[fanotify]"), nonblocking, flags, reader)
    file.unprivileged = not task.credentials.capable(SYS_ADMIN)
    return task.files.open(file, bool(flags & _CLOEXEC))


def _current(kernel: Kernel) -> Task:
    """Who reads.  LinuxError(EBADF) between two turns, where nobody has descriptors."""
    if kernel.current is None:
        raise LinuxError(errno.EBADF)
    return kernel.current


def _open_event(task: Task, path: Path, flags: int) -> int:
    """A descriptor of what an event is about (create_fd)."""
    task.files.check_room()
    file = path.dentry.inode.open(Silent(*path), flags, task)
    return task.files.open(file, bool(flags & OpenFlags.CLOEXEC))


def _pidfd(kernel: Kernel, pid: int) -> int:
    """A pidfd, FAN_NOPIDFD for a process that has ended, or FAN_EPIDFD."""
    try:
        return sys_pidfd_open(kernel, _current(kernel), pid, 0)
    except LinuxError as error:
        return -1 if error.errno in (errno.ESRCH, errno.EINVAL) else -2


def _check_mark(flags: int, mask: int) -> tuple[int, str]:
    """The command and the kind of object.  LinuxError(EINVAL)."""
    if mask >> 32 or flags & ~_MARK_KNOWN:
        raise LinuxError(errno.EINVAL)
    kind = _KINDS.get(flags & (_MOUNT | _SB))
    command = flags & (_ADD | _REMOVE | _FLUSH)
    if kind is None or command not in (_ADD, _REMOVE, _FLUSH):
        raise LinuxError(errno.EINVAL)
    if command == _FLUSH:
        if flags & ~(_MOUNT | _SB | _FLUSH):
            raise LinuxError(errno.EINVAL)
        return command, kind
    known = _EVENTS | _PERMISSIONS | _RENAME | _FS_ERROR | _EVENT_BITS
    if not mask or mask & ~known or flags & (_IGNORE | _IGNORED_MASK) == _IGNORE | _IGNORED_MASK:
        raise LinuxError(errno.EINVAL)
    return command, kind


def _check_group(kernel: Kernel, task: Task, group: Fanotify, flags: int, mask: int, kind: str) -> None:
    """Whether a group may have such a mark.  LinuxError(EPERM, EINVAL)."""
    if (group.unprivileged or not task.credentials.capable(SYS_ADMIN)) and kind != "inode":
        raise LinuxError(errno.EPERM)
    if mask & _PERMISSIONS and not group.report & _CLASSES:
        raise LinuxError(errno.EINVAL)
    if mask & _FS_ERROR and kind != "sb":
        raise LinuxError(errno.EINVAL)
    if flags & _EVICTABLE and kind != "inode":
        raise LinuxError(errno.EINVAL)
    fid = group.report & FID_BITS
    if mask & ~(_BY_DESCRIPTOR | _PERMISSIONS | _EVENT_BITS) and (not fid or kind == "mount"):
        raise LinuxError(errno.EINVAL)
    if mask & _RENAME and not fid & REPORT_NAME:
        raise LinuxError(errno.EINVAL)
    if mask & (_RENAME | _FS_ERROR) or mask & _PERMISSIONS & ~int(Fan.OPEN_PERM):
        kernel.log_once("fanotify_mark: FAN_RENAME, FAN_FS_ERROR and other permissions than to open: EINVAL")
        raise LinuxError(errno.EINVAL)


def _place(kernel: Kernel, task: Task, flags: int, dirfd: int, address: int) -> Path:
    """fanotify_find_path().  LinuxError(ENOTDIR, EACCES)."""
    if address:
        walker, name, start = at_path(kernel, task, dirfd, PATHNAME.read(task.mm, address))
        place = walker.resolve(name, start, not flags & _DONT_FOLLOW)
    else:
        place = start_of(task, dirfd) or task.fs.cwd
    if flags & _ONLYDIR and not place.inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    place.inode.permission(int(May.READ), task.credentials)
    return place


def sys_fanotify_mark(kernel: Kernel, task: Task, fd: int, flags: int, mask: int, dirfd: int, path: int) -> int:
    """fanotify_mark(2)."""
    command, kind = _check_mark(flags, mask)
    if flags & _IGNORED_MASK:
        mask &= ~_EVENT_BITS
    group = task.files.get(fd)
    if not isinstance(group, Fanotify):
        raise LinuxError(errno.EINVAL)
    _check_group(kernel, task, group, flags, mask, kind)
    if command == _FLUSH:
        group.flush_marks(kind)
        return 0
    place = _place(kernel, task, flags, dirfd, path)
    inode = place.dentry.inode
    if command == _ADD and kind != "inode" and place.mount.internal:
        raise LinuxError(errno.EINVAL)
    if group.report & FID_BITS and command == _ADD:
        handle.encode(inode, identify_only=True)
    if flags & _IGNORE and command == _ADD and not flags & _SURVIVES:
        if kind != "inode" or inode.is_directory:
            raise LinuxError(errno.EINVAL if kind != "inode" else errno.EISDIR)
    if flags & _IGNORE and not inode.is_directory and kind == "inode" and mask & _EVENT_BITS:
        raise LinuxError(errno.ENOTDIR)
    if kind != "inode" or not inode.is_directory:
        mask &= ~int(Fan.EVENT_ON_CHILD)
    target = {"inode": inode, "mount": place.mount, "sb": inode.sb}[kind]
    _change(group, command, kind, target, place, flags, mask)
    return 0


def _change(group: Fanotify, command: int, kind: str, target: object, place: Path, flags: int, mask: int) -> None:
    mark = group.mark(kind, target, place) if command == _ADD else group.find(kind, target)
    if flags & (_IGNORE | _IGNORED_MASK):
        _change_ignored(mark, command, flags, mask)
    elif command == _ADD:
        mark.mask |= mask
    else:
        mark.mask &= ~mask
        mark.mask = mark.mask if mark.mask & ~_EVENT_BITS else 0
    group.tidy(kind, target)


def _change_ignored(mark: Mark, command: int, flags: int, mask: int) -> None:
    """LinuxError(EEXIST): it ignores in the other way."""
    if command == _REMOVE:
        mark.ignored &= ~mask
        return
    if mark.ignored and mark.strict != bool(flags & _IGNORE):
        raise LinuxError(errno.EEXIST)
    mark.ignored |= mask
    mark.strict = bool(flags & _IGNORE)
    mark.survives = mark.survives or bool(flags & _SURVIVES)


_INIT_FLAGS = Bits(
    "FAN_", CLOEXEC=_CLOEXEC, NONBLOCK=_NONBLOCK, CLASS_CONTENT=4, CLASS_PRE_CONTENT=8, UNLIMITED_QUEUE=0x10,
    UNLIMITED_MARKS=0x20, ENABLE_AUDIT=_AUDIT, REPORT_PIDFD=REPORT_PIDFD, REPORT_TID=REPORT_TID, REPORT_FID=0x200,
    REPORT_DIR_FID=REPORT_DIR_FID, REPORT_NAME=REPORT_NAME, REPORT_TARGET_FID=_TARGET_FID, REPORT_FD_ERROR=_FD_ERROR,
    zero="FAN_CLASS_NOTIF",
)  # fmt: skip
_MARK_FLAGS = Bits(
    "FAN_MARK_", ADD=_ADD, REMOVE=_REMOVE, DONT_FOLLOW=_DONT_FOLLOW, ONLYDIR=_ONLYDIR, MOUNT=_MOUNT,
    IGNORED_MASK=_IGNORED_MASK, IGNORED_SURV_MODIFY=_SURVIVES, FLUSH=_FLUSH, FILESYSTEM=_SB, EVICTABLE=_EVICTABLE,
    IGNORE=_IGNORE,
)  # fmt: skip
_OPEN = Scalar("O_*", Named(OpenFlags).width, OpenFlags.words)

TABLE = (
    Syscall(300, "fanotify_init", sys_fanotify_init, (_INIT_FLAGS, _OPEN), DESCRIPTOR),
    Syscall(301, "fanotify_mark", sys_fanotify_mark, (FD, _MARK_FLAGS, Named(Fan, U64), DIRFD, LATE_PATH)),
)
