"""Flags of inodes that chattr(1) sets: immutable, append-only and others (fs/file_attr.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.capability import LINUX_IMMUTABLE
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.inode import Inode
    from emu.linux.caller import Credentials


#: FS_*_FL, those that tmpfs knows (SHMEM_FL_USER_MODIFIABLE).
IMMUTABLE, APPEND, _NODUMP, _NOATIME = 0x10, 0x20, 0x40, 0x80
_KNOWN = IMMUTABLE | APPEND | _NODUMP | _NOATIME
#: The same in struct fsxattr and struct file_attr (FS_XFLAG_*).
_XFLAGS = {IMMUTABLE: 0x8, APPEND: 0x10, _NODUMP: 0x80, _NOATIME: 0x40}


def get_flags(inode: Inode) -> int:
    """FS_IOC_GETFLAGS.  LinuxError(ENOTTY)."""
    if not inode.sb.keeps_flags or not (inode.is_regular or inode.is_directory):
        raise LinuxError(errno.ENOTTY)
    return inode.fs_flags


def set_flags(path: Path, flags: int, who: Credentials) -> None:
    """FS_IOC_SETFLAGS.  LinuxError(ENOTTY, EROFS, EPERM, EOPNOTSUPP)."""
    inode = path.inode
    before = get_flags(inode)
    path.mount.want_write()
    if not who.owns(inode.uid):
        raise LinuxError(errno.EPERM)
    if (before ^ flags) & (IMMUTABLE | APPEND) and not who.capable(LINUX_IMMUTABLE):
        raise LinuxError(errno.EPERM)
    if flags & ~_KNOWN:
        raise LinuxError(errno.EOPNOTSUPP)
    inode.fs_flags = flags
    inode.ctime = inode.sb.now()


def as_xflags(flags: int) -> int:
    """The flags as FS_XFLAG_*."""
    return sum(xflag for flag, xflag in _XFLAGS.items() if flags & flag)


def from_xflags(xflags: int) -> int:
    """FS_XFLAG_* as flags.  LinuxError(EOPNOTSUPP) for others."""
    if xflags & ~sum(_XFLAGS.values()):
        raise LinuxError(errno.EOPNOTSUPP)
    return sum(flag for flag, xflag in _XFLAGS.items() if xflags & xflag)


def check_changeable(inode: Inode) -> None:
    """LinuxError(EPERM) for what is immutable or append-only."""
    if inode.fs_flags & (IMMUTABLE | APPEND):
        raise LinuxError(errno.EPERM)
