"""stat, chmod, chown, access, utimes and extended attributes: what is known about a file, and changing it."""

from __future__ import annotations

import errno
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, AtFlags, major, minor
from emu.linux.syscall import Syscall, s32, s64
from emu.syscalls.paths import resolve, resolve_at, start_of

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.inode import Stat
    from emu.fs.namei import PathWalk
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials

NANO = 1_000_000_000
UTIME_NOW = 0x3FFFFFFF
UTIME_OMIT = 0x3FFFFFFE
#: All the fields that statx fills (STATX_BASIC_STATS | STATX_BTIME) and STATX_MNT_ID.
STATX_MASK = 0x7FF | 0x800 | 0x1000
STATX_RESERVED = 0x80000000
#: stx_attributes: the root of a mount.
STATX_ATTR_MOUNT_ROOT = 0x2000
_STAT_FLAGS = int(AtFlags.SYMLINK_NOFOLLOW | AtFlags.NO_AUTOMOUNT | AtFlags.EMPTY_PATH)
_SYNC = int(AtFlags.STATX_FORCE_SYNC | AtFlags.STATX_DONT_SYNC)
_NOFOLLOW = int(AtFlags.SYMLINK_NOFOLLOW)
_EMPTY = int(AtFlags.EMPTY_PATH)
#: struct stat (arch/x86/include/uapi/asm/stat.h), 144 bytes.
STAT = struct.Struct("<QQQIIIIQqqqqqqqqq24x")
#: struct statx, 256 bytes.
STATX = struct.Struct("<IIQIIIHHQQQQqIiqIiqIiqIiIIIIQII96x")


def pack_stat(s: Stat) -> bytes:
    """struct stat as x86-64 has it."""
    return STAT.pack(
        s.dev, s.ino, s.nlink, s.mode, s.uid, s.gid, 0, s.rdev, s.size, s.blksize, s.blocks,
        *divmod(s.atime, NANO), *divmod(s.mtime, NANO), *divmod(s.ctime, NANO),
    )  # fmt: skip


def pack_statx(s: Stat, mount_id: int, attributes: int) -> bytes:
    """struct statx."""
    return STATX.pack(
        STATX_MASK, s.blksize, attributes, s.nlink, s.uid, s.gid, s.mode, 0, s.ino, s.size, s.blocks,
        STATX_ATTR_MOUNT_ROOT,
        *divmod(s.atime, NANO), 0, *divmod(s.btime, NANO), 0, *divmod(s.ctime, NANO), 0, *divmod(s.mtime, NANO), 0,
        major(s.rdev), minor(s.rdev), major(s.dev), minor(s.dev), mount_id, 0, 0,
    )  # fmt: skip


def sys_newfstatat(kernel: Kernel, task: Task, dirfd: int, address: int, buffer: int, flags: int) -> int:
    """newfstatat(2)."""
    if flags & 0xFFFFFFFF & ~(_STAT_FLAGS | _SYNC):
        raise LinuxError(errno.EINVAL)
    _, path = resolve_at(kernel, task, dirfd, address, flags)
    task.mm.write(buffer, pack_stat(path.dentry.inode.getattr()))
    return 0


def sys_stat(kernel: Kernel, task: Task, address: int, buffer: int) -> int:
    """stat(2)."""
    return sys_newfstatat(kernel, task, AT_FDCWD, address, buffer, 0)


def sys_lstat(kernel: Kernel, task: Task, address: int, buffer: int) -> int:
    """lstat(2)."""
    return sys_newfstatat(kernel, task, AT_FDCWD, address, buffer, _NOFOLLOW)


def sys_fstat(kernel: Kernel, task: Task, fd: int, buffer: int) -> int:
    """fstat(2)."""
    task.mm.write(buffer, pack_stat(task.files.get_any(s32(fd)).inode.getattr()))
    return 0


def sys_statx(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int, mask: int, buffer: int) -> int:
    """statx(2)."""
    if flags & 0xFFFFFFFF & ~(_STAT_FLAGS | _SYNC) or flags & _SYNC == _SYNC or mask & STATX_RESERVED:
        raise LinuxError(errno.EINVAL)
    _, path = resolve_at(kernel, task, dirfd, address, flags)
    attributes = STATX_ATTR_MOUNT_ROOT if path.dentry is path.mount.root else 0
    task.mm.write(buffer, pack_statx(path.dentry.inode.getattr(), path.mount.id, attributes))
    return 0


