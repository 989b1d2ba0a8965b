"""dup, ioctl and the calls that act on an open file as a whole."""

from __future__ import annotations

import errno
import signal
import stat
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.fs.fasync import F_OWNER_PGRP, F_OWNER_PID
from emu.fs.file import WouldBlock
from emu.fs.fileattr import APPEND, IMMUTABLE
from emu.fs.lease import LeaseBroken, break_lease
from emu.fs.notify import Notice
from emu.fs.operations import remove_privileges, truncate_path
from emu.linux.argument import DESCRIPTOR_FLAGS, FD, INT, OFFSET, SIZE, U32, U64, Argument, Named, Scalar, Shown, View
from emu.linux.caller import MAY_IOCTL_DEV, MAY_TRUNCATE
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, FallocateFlags, OpenFlags
from emu.linux.layout import LATE_PATH, PATHNAME
from emu.linux.likeness import Likeness
from emu.linux.syscall import DESCRIPTOR, Restart, Result, Syscall
from emu.linux.words import hexadecimal
from emu.syscalls.fcntl import get_owner, set_owner
from emu.syscalls.fileattr import ATTRIBUTE_IOCTLS, attribute_ioctl
from emu.syscalls.locks import FLOCK_OPERATION, sys_flock
from emu.syscalls.paths import resolve
from emu.syscalls.remap import FICLONE, FICLONERANGE, clone_file
from emu.syscalls.transfer import RLIMIT_FSIZE, sent_to_itself

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

FIONBIO = 0x5421
FIONCLEX = 0x5450
FIOCLEX = 0x5451
FIOASYNC = 0x5452
FIONREAD = 0x541B

_FIOSETOWN, _SIOCSPGRP, _FIOGETOWN, _SIOCGPGRP = _OWNER = range(0x8901, 0x8905)

#: Commands that are the kernel's and not a device's (is_masked_device_ioctl): those of descriptors, FIOQSIZE, FIGETBSZ,
#: FICLONE, FICLONERANGE, FS_IOC_FIEMAP, FIFREEZE, FITHAW, FS_IOC_GETUUID and FS_IOC_GETSYSFSPATH.
_OF_ALL_FILES = frozenset({
    FIOCLEX, FIONCLEX, FIONBIO, FIOASYNC, 0x5460, 2, 0x40049409, 0x4020940D, 0xC020660B, 0xC0045877, 0xC0045878,
    0x80111500, 0x80811501,
})  # fmt: skip

FADVISE_LAST = 5


def sys_dup(kernel: Kernel, task: Task, fd: int) -> int:
    """dup(2)."""
    return task.files.dup(fd)


def sys_dup2(kernel: Kernel, task: Task, fd: int, new: int) -> int:
    """dup2(2)."""
    if fd == new:
        task.files.get_any(fd)
        return fd
    return task.files.dup_to(fd, new)


def sys_dup3(kernel: Kernel, task: Task, fd: int, new: int, flags: int) -> int:
    """dup3(2)."""
    if flags & ~int(OpenFlags.CLOEXEC) or fd == new:
        raise LinuxError(errno.EINVAL)
    return task.files.dup_to(fd, new, bool(flags))


# ioctl


def sys_ioctl(kernel: Kernel, task: Task, fd: int, command: int, argument: int) -> Result:
    """ioctl(2): commands common to all files are handled here, others by the file."""
    file = task.files.get(fd)
    if file.landlock_denied & MAY_IOCTL_DEV and command not in _OF_ALL_FILES:
        raise LinuxError(errno.EACCES)
    if command in (FIOCLEX, FIONCLEX):
        task.files.set_cloexec(fd, command == FIOCLEX)
        return 0
    if command == FIONBIO:
        on = INT.read(task.mm, argument)
        file.flags = file.flags | int(OpenFlags.NONBLOCK) if on else file.flags & ~int(OpenFlags.NONBLOCK)
        return 0
    if command == FIOASYNC:
        on = bool(INT.read(task.mm, argument))
        if on != bool(file.flags & OpenFlags.ASYNC):
            if not file.has_fasync:
                raise LinuxError(errno.ENOTTY)
            file.set_async(fd, on)
        return 0
    if command in ATTRIBUTE_IOCTLS:
        return attribute_ioctl(task, file, command, argument)
    if command in _OWNER and stat.S_ISSOCK(file.inode.mode):
        return _owner_ioctl(kernel, task, file, command, argument)
    if command in (FICLONE, FICLONERANGE):
        clone_file(task, file, command, argument)
    if command == _FS_IOC_FIEMAP:
        raise LinuxError(errno.EOPNOTSUPP)  # no file system here tells where on a device data lies
    if command == _FIGETBSZ:
        INT.write(task.mm, argument, file.inode.sb.blksize)
        return 0
    if command == FIONREAD and file.inode.is_regular:
        INT.write(task.mm, argument, INT.width(file.inode.size - file.pos))
        return 0
    try:
        return file.ioctl(task, command, argument)
    except WouldBlock as wait:
        return _ioctl_again(task, file, command, argument, wait)


