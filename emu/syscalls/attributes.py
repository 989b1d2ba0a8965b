"""stat, chmod, chown, access and utimes: reading and changing the attributes of a file."""

from __future__ import annotations

import copy
import errno
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from emu.fs import operations
from emu.linux.argument import DIRFD, FD, GID, HEX32, MODE, UID, Bits, In, Named, Out, Pointer
from emu.linux.capability import NO_SETUID_FIXUP
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, AtFlags, major, makedev, minor
from emu.linux.layout import LATE_PATH, Layout
from emu.linux.likeness import Likeness, Part
from emu.linux.syscall import Syscall
from emu.linux.words import hexadecimal
from emu.syscalls.paths import resolve_at
from emu.syscalls.types import file_mode_words

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.inode import Stat
    from emu.fs.namei import PathWalk
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials, UserMemory

NANO = 1_000_000_000
UTIME_NOW = 0x3FFFFFFF
UTIME_OMIT = 0x3FFFFFFE
#: The id that leaves a user or group unchanged.
_SAME = 0xFFFFFFFF
#: Fields of statx.
STATX_MTIME, STATX_CTIME, STATX_BASIC_STATS, STATX_BTIME = 0x40, 0x80, 0x7FF, 0x800
STATX_MNT_ID, STATX_MNT_ID_UNIQUE = 0x1000, 0x4000
_CHANGES = STATX_MTIME | STATX_CTIME
STATX_RESERVED = 0x80000000
#: stx_attributes: the root of a mount.
STATX_ATTR_MOUNT_ROOT, _ATTR_AUTOMOUNT, _ATTR_DAX = 0x2000, 0x1000, 0x200000
#: Immutable, append-only, and not to be dumped.
_ATTR_FLAGS = 0x70
_STAT_FLAGS = int(AtFlags.SYMLINK_NOFOLLOW | AtFlags.NO_AUTOMOUNT | AtFlags.EMPTY_PATH)
#: AT_STATX_FORCE_SYNC and AT_STATX_DONT_SYNC.
_SYNC = 0x2000 | 0x4000
_NOFOLLOW = int(AtFlags.SYMLINK_NOFOLLOW)
_EMPTY = int(AtFlags.EMPTY_PATH)


class _Stat(Layout):
    """struct stat (arch/x86/include/uapi/asm/stat.h), 144 bytes; only its most important fields are printed."""

    prints = True

    def write(self, memory: UserMemory, address: int, value: Stat) -> None:
        s = value
        super().write(memory, address, (
            s.dev, s.ino, s.nlink, s.mode, s.uid, s.gid, 0, s.rdev, s.size, s.blksize, s.blocks,
            *divmod(s.atime, NANO), *divmod(s.mtime, NANO), *divmod(s.ctime, NANO),
        ))  # fmt: skip

    def words(self, values: tuple[Any, ...]) -> str:
        mode, device, size = values[3], values[7], values[8]
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            what = f"st_rdev=makedev({hexadecimal(major(device))}, {hexadecimal(minor(device))})"
        else:
            what = f"st_size={size}"
        return f"{{st_mode={file_mode_words(mode)}, {what}, ...}}"

    def parts(self, values: tuple[Any, ...]) -> Iterable[Part]:
        mode, nlink, mtime = values[3], values[2], values[13] * NANO + values[14]
        return compared_attributes(mode, nlink, values[4:6], values[7], values[8], values[9], mtime)


class _Statx(Layout):
    """struct statx, 256 bytes."""

    def write(self, memory: UserMemory, address: int, value: tuple[Stat, int, int, int, int]) -> None:
        s, mask, mount_id, attributes, known = value
        super().write(memory, address, (
            mask, s.blksize, attributes, s.nlink, s.uid, s.gid, s.mode, 0, s.ino, s.size, s.blocks, known,
            *divmod(s.atime, NANO), 0, *divmod(s.btime, NANO), 0, *divmod(s.ctime, NANO), 0, *divmod(s.mtime, NANO), 0,
            major(s.rdev), minor(s.rdev), major(s.dev), minor(s.dev), mount_id, 0, 0,
        ))  # fmt: skip

    def parts(self, values: tuple[Any, ...]) -> Iterable[Part]:
        mode, nlink, mtime = values[6], values[3], values[21] * NANO + values[22]
        return compared_attributes(mode, nlink, values[4:6], makedev(*values[24:26]), values[9], values[1], mtime)