# Access


def sys_faccessat2(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int, flags: int) -> int:
    """faccessat2(2): R_OK 4, W_OK 2, X_OK 1, F_OK 0."""
    mode &= 0xFFFFFFFF
    if mode & ~7 or flags & 0xFFFFFFFF & ~int(AtFlags.EACCESS | AtFlags.SYMLINK_NOFOLLOW | AtFlags.EMPTY_PATH):
        raise LinuxError(errno.EINVAL)
    walker, path = resolve_at(kernel, task, dirfd, address, flags)
    who = walker.who if flags & AtFlags.EACCESS else _real_ids(task)
    path.dentry.inode.permission(mode, who)
    if mode & 2 and (path.dentry.inode.is_regular or path.dentry.inode.is_directory or path.dentry.inode.is_symlink):
        path.mount.want_write()
    return 0


def _real_ids(task: Task) -> Credentials:
    """access(2) asks for the real user, not for the effective one."""
    ids = task.credentials
    return replace(ids, euid=ids.uid, egid=ids.gid)


def sys_faccessat(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int) -> int:
    """faccessat(2)."""
    return sys_faccessat2(kernel, task, dirfd, address, mode, 0)


def sys_access(kernel: Kernel, task: Task, address: int, mode: int) -> int:
    """access(2)."""
    return sys_faccessat2(kernel, task, AT_FDCWD, address, mode, 0)


# Mode and owner


def sys_fchmodat2(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int, flags: int) -> int:
    """fchmodat2(2)."""
    if flags & 0xFFFFFFFF & ~(_NOFOLLOW | _EMPTY):
        raise LinuxError(errno.EINVAL)
    walker, path = resolve_at(kernel, task, dirfd, address, flags)
    operations.chmod(walker, path, mode)
    return 0


def sys_fchmodat(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int) -> int:
    """fchmodat(2)."""
    return sys_fchmodat2(kernel, task, dirfd, address, mode, 0)


def sys_chmod(kernel: Kernel, task: Task, address: int, mode: int) -> int:
    """chmod(2)."""
    return sys_fchmodat2(kernel, task, AT_FDCWD, address, mode, 0)


def sys_fchmod(kernel: Kernel, task: Task, fd: int, mode: int) -> int:
    """fchmod(2)."""
    operations.chmod(kernel.vfs.walker(task), task.files.get(s32(fd)).path, mode)
    return 0


def _chown(walker: PathWalk, path: Path, uid: int, gid: int) -> int:
    uid, gid = uid & 0xFFFFFFFF, gid & 0xFFFFFFFF
    operations.chown(walker, path, None if uid == 0xFFFFFFFF else uid, None if gid == 0xFFFFFFFF else gid)
    return 0


def sys_fchownat(kernel: Kernel, task: Task, dirfd: int, address: int, uid: int, gid: int, flags: int) -> int:
    """fchownat(2)."""
    if flags & 0xFFFFFFFF & ~(_NOFOLLOW | _EMPTY):
        raise LinuxError(errno.EINVAL)
    return _chown(*resolve_at(kernel, task, dirfd, address, flags), uid, gid)


def sys_chown(kernel: Kernel, task: Task, address: int, uid: int, gid: int) -> int:
    """chown(2)."""
    return sys_fchownat(kernel, task, AT_FDCWD, address, uid, gid, 0)


def sys_lchown(kernel: Kernel, task: Task, address: int, uid: int, gid: int) -> int:
    """lchown(2)."""
    return sys_fchownat(kernel, task, AT_FDCWD, address, uid, gid, _NOFOLLOW)


def sys_fchown(kernel: Kernel, task: Task, fd: int, uid: int, gid: int) -> int:
    """fchown(2)."""
    return _chown(kernel.vfs.walker(task), task.files.get(s32(fd)).path, uid, gid)


# Times