def _ioctl_again(task: Task, file: File, command: int, argument: int, wait: WouldBlock) -> Generator[Any, None, int]:
    while True:
        yield wait.queue
        try:
            return file.ioctl(task, command, argument)
        except WouldBlock as again:
            wait = again


def _owner_ioctl(kernel: Kernel, task: Task, file: File, command: int, argument: int) -> int:
    """FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP of sockets."""
    if command in (_FIOSETOWN, _SIOCSPGRP):
        pid = INT.read(task.mm, argument)
        set_owner(kernel, task, file, F_OWNER_PGRP if pid < 0 else F_OWNER_PID, abs(pid))
    else:
        kind, pid = get_owner(kernel, task, file)
        INT.write(task.mm, argument, -pid if kind == F_OWNER_PGRP else pid)
    return 0


#: The size of a block of the file system; where on its device a file lies.
_FIGETBSZ, _FS_IOC_FIEMAP = 2, 0xC020660B


class _Request(Scalar):
    """An ioctl request by the file's name for it, or by the one that it has everywhere."""

    def __init__(self) -> None:
        super().__init__("request", U32)

    def text(self, at: int, call: Shown) -> str:
        fd, request = call.values[:2]
        row = call.view.ioctl(fd, request)
        if row is not None:
            return row.name
        from emu.linux.ioctl_names import request_name  # few runs show calls

        return request_name(request)


#: The argument of a request that the file does not declare: a number or an address.
_UNDECLARED = Scalar("unsigned long", U64, hexadecimal, likeness=Likeness.PLACE)


class _RequestArgument(Argument):
    """The argument, as the file declares the request."""

    name = "of the request"

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        row = view.ioctl(*values[:2])
        return _UNDECLARED if row is None else row.argument


# Sizes


def sys_ftruncate(kernel: Kernel, task: Task, fd: int, length: int) -> int:
    """ftruncate(2)."""
    if length < 0:
        raise LinuxError(errno.EINVAL)
    file = task.files.get(fd)
    if not file.inode.is_regular or not file.writable:
        raise LinuxError(errno.EINVAL)
    check_file_size(kernel, task, length)
    if file.landlock_denied & MAY_TRUNCATE:
        raise LinuxError(errno.EACCES)
    truncate_path(file.path, length, task.credentials)
    return 0


def sys_truncate(kernel: Kernel, task: Task, address: int, length: int) -> Result:
    """truncate(2)."""
    if length < 0:
        raise LinuxError(errno.EINVAL)
    walker, path = resolve(kernel, task, PATHNAME.read(task.mm, address))
    inode = path.dentry.inode
    if inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not inode.is_regular:
        raise LinuxError(errno.EINVAL)
    path.mount.want_write()
    inode.permission(2, walker.who)
    if inode.write_count < 0:
        raise LinuxError(errno.ETXTBSY)
    try:
        break_lease(inode, write=True, nonblocking=False)
    except LeaseBroken as broken:
        return _truncate_later(kernel, task, path, length, broken)
    return _truncate(kernel, task, path, length)


def _truncate(kernel: Kernel, task: Task, path: Path, length: int) -> int:
    check_file_size(kernel, task, length)
    if task.credentials.landlock is not None:
        task.credentials.landlock.check_truncate(path)
    truncate_path(path, length, task.credentials)
    return 0


def _truncate_later(
    kernel: Kernel, task: Task, path: Path, length: int, broken: LeaseBroken
) -> Generator[Any, None, int]:
    """Wait until the holders of leases have given way."""
    while True:
        yield broken.queue, broken.deadline
        try:
            break_lease(path.inode, write=True, nonblocking=False)
            return _truncate(kernel, task, path, length)
        except LeaseBroken as still:
            broken = still


#: One mode at a time, with or without FALLOC_FL_KEEP_SIZE, or as it must be (vfs_fallocate).
_KEEP = int(FallocateFlags.KEEP_SIZE)
_FALLOCATE_MODES = frozenset(
    {
        *(mode | keep for mode in (0, FallocateFlags.UNSHARE_RANGE, FallocateFlags.ZERO_RANGE) for keep in (0, _KEEP)),
        FallocateFlags.PUNCH_HOLE | _KEEP, FallocateFlags.COLLAPSE_RANGE, FallocateFlags.INSERT_RANGE,
        FallocateFlags.WRITE_ZEROES,
    }
)  # fmt: skip