def compared_attributes(
    mode: int, nlink: int, owner: tuple[int, ...], device: int, size: int, blksize: int, mtime: int
) -> list[Part]:
    """What is compared of a file's attributes with those in another run.  What a directory takes, and how it counts
    its subdirectories, is its file system's affair.
    """
    owners = [Part(name, Likeness.OWNER, number) for name, number in zip(("st_uid", "st_gid"), owner, strict=True)]
    parts = [("st_mode", mode)]
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        parts.append(("st_rdev", device))
    if not stat.S_ISDIR(mode):
        parts += [("st_size", size), ("st_nlink", nlink), ("st_blksize", blksize)]
    found = [*(Part(name, Likeness.EXACT, value) for name, value in parts), *owners]
    return [*found, Part("st_mtime", Likeness.WHEN, mtime)] if stat.S_ISREG(mode) else found


STAT = _Stat("stat", "QQQIIIIQqqqqqqqqq24x")
STATX = _Statx("statx", "IIQIIIHHQQQQqIiqIiqIiqIiIIIIQII96x")
#: Two times, for access and modification, in seconds, and with microseconds or nanoseconds.
UTIMBUF, TWO_TIMES = Layout("utimbuf", "2q"), Layout("timeval[2]", "4q")


def _seen(task: Task, path: Path, found: Stat) -> Stat:
    """With its owner as the caller's user namespace numbers it, and the device of the mount: some files are in several
    instances (procfs).
    """
    who, sb = task.credentials, path.mount.sb
    if path.dentry.inode.sb is not sb:
        found = found._replace(dev=sb.dev)
    if who.user_ns is None:
        return found
    return found._replace(uid=who.shown("uid", found.uid), gid=who.shown("gid", found.gid))


def sys_newfstatat(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int) -> Stat:
    """newfstatat(2)."""
    if flags & ~(_STAT_FLAGS | _SYNC):
        raise LinuxError(errno.EINVAL)
    _, path = resolve_at(kernel, task, dirfd, address, flags, null=True)
    return _seen(task, path, path.dentry.inode.getattr())


def sys_stat(kernel: Kernel, task: Task, address: int) -> Stat:
    """stat(2)."""
    return sys_newfstatat(kernel, task, AT_FDCWD, address, 0)


def sys_lstat(kernel: Kernel, task: Task, address: int) -> Stat:
    """lstat(2)."""
    return sys_newfstatat(kernel, task, AT_FDCWD, address, _NOFOLLOW)


def sys_fstat(kernel: Kernel, task: Task, fd: int) -> Stat:
    """fstat(2)."""
    file = task.files.get_any(fd)
    return _seen(task, file.path, file.inode.getattr())


def sys_statx(
    kernel: Kernel, task: Task, dirfd: int, address: int, flags: int, mask: int
) -> tuple[Stat, int, int, int, int]:
    """statx(2)."""
    if flags & ~(_STAT_FLAGS | _SYNC) or flags & _SYNC == _SYNC or mask & STATX_RESERVED:
        raise LinuxError(errno.EINVAL)
    _, path = resolve_at(kernel, task, dirfd, address, flags, null=True)
    inode, mount = path.dentry.inode, path.mount
    attributes = STATX_ATTR_MOUNT_ROOT if path.dentry is mount.root else 0
    known = STATX_ATTR_MOUNT_ROOT | _ATTR_AUTOMOUNT | _ATTR_DAX
    if inode.sb.keeps_flags:
        attributes |= inode.fs_flags & _ATTR_FLAGS
        known |= _ATTR_FLAGS
    found, fstype = _seen(task, path, inode.getattr()), inode.sb.fstype
    filled, mount_id = STATX_BASIC_STATS | STATX_MNT_ID, mount.id
    if fstype.multigrain and not mask & _CHANGES:
        filled, found = filled & ~_CHANGES, found._replace(mtime=0, ctime=0)
    if fstype.has_btime and mask & STATX_BTIME:
        filled |= STATX_BTIME
    else:
        found = found._replace(btime=0)
    if mask & STATX_MNT_ID_UNIQUE:
        filled, mount_id = filled ^ STATX_MNT_ID ^ STATX_MNT_ID_UNIQUE, mount.unique_id
    return found, filled, mount_id, attributes, known


