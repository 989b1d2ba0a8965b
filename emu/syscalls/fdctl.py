"""dup, fcntl, ioctl and the calls that act on an open file as a whole."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.hugetlbfs import HugetlbInode
from emu.fs.operations import remove_privileges, truncate_path
from emu.fs.pipe import PipeFile
from emu.fs.seals import add_seals, get_seals
from emu.fs.tmpfs import TmpfsInode
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, SETFL_MASK, FallocateFlags, OpenFlags
from emu.linux.syscall import Result, Syscall, s32, s64
from emu.syscalls.locks import COMMANDS as LOCK_COMMANDS
from emu.syscalls.locks import fcntl_lock, sys_flock
from emu.syscalls.paths import resolve
from emu.syscalls.transfer import RLIMIT_FSIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = range(5)
F_DUPFD_CLOEXEC = 1030
F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032
F_ADD_SEALS = 1033
F_GET_SEALS = 1034
FD_CLOEXEC = 1

FIONBIO = 0x5421
FIONCLEX = 0x5450
FIOCLEX = 0x5451
FIOASYNC = 0x5452
FIONREAD = 0x541B

FADVISE_LAST = 5


def sys_dup(kernel: Kernel, task: Task, fd: int) -> int:
    """dup(2)."""
    return task.files.dup(s32(fd))


def sys_dup2(kernel: Kernel, task: Task, fd: int, new: int) -> int:
    """dup2(2)."""
    if s32(fd) == s32(new):
        task.files.get_any(s32(fd))
        return s32(fd)
    return task.files.dup_to(s32(fd), s32(new))


def sys_dup3(kernel: Kernel, task: Task, fd: int, new: int, flags: int) -> int:
    """dup3(2)."""
    flags &= 0xFFFFFFFF
    if flags & ~int(OpenFlags.CLOEXEC) or s32(fd) == s32(new):
        raise LinuxError(errno.EINVAL)
    return task.files.dup_to(s32(fd), s32(new), bool(flags))


# fcntl


def sys_fcntl(kernel: Kernel, task: Task, fd: int, command: int, argument: int) -> Result:
    """fcntl(2): descriptors, flags, locks and pipe sizes; EINVAL for every other command."""
    fd, command = s32(fd), s32(command)
    file = task.files.get_any(fd)
    if command in LOCK_COMMANDS and not file.is_path:
        return fcntl_lock(task, file, command, argument)
    handler = _FCNTL.get(command)
    if handler is None:
        raise LinuxError(errno.EBADF if file.is_path else errno.EINVAL)
    if file.is_path and command not in (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL):
        raise LinuxError(errno.EBADF)
    return handler(task, fd, file, argument)


def _dupfd(task: Task, fd: int, file: File, argument: int) -> int:
    return task.files.dup(fd, s32(argument))


def _dupfd_cloexec(task: Task, fd: int, file: File, argument: int) -> int:
    return task.files.dup(fd, s32(argument), cloexec=True)


def _getfd(task: Task, fd: int, file: File, argument: int) -> int:
    return FD_CLOEXEC if task.files.cloexec(fd) else 0


def _setfd(task: Task, fd: int, file: File, argument: int) -> int:
    task.files.set_cloexec(fd, bool(argument & FD_CLOEXEC))
    return 0


def _getfl(task: Task, fd: int, file: File, argument: int) -> int:
    return file.flags


def _setfl(task: Task, fd: int, file: File, argument: int) -> int:
    if argument & OpenFlags.DIRECT and not file.inode.can_direct:
        raise LinuxError(errno.EINVAL)
    file.flags = (file.flags & ~int(SETFL_MASK)) | (argument & int(SETFL_MASK))
    return 0


def _pipe_of(file: File) -> PipeFile:
    if not isinstance(file, PipeFile):
        raise LinuxError(errno.EBADF)
    return file


def _get_pipe_size(task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.capacity


def _set_pipe_size(task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.resize(argument & 0xFFFFFFFF)


def _add_seals(task: Task, fd: int, file: File, argument: int) -> int:
    inode = file.inode
    cache = inode.page_cache if isinstance(inode, TmpfsInode | HugetlbInode) else None
    add_seals(inode, argument & 0xFFFFFFFF, cache, writable=file.writable)
    return 0


def _get_seals(task: Task, fd: int, file: File, argument: int) -> int:
    return get_seals(file.inode)


_FCNTL: dict[int, Callable[[Task, int, File, int], int]] = {
    F_DUPFD: _dupfd,
    F_DUPFD_CLOEXEC: _dupfd_cloexec,
    F_GETFD: _getfd,
    F_SETFD: _setfd,
    F_GETFL: _getfl,
    F_SETFL: _setfl,
    F_GETPIPE_SZ: _get_pipe_size,
    F_SETPIPE_SZ: _set_pipe_size,
    F_ADD_SEALS: _add_seals,
    F_GET_SEALS: _get_seals,
}


# ioctl


def sys_ioctl(kernel: Kernel, task: Task, fd: int, command: int, argument: int) -> int:
    """ioctl(2): what every file understands here, the rest goes to the file."""
    command &= 0xFFFFFFFF
    file = task.files.get(s32(fd))
    if command in (FIOCLEX, FIONCLEX):
        task.files.set_cloexec(s32(fd), command == FIOCLEX)
        return 0
    if command == FIONBIO:
        on = task.mm.read_u32(argument)
        file.flags = file.flags | int(OpenFlags.NONBLOCK) if on else file.flags & ~int(OpenFlags.NONBLOCK)
        return 0
    if command == FIONREAD and file.inode.is_regular:
        task.mm.write_u32(argument, (file.inode.size - file.pos) & 0xFFFFFFFF)
        return 0
    return file.ioctl(task, command, argument)


# Sizes


def sys_ftruncate(kernel: Kernel, task: Task, fd: int, length: int) -> int:
    """ftruncate(2)."""
    size = s64(length)
    if size < 0:
        raise LinuxError(errno.EINVAL)
    file = task.files.get(s32(fd))
    if not file.inode.is_regular or not file.writable:
        raise LinuxError(errno.EINVAL)
    check_file_size(kernel, task, size)
    truncate_path(file.path, size, task.credentials)
    return 0


def sys_truncate(kernel: Kernel, task: Task, address: int, length: int) -> int:
    """truncate(2)."""
    size = s64(length)
    if size < 0:
        raise LinuxError(errno.EINVAL)
    walker, path = resolve(kernel, task, address)
    inode = path.dentry.inode
    if inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not inode.is_regular:
        raise LinuxError(errno.EINVAL)
    path.mount.want_write()
    inode.permission(2, walker.who)
    check_file_size(kernel, task, size)
    truncate_path(path, size, task.credentials)
    return 0


def sys_fallocate(kernel: Kernel, task: Task, fd: int, mode: int, offset: int, length: int) -> int:
    """fallocate(2)."""
    mode, start, size = mode & 0xFFFFFFFF, s64(offset), s64(length)
    file = task.files.get(s32(fd))
    if start < 0 or size <= 0:
        raise LinuxError(errno.EINVAL)
    known = 0
    for flag in FallocateFlags:
        known |= flag
    if mode & ~known or (mode & FallocateFlags.PUNCH_HOLE and not mode & FallocateFlags.KEEP_SIZE):
        raise LinuxError(errno.EOPNOTSUPP)
    if not file.writable:
        raise LinuxError(errno.EBADF)
    inode = file.inode
    if inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not inode.is_regular:
        raise LinuxError(errno.ESPIPE if not file.seekable else errno.ENODEV)
    if start + size > MAX_FILE_SIZE:
        raise LinuxError(errno.EFBIG)
    file.path.mount.want_write()
    if not mode & FallocateFlags.KEEP_SIZE:
        check_file_size(kernel, task, start + size)
    file.fallocate(mode, start, size)
    remove_privileges(inode, task.credentials)
    return 0


def check_file_size(kernel: Kernel, task: Task, size: int) -> None:
    """RLIMIT_FSIZE: SIGXFSZ and EFBIG for a size beyond it."""
    limit = task.limits.get(RLIMIT_FSIZE)
    if limit is not None and size > limit[0]:
        kernel.signals.send(task, signal.SIGXFSZ)
        raise LinuxError(errno.EFBIG)


# Synchronising and advice: nothing is cached in front of memory


def sys_fsync(kernel: Kernel, task: Task, fd: int) -> int:
    """fsync(2)."""
    task.files.get(s32(fd)).fsync(data_only=False)
    return 0


def sys_fdatasync(kernel: Kernel, task: Task, fd: int) -> int:
    """fdatasync(2)."""
    task.files.get(s32(fd)).fsync(data_only=True)
    return 0


def sys_syncfs(kernel: Kernel, task: Task, fd: int) -> int:
    """syncfs(2)."""
    task.files.get(s32(fd))
    return 0


def sys_sync(kernel: Kernel, task: Task) -> int:
    """sync(2)."""
    return 0


def sys_fadvise64(kernel: Kernel, task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    """posix_fadvise(2): checked, and of no effect."""
    file = task.files.get(s32(fd))
    if not file.seekable:
        raise LinuxError(errno.ESPIPE)
    if s64(length) < 0 or not 0 <= s32(advice) <= FADVISE_LAST:
        raise LinuxError(errno.EINVAL)
    return 0


def sys_readahead(kernel: Kernel, task: Task, fd: int, offset: int, count: int) -> int:
    """readahead(2): checked, and of no effect."""
    file = task.files.get(s32(fd))
    if not file.readable:
        raise LinuxError(errno.EBADF)
    if not file.inode.is_regular:
        raise LinuxError(errno.EINVAL)
    return 0


TABLE = (
    Syscall(16, "ioctl", sys_ioctl, ("fd", "hex", "ptr")),
    Syscall(32, "dup", sys_dup, ("fd",)),
    Syscall(33, "dup2", sys_dup2, ("fd", "fd")),
    Syscall(72, "fcntl", sys_fcntl, ("fd", "int", "hex")),
    Syscall(73, "flock", sys_flock, ("fd", "hex")),
    Syscall(74, "fsync", sys_fsync, ("fd",)),
    Syscall(75, "fdatasync", sys_fdatasync, ("fd",)),
    Syscall(76, "truncate", sys_truncate, ("path", "offset")),
    Syscall(77, "ftruncate", sys_ftruncate, ("fd", "offset")),
    Syscall(162, "sync", sys_sync),
    Syscall(187, "readahead", sys_readahead, ("fd", "offset", "size")),
    Syscall(221, "fadvise64", sys_fadvise64, ("fd", "offset", "size", "int")),
    Syscall(285, "fallocate", sys_fallocate, ("fd", "hex", "offset", "size")),
    Syscall(292, "dup3", sys_dup3, ("fd", "fd", "oflags")),
    Syscall(306, "syncfs", sys_syncfs, ("fd",)),
)
