"""The files that an io_uring keeps: replacing them (io_uring/rsrc.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.kernel.uring import Request, RingFile, Uring
from emu.linux.errors import LinuxError
from emu.syscalls.uringops import Issue

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_SKIP = -2


def descriptors(task: Task, address: int, count: int) -> list[int]:
    """An array of descriptors.  LinuxError(EFAULT)."""
    return [fd for (fd,) in struct.iter_unpack("<i", task.mm.read(address, 4 * count))] if count else []


def new_file(task: Task, fd: int) -> File | None:
    """The file that a descriptor means, None for -1.  LinuxError(EBADF), also for a ring."""
    if fd == -1:
        return None
    file = task.files.get(fd)
    if isinstance(file, RingFile):
        raise LinuxError(errno.EBADF)
    return file.get()


def update_files(task: Task, ring: Uring, offset: int, fds: int, count: int) -> int:
    """Replace registered files: how many.  LinuxError(ENXIO, EINVAL, EBADF)."""
    if not ring.files:
        raise LinuxError(errno.ENXIO)
    if offset + count > len(ring.files):
        raise LinuxError(errno.EINVAL)
    done = 0
    for at, fd in enumerate(descriptors(task, fds, count), offset):
        if fd != _SKIP:
            try:
                new = new_file(task, fd)
            except LinuxError:
                if done:
                    return done
                raise
            ring.put_file(at, new)
        done += 1
    return done


def files_update(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_FILES_UPDATE."""
    sqe = request.sqe
    if sqe.flags & 0x21 or sqe.op_flags or sqe.file_index or not sqe.len:
        raise LinuxError(errno.EINVAL)
    return lambda: update_files(request.task, request.ring, sqe.off, sqe.addr, sqe.len)