def sys_fallocate(kernel: Kernel, task: Task, fd: int, mode: int, start: int, size: int) -> int:
    """fallocate(2)."""
    file = task.files.get(fd)
    if start < 0 or size <= 0:
        raise LinuxError(errno.EINVAL)
    if mode not in _FALLOCATE_MODES:
        raise LinuxError(errno.EOPNOTSUPP)
    if not file.writable:
        raise LinuxError(errno.EBADF)
    inode = file.inode
    if inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not inode.is_regular:
        raise LinuxError(errno.ESPIPE if stat.S_ISFIFO(inode.mode) else errno.ENODEV)
    if start + size > MAX_FILE_SIZE:
        raise LinuxError(errno.EFBIG)
    file.path.mount.want_write()
    if inode.fs_flags & IMMUTABLE or (inode.fs_flags & APPEND and mode & ~int(FallocateFlags.KEEP_SIZE)):
        raise LinuxError(errno.EPERM)
    if not mode & FallocateFlags.PUNCH_HOLE:  # tmpfs asks it for KEEP_SIZE too
        check_file_size(kernel, task, start + size)
    file.fallocate(mode, start, size)
    file.path.notify(Notice.MODIFY)
    remove_privileges(inode, task.credentials)
    return 0


def check_file_size(kernel: Kernel, task: Task, size: int) -> None:
    """Check RLIMIT_FSIZE: SIGXFSZ and EFBIG for a size beyond it."""
    limit = task.limits.get(RLIMIT_FSIZE)
    if limit is not None and size > limit[0]:
        kernel.signals.send(task, signal.SIGXFSZ, sent_to_itself(task, signal.SIGXFSZ))
        raise LinuxError(errno.EFBIG)


# Synchronising and advice: nothing is cached in front of memory


def sys_fsync(kernel: Kernel, task: Task, fd: int) -> int:
    """fsync(2)."""
    task.files.get(fd).fsync(data_only=False)
    return 0


def sys_fdatasync(kernel: Kernel, task: Task, fd: int) -> int:
    """fdatasync(2)."""
    task.files.get(fd).fsync(data_only=True)
    return 0


def sys_syncfs(kernel: Kernel, task: Task, fd: int) -> int:
    """syncfs(2)."""
    task.files.get(fd)
    return 0


def sys_sync(kernel: Kernel, task: Task) -> int:
    """sync(2)."""
    return 0


def sys_fadvise64(kernel: Kernel, task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    """posix_fadvise(2): checked, and of no effect."""
    file = task.files.get(fd)
    if stat.S_ISFIFO(file.inode.mode):
        raise LinuxError(errno.ESPIPE)
    if length >> 63 or not 0 <= advice <= FADVISE_LAST:
        raise LinuxError(errno.EINVAL)
    return 0


def sys_readahead(kernel: Kernel, task: Task, fd: int, offset: int, count: int) -> int:
    """readahead(2): checked, and of no effect."""
    file = task.files.get(fd)
    if not file.readable:
        raise LinuxError(errno.EBADF)
    if not file.inode.is_regular or count >> 63:
        raise LinuxError(errno.EINVAL)
    return 0


TABLE = (
    Syscall(16, "ioctl", sys_ioctl, (FD, _Request(), _RequestArgument()), restart=Restart.SYS),
    Syscall(32, "dup", sys_dup, (FD,), DESCRIPTOR),
    Syscall(33, "dup2", sys_dup2, (FD, FD), DESCRIPTOR),
    Syscall(73, "flock", sys_flock, (FD, FLOCK_OPERATION), restart=Restart.SYS),
    Syscall(74, "fsync", sys_fsync, (FD,)),
    Syscall(75, "fdatasync", sys_fdatasync, (FD,)),
    Syscall(76, "truncate", sys_truncate, (LATE_PATH, OFFSET), restart=Restart.SYS),
    Syscall(77, "ftruncate", sys_ftruncate, (FD, OFFSET)),
    Syscall(162, "sync", sys_sync),
    Syscall(187, "readahead", sys_readahead, (FD, OFFSET, SIZE)),
    Syscall(221, "fadvise64", sys_fadvise64, (FD, OFFSET, SIZE, INT)),
    Syscall(285, "fallocate", sys_fallocate, (FD, Named(FallocateFlags), OFFSET, OFFSET)),
    Syscall(292, "dup3", sys_dup3, (FD, FD, DESCRIPTOR_FLAGS), DESCRIPTOR),
    Syscall(306, "syncfs", sys_syncfs, (FD,)),
)