# Access


def sys_faccessat2(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int, flags: int) -> int:
    """faccessat2(2)."""
    if mode & ~7 or flags & ~int(AtFlags.EACCESS | AtFlags.SYMLINK_NOFOLLOW | AtFlags.EMPTY_PATH):
        raise LinuxError(errno.EINVAL)
    walker, path = resolve_at(kernel, task, dirfd, address, flags)
    who = walker.who if flags & AtFlags.EACCESS else _real_ids(task)
    if mode & 1 and path.inode.is_regular and path.noexec:
        raise LinuxError(errno.EACCES)
    path.dentry.inode.permission(mode, who)
    if mode & 2 and (path.dentry.inode.is_regular or path.dentry.inode.is_directory or path.dentry.inode.is_symlink):
        path.mount.want_write()
    return 0


def _real_ids(task: Task) -> Credentials:
    """access(2) checks the real user's rights, not the effective user's (access_override_creds)."""
    ids = copy.copy(task.credentials)
    ids.fsuid, ids.fsgid = ids.uid, ids.gid
    if not ids.securebits & NO_SETUID_FIXUP:
        ids.effective = 0 if ids.uid != ids.root else ids.permitted
    return ids


def sys_faccessat(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int) -> int:
    """faccessat(2)."""
    return sys_faccessat2(kernel, task, dirfd, address, mode, 0)


def sys_access(kernel: Kernel, task: Task, address: int, mode: int) -> int:
    """access(2)."""
    return sys_faccessat2(kernel, task, AT_FDCWD, address, mode, 0)


# Mode and owner


def sys_fchmodat2(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int, flags: int) -> int:
    """fchmodat2(2)."""
    if flags & ~(_NOFOLLOW | _EMPTY):
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
    operations.chmod(kernel.vfs.walker(task), task.files.get(fd).path, mode)
    return 0


def _chown(walker: PathWalk, path: Path, uid: int, gid: int) -> int:
    operations.chown(walker, path, None if uid == _SAME else uid, None if gid == _SAME else gid)
    return 0


def sys_fchownat(kernel: Kernel, task: Task, dirfd: int, address: int, uid: int, gid: int, flags: int) -> int:
    """fchownat(2)."""
    if flags & ~(_NOFOLLOW | _EMPTY):
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
    return _chown(kernel.vfs.walker(task), task.files.get(fd).path, uid, gid)


# Times


def sys_utimensat(kernel: Kernel, task: Task, dirfd: int, address: int, times: int, flags: int) -> int:
    """utimensat(2); without a name it works on dirfd itself (futimens)."""
    raw = TWO_TIMES.read(task.mm, times) if times else (0, UTIME_NOW, 0, UTIME_NOW)
    if raw[1] == raw[3] == UTIME_OMIT:
        return 0
    walker, path = _timed(kernel, task, dirfd, address, flags)
    now = kernel.vfs.resources.now()
    atime, mtime = _timestamp(raw[0], raw[1], now), _timestamp(raw[2], raw[3], now)
    operations.utimes(walker, path, atime, mtime, not raw[1] == raw[3] == UTIME_NOW)
    return 0


def _timestamp(seconds: int, nanoseconds: int, now: int) -> int | None:
    if nanoseconds == UTIME_NOW:
        return now
    if nanoseconds == UTIME_OMIT:
        return None
    if not 0 <= nanoseconds < NANO:
        raise LinuxError(errno.EINVAL)
    return seconds * NANO + nanoseconds


