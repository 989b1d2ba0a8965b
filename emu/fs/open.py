"""open(2): flags, creation, permission, truncation."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import File
from emu.fs.fileattr import APPEND
from emu.fs.lease import break_lease
from emu.fs.notify import Notice
from emu.fs.operations import check_may_create, inherit_acl, new_owner, truncate_path
from emu.linux.caller import MAY_TRUNCATE
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, MountFlags, OpenFlags

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.fs.namei import Last, PathWalk
    from emu.linux.caller import Caller

_CREAT = int(OpenFlags.CREAT)
_EXCL = int(OpenFlags.EXCL)
_TRUNC = int(OpenFlags.TRUNC)
_DIRECTORY = int(OpenFlags.DIRECTORY)
_NOFOLLOW = int(OpenFlags.NOFOLLOW)
_PATH = int(OpenFlags.PATH)
_TMPFILE = int(OpenFlags.TMPFILE) & ~_DIRECTORY
_WRITE = int(May.WRITE)
_OPEN = int(Notice.OPEN)
_NOATIME = int(OpenFlags.NOATIME)
_NONBLOCK = int(OpenFlags.NONBLOCK)
_APPEND = int(OpenFlags.APPEND)
_DIRECT = int(OpenFlags.DIRECT)
#: The access that each O_ACCMODE value asks for; 3 is "for ioctl only" and needs both.
_ACCESS = (int(May.READ), int(May.WRITE), int(May.READ | May.WRITE), int(May.READ | May.WRITE))


def open_file(walker: PathWalk, name: str, flags: int, mode: int = 0, start: Path | None = None) -> File:
    """Open ``name``; the new file has one reference. The caller still has to ``wait_open()`` (FIFOs)."""
    flags = check_open_flags(int(flags))
    if flags & _TMPFILE:
        return _open_tmpfile(walker, walker.resolve(name, start), flags, mode)
    if flags & _CREAT:
        path, created = _find_or_create(walker, name, flags, mode, start)
    else:
        path, created = walker.resolve(name, start, not flags & _NOFOLLOW), False
    return open_path(walker, path, flags, created)


def open_path(walker: PathWalk, path: Path, flags: int, created: bool = False) -> File:
    """Open a place that has been looked up. A file that this call created needs no permission and no truncation."""
    inode = path.dentry.inode
    if flags & _PATH:
        if flags & _DIRECTORY and not inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
        return File(path, flags)
    if flags & _DIRECTORY and not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    truncating = not created and bool(flags & _TRUNC) and inode.is_regular
    if not created:
        _may_open(walker, path, flags)
    domain = walker.who.landlock
    denied = 0 if domain is None else domain.check_open(path, flags)
    if walker.breaks_leases and not created:
        for listener in list(inode.sb.resources.fanotify):
            listener.ask(path, walker.answers)
        break_lease(inode, bool(flags & 3 or flags & _TRUNC), bool(flags & _NONBLOCK))
    if flags & _DIRECT and not inode.can_direct and not stat.S_ISCHR(inode.mode):
        raise LinuxError(errno.EINVAL)
    if inode.write_count < 0 and walker.caller is not None and (flags & 3 in (1, 2) or truncating):
        raise LinuxError(errno.ETXTBSY)
    file = inode.open(path, flags, walker.caller)
    _count_writer(file)
    if created:
        file.created = True
    if denied:
        file.landlock_denied = denied
    path.notify(_OPEN)
    if truncating:
        try:
            if denied & MAY_TRUNCATE:
                raise LinuxError(errno.EACCES)
            truncate_path(path, 0, walker.who)
        except BaseException:
            file.put()
            raise
    return file


def _count_writer(file: File) -> None:
    if file.writable and file.inode.is_regular and file.inode.write_count >= 0:
        file.has_write_access = True
        file.inode.write_count += 1


def check_open_flags(flags: int) -> int:
    """EINVAL for combinations that make no sense; O_PATH keeps only the flags that are allowed with it
    (build_open_flags).
    """
    if flags & _PATH:
        return flags & int(OpenFlags.DIRECTORY | OpenFlags.NOFOLLOW | OpenFlags.PATH | OpenFlags.CLOEXEC)
    if flags & _TMPFILE:
        if not flags & _DIRECTORY or flags & _CREAT or not flags & 3:
            raise LinuxError(errno.EINVAL)
    elif flags & _CREAT and flags & _DIRECTORY:
        raise LinuxError(errno.EINVAL)
    return flags


def _may_open(walker: PathWalk, path: Path, flags: int) -> None:
    inode = path.dentry.inode
    access = _ACCESS[flags & 3]
    if flags & _TRUNC:
        access |= _WRITE
    if inode.is_symlink:
        raise LinuxError(errno.ELOOP)
    if inode.is_directory:
        if access & _WRITE or flags & _CREAT:
            raise LinuxError(errno.EISDIR)
    elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
        if path.mount.flags & MountFlags.NODEV or path.mount.sb.user is not None:
            raise LinuxError(errno.EACCES)
    elif inode.is_regular and access & _WRITE:
        path.mount.want_write()
    inode.permission(access, walker.who)
    if inode.fs_flags & APPEND and (flags & _TRUNC or (flags & 3 and not flags & _APPEND)):
        raise LinuxError(errno.EPERM)
    if flags & _NOATIME and not walker.who.owns(inode.uid):
        raise LinuxError(errno.EPERM)


def _find_or_create(walker: PathWalk, name: str, flags: int, mode: int, start: Path | None) -> tuple[Path, bool]:
    """Follow symbolic links to the place where the file is or will be made."""
    while True:
        last = walker.resolve_last(name, start)
        if not last.normal:
            raise LinuxError(errno.EEXIST if flags & _EXCL else errno.EISDIR)
        if last.slash:
            raise LinuxError(errno.EISDIR)
        found = walker.lookup_or_none(last.parent, last.name)
        if found is None:
            return _create(walker, last, mode), True
        if flags & _EXCL:
            raise LinuxError(errno.EEXIST)
        if not found.dentry.inode.is_symlink or flags & _NOFOLLOW:
            return found, False
        target = walker.follow_link(found)
        if isinstance(target, Path):
            return target, False
        name, start = target, last.parent


def _create(walker: PathWalk, last: Last, mode: int) -> Path:
    parent = last.parent
    parent.mount.want_write()
    if walker.who.landlock is not None:
        walker.who.landlock.check_make(parent, stat.S_IFREG)
    check_may_create(walker, parent)
    inode = parent.dentry.inode.create(last.name, new_owner(walker, parent, mode))
    inherit_acl(parent, inode, mode)
    parent.dentry.inode.notify(Notice.CREATE, last.name)
    return Path(parent.mount, parent.dentry.child(last.name, inode))


def _open_tmpfile(walker: PathWalk, directory: Path, flags: int, mode: int) -> File:
    inode = directory.dentry.inode
    if not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    directory.mount.want_write()
    inode.permission(int(May.WRITE | May.EXEC), walker.who)
    domain = walker.who.landlock
    denied = 0 if domain is None else domain.check_open(directory, flags, is_file=True)
    made = inode.tmpfile(new_owner(walker, directory, mode))
    inherit_acl(directory, made, mode)
    made.linkable = not flags & _EXCL
    path = unnamed_path(directory.mount, made, f"/#{made.ino} (deleted)")
    file = open_unnamed(made, path, flags, walker.caller)
    file.landlock_denied = denied
    _count_writer(file)
    return file


def open_unnamed(inode: Inode, path: Path, flags: int, caller: Caller[Path] | None) -> File:
    """Open an inode that has no name: if that fails, nothing else will ever lead to it."""
    try:
        return inode.open(path, flags, caller)
    except LinuxError:
        inode.drop_if_unused()
        raise
