"""FICLONE and FICLONERANGE: files that share their blocks (fs/remap_range.c).  No file system of the machine can, which
is said after Linux's checks.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from emu.linux.argument import INT
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import Layout

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.task import Task

FICLONE, FICLONERANGE = 0x40049409, 0x4020940D
#: struct file_clone_range: the source, its offset, the length, and where to.
FILE_CLONE_RANGE = Layout("file_clone_range", "qQQQ")


def clone_file(task: Task, target: File, command: int, argument: int) -> NoReturn:
    """ioctl_ficlone(2): LinuxError, with EOPNOTSUPP where nothing else is wrong."""
    source = FILE_CLONE_RANGE.read(task.mm, argument)[0] if command == FICLONERANGE else argument
    file = task.files.get(INT.width(source))
    if file.inode.sb is not target.inode.sb:
        raise LinuxError(errno.EXDEV)
    check_two_files(file, target)
    raise LinuxError(errno.EOPNOTSUPP)


def check_two_files(source: File, target: File) -> None:
    """Whether data may go from one file to the other (generic_file_rw_checks)."""
    if source.inode.is_directory or target.inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not (source.inode.is_regular and target.inode.is_regular):
        raise LinuxError(errno.EINVAL)
    if not source.readable or not target.writable or target.flags & OpenFlags.APPEND:
        raise LinuxError(errno.EBADF)