def sys_utimensat(kernel: Kernel, task: Task, dirfd: int, address: int, times: int, flags: int) -> int:
    """utimensat(2); without a name it works on dirfd itself (futimens)."""
    if flags & 0xFFFFFFFF & ~(_NOFOLLOW | _EMPTY):
        raise LinuxError(errno.EINVAL)
    now = kernel.vfs.resources.now()
    atime: int | None = now
    mtime: int | None = now
    explicit = False
    if times:
        raw = struct.unpack("<qqqq", task.mm.read(times, 32))
        if raw[1] == raw[3] == UTIME_OMIT:
            return 0
        atime, mtime = _timestamp(raw[0], raw[1], now), _timestamp(raw[2], raw[3], now)
        explicit = not raw[1] == raw[3] == UTIME_NOW
    return _utimes(kernel, task, dirfd, address, flags, atime, mtime, explicit)


def _timestamp(seconds: int, nanoseconds: int, now: int) -> int | None:
    if nanoseconds == UTIME_NOW:
        return now
    if nanoseconds == UTIME_OMIT:
        return None
    if not 0 <= nanoseconds < NANO:
        raise LinuxError(errno.EINVAL)
    return seconds * NANO + nanoseconds


def _utimes(
    kernel: Kernel, task: Task, dirfd: int, address: int, flags: int,
    atime: int | None, mtime: int | None, explicit: bool,
) -> int:  # fmt: skip
    if address == 0 and dirfd & 0xFFFFFFFF != AT_FDCWD & 0xFFFFFFFF:
        path = start_of(task, dirfd)
        assert path is not None
        operations.utimes(kernel.vfs.walker(task), path, atime, mtime, explicit)
    else:
        walker, path = resolve_at(kernel, task, dirfd, address, flags)
        operations.utimes(walker, path, atime, mtime, explicit)
    return 0


def sys_futimesat(kernel: Kernel, task: Task, dirfd: int, address: int, times: int) -> int:
    """futimesat(2)."""
    atime = mtime = kernel.vfs.resources.now()
    if times:
        a_seconds, a_micro, m_seconds, m_micro = struct.unpack("<qqqq", task.mm.read(times, 32))
        if not (0 <= a_micro < 1_000_000 and 0 <= m_micro < 1_000_000):
            raise LinuxError(errno.EINVAL)
        atime, mtime = a_seconds * NANO + a_micro * 1000, m_seconds * NANO + m_micro * 1000
    return _utimes(kernel, task, dirfd, address, 0, atime, mtime, bool(times))


def sys_utimes(kernel: Kernel, task: Task, address: int, times: int) -> int:
    """utimes(2)."""
    return sys_futimesat(kernel, task, AT_FDCWD, address, times)


def sys_utime(kernel: Kernel, task: Task, address: int, times: int) -> int:
    """utime(2)."""
    atime = mtime = kernel.vfs.resources.now()
    if times:
        atime, mtime = (s64(task.mm.read_u64(times + at)) * NANO for at in (0, 8))
    return _utimes(kernel, task, AT_FDCWD, address, 0, atime, mtime, bool(times))


# Extended attributes: no file system here has any