def _timed(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int = 0) -> tuple[PathWalk, Path]:
    """The file whose times change: that of a descriptor, which takes no flags, or that of a name (do_utimes)."""
    without_name = address == 0 and dirfd != AT_FDCWD
    if flags & ~(0 if without_name else _NOFOLLOW | _EMPTY):
        raise LinuxError(errno.EINVAL)
    if without_name:
        return kernel.vfs.walker(task), task.files.get(dirfd).path
    return resolve_at(kernel, task, dirfd, address, flags)


def sys_futimesat(kernel: Kernel, task: Task, dirfd: int, address: int, times: tuple[int, int, int, int] | None) -> int:
    """futimesat(2)."""
    atime = mtime = kernel.vfs.resources.now()
    if times is not None:
        a_seconds, a_micro, m_seconds, m_micro = times
        if not (0 <= a_micro < 1_000_000 and 0 <= m_micro < 1_000_000):
            raise LinuxError(errno.EINVAL)
        atime, mtime = a_seconds * NANO + a_micro * 1000, m_seconds * NANO + m_micro * 1000
    operations.utimes(*_timed(kernel, task, dirfd, address), atime, mtime, times is not None)
    return 0


def sys_utimes(kernel: Kernel, task: Task, address: int, times: tuple[int, int, int, int] | None) -> int:
    """utimes(2)."""
    return sys_futimesat(kernel, task, AT_FDCWD, address, times)


def sys_utime(kernel: Kernel, task: Task, address: int, times: tuple[int, int] | None) -> int:
    """utime(2)."""
    atime = mtime = kernel.vfs.resources.now()
    if times is not None:
        atime, mtime = (seconds * NANO for seconds in times)
    operations.utimes(*_timed(kernel, task, AT_FDCWD, address), atime, mtime, times is not None)
    return 0


_ACCESS = Bits("", name="access mode", R_OK=4, W_OK=2, X_OK=1, zero="F_OK")
_FLAGS = Named(AtFlags)

TABLE = (
    Syscall(4, "stat", sys_stat, (LATE_PATH, Out(STAT))),
    Syscall(5, "fstat", sys_fstat, (FD, Out(STAT))),
    Syscall(6, "lstat", sys_lstat, (LATE_PATH, Out(STAT))),
    Syscall(21, "access", sys_access, (LATE_PATH, _ACCESS)),
    Syscall(90, "chmod", sys_chmod, (LATE_PATH, MODE)),
    Syscall(91, "fchmod", sys_fchmod, (FD, MODE)),
    Syscall(92, "chown", sys_chown, (LATE_PATH, UID, GID)),
    Syscall(93, "fchown", sys_fchown, (FD, UID, GID)),
    Syscall(94, "lchown", sys_lchown, (LATE_PATH, UID, GID)),
    Syscall(132, "utime", sys_utime, (LATE_PATH, In(UTIMBUF, null=True))),
    Syscall(235, "utimes", sys_utimes, (LATE_PATH, In(TWO_TIMES, null=True))),
    Syscall(260, "fchownat", sys_fchownat, (DIRFD, LATE_PATH, UID, GID, _FLAGS)),
    Syscall(261, "futimesat", sys_futimesat, (DIRFD, LATE_PATH, In(TWO_TIMES, null=True))),
    Syscall(262, "newfstatat", sys_newfstatat, (DIRFD, LATE_PATH, Out(STAT), _FLAGS)),
    Syscall(268, "fchmodat", sys_fchmodat, (DIRFD, LATE_PATH, MODE)),
    Syscall(269, "faccessat", sys_faccessat, (DIRFD, LATE_PATH, _ACCESS)),
    Syscall(280, "utimensat", sys_utimensat, (DIRFD, LATE_PATH, Pointer(TWO_TIMES, null=True), _FLAGS)),
    Syscall(332, "statx", sys_statx, (DIRFD, LATE_PATH, _FLAGS, HEX32, Out(STATX))),
    Syscall(439, "faccessat2", sys_faccessat2, (DIRFD, LATE_PATH, _ACCESS, _FLAGS)),
    Syscall(452, "fchmodat2", sys_fchmodat2, (DIRFD, LATE_PATH, MODE, _FLAGS)),
)