def sys_xattr(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    """setxattr(2), getxattr(2), removexattr(2): the file must exist, then EOPNOTSUPP."""
    resolve(kernel, task, address)
    raise LinuxError(errno.EOPNOTSUPP)


def sys_lxattr(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    """lsetxattr(2), lgetxattr(2), lremovexattr(2)."""
    resolve(kernel, task, address, follow=False)
    raise LinuxError(errno.EOPNOTSUPP)


def sys_fxattr(kernel: Kernel, task: Task, fd: int, *_: int) -> int:
    """fsetxattr(2), fgetxattr(2), fremovexattr(2)."""
    task.files.get(s32(fd))
    raise LinuxError(errno.EOPNOTSUPP)


_ACL_NAMES = (b"system.posix_acl_access", b"system.posix_acl_default")
_XATTR_SIZE_MAX = 65536


def _check_value(task: Task, name: int, value: int, size: int, flags: int) -> None:
    """What setxattr_copy() and posix_acl_from_xattr() look at before the file system is asked."""
    if flags & ~3:
        raise LinuxError(errno.EINVAL)
    text = task.mm.read_cstring(name)
    if size > _XATTR_SIZE_MAX:
        raise LinuxError(errno.E2BIG)
    data = task.mm.read(value, size)
    if text in _ACL_NAMES and data and (len(data) < 4 or (data[:4] == b"\2\0\0\0" and len(data) % 8 != 4)):
        raise LinuxError(errno.EINVAL)


def sys_setxattr(kernel: Kernel, task: Task, address: int, name: int, value: int, size: int, flags: int) -> int:
    """setxattr(2): EINVAL for what cannot be an ACL, else as the others."""
    _check_value(task, name, value, size, flags)
    return sys_xattr(kernel, task, address)


def sys_lsetxattr(kernel: Kernel, task: Task, address: int, name: int, value: int, size: int, flags: int) -> int:
    """lsetxattr(2)."""
    _check_value(task, name, value, size, flags)
    return sys_lxattr(kernel, task, address)


def sys_fsetxattr(kernel: Kernel, task: Task, fd: int, name: int, value: int, size: int, flags: int) -> int:
    """fsetxattr(2)."""
    _check_value(task, name, value, size, flags)
    return sys_fxattr(kernel, task, fd)


def sys_listxattr(kernel: Kernel, task: Task, address: int, buffer: int, size: int) -> int:
    """listxattr(2): an empty list."""
    resolve(kernel, task, address)
    return 0


def sys_llistxattr(kernel: Kernel, task: Task, address: int, buffer: int, size: int) -> int:
    """llistxattr(2): an empty list."""
    resolve(kernel, task, address, follow=False)
    return 0


def sys_flistxattr(kernel: Kernel, task: Task, fd: int, buffer: int, size: int) -> int:
    """flistxattr(2): an empty list."""
    task.files.get(s32(fd))
    return 0


TABLE = (
    Syscall(4, "stat", sys_stat, ("path", "ptr")),
    Syscall(5, "fstat", sys_fstat, ("fd", "ptr")),
    Syscall(6, "lstat", sys_lstat, ("path", "ptr")),
    Syscall(21, "access", sys_access, ("path", "mode")),
    Syscall(90, "chmod", sys_chmod, ("path", "mode")),
    Syscall(91, "fchmod", sys_fchmod, ("fd", "mode")),
    Syscall(92, "chown", sys_chown, ("path", "int", "int")),
    Syscall(93, "fchown", sys_fchown, ("fd", "int", "int")),
    Syscall(94, "lchown", sys_lchown, ("path", "int", "int")),
    Syscall(132, "utime", sys_utime, ("path", "ptr")),
    Syscall(188, "setxattr", sys_setxattr, ("path", "str", "ptr", "size", "hex")),
    Syscall(189, "lsetxattr", sys_lsetxattr, ("path", "str", "ptr", "size", "hex")),
    Syscall(190, "fsetxattr", sys_fsetxattr, ("fd", "str", "ptr", "size", "hex")),
    Syscall(191, "getxattr", sys_xattr, ("path", "str", "ptr", "size")),
    Syscall(192, "lgetxattr", sys_lxattr, ("path", "str", "ptr", "size")),
    Syscall(193, "fgetxattr", sys_fxattr, ("fd", "str", "ptr", "size")),
    Syscall(194, "listxattr", sys_listxattr, ("path", "ptr", "size")),
    Syscall(195, "llistxattr", sys_llistxattr, ("path", "ptr", "size")),
    Syscall(196, "flistxattr", sys_flistxattr, ("fd", "ptr", "size")),
    Syscall(197, "removexattr", sys_xattr, ("path", "str")),
    Syscall(198, "lremovexattr", sys_lxattr, ("path", "str")),
    Syscall(199, "fremovexattr", sys_fxattr, ("fd", "str")),
    Syscall(235, "utimes", sys_utimes, ("path", "ptr")),
    Syscall(260, "fchownat", sys_fchownat, ("dirfd", "path", "int", "int", "hex")),
    Syscall(261, "futimesat", sys_futimesat, ("dirfd", "path", "ptr")),
    Syscall(262, "newfstatat", sys_newfstatat, ("dirfd", "path", "ptr", "hex")),
    Syscall(268, "fchmodat", sys_fchmodat, ("dirfd", "path", "mode")),
    Syscall(269, "faccessat", sys_faccessat, ("dirfd", "path", "mode")),
    Syscall(280, "utimensat", sys_utimensat, ("dirfd", "path", "ptr", "hex")),
    Syscall(332, "statx", sys_statx, ("dirfd", "path", "hex", "hex", "ptr")),
    Syscall(439, "faccessat2", sys_faccessat2, ("dirfd", "path", "mode", "hex")),
    Syscall(452, "fchmodat2", sys_fchmodat2, ("dirfd", "path", "mode", "hex")),
)
