"""The maker of a request of an io_uring, for the handlers of system calls that do it: a task with the descriptors, or
the rights, that the request says.
"""

from __future__ import annotations

import copy
import errno
from typing import TYPE_CHECKING, Any, cast

from emu.kernel.uring import FIXED_FILE, Request
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.fdtable import FdTable
    from emu.fs.file import File
    from emu.kernel.task import Task

#: Stands for the registered file that a request is about, in place of a descriptor.
FIXED = 1 << 30
#: A slot of the registered files is to be chosen (IORING_FILE_INDEX_ALLOC).
ANY_SLOT = 0xFFFFFFFF


class _Files:
    """A task's descriptors, with the request's file besides; ``slot``: where new files go, 1 and more, if not there."""

    def __init__(self, files: FdTable, request: Request, file: File | None, slot: int) -> None:
        self._files = files
        self._request = request
        self._file = file
        self._slot = slot

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def get(self, fd: int) -> File:
        """The file of a descriptor.  LinuxError(EBADF)."""
        return self._file if fd == FIXED and self._file is not None else self._files.get(fd)

    get_any = get

    def check_room(self) -> None:
        """Whether there is a place for a new file.  LinuxError(EMFILE, ENFILE, ENXIO, EINVAL)."""
        if not self._slot:
            self._files.check_room()

    def open(self, file: File, cloexec: bool = False, lowest: int = 0) -> int:
        """Give a new file its place."""
        if not self._slot:
            return self._files.open(file, cloexec, lowest)
        try:
            return put_in_slot(self._request, file, self._slot)
        except LinuxError:
            file.put()
            raise


def put_in_slot(request: Request, file: File, slot: int) -> int:
    """Register a file where the entry says: 0, or the slot's number if it was to be chosen (io_fixed_fd_install)."""
    ring, files = request.ring, request.ring.files
    if slot == ANY_SLOT:
        index = ring.free_place()
        ring.put_file(index, file)
        return index
    if not files:
        raise LinuxError(errno.ENXIO)
    if slot > len(files):
        raise LinuxError(errno.EINVAL)
    ring.put_file(slot - 1, file)
    return 0


def file_of(request: Request, fd: int | None = None) -> File:
    """The file that a request is about, which it holds until it is done.  LinuxError(EBADF)."""
    sqe = request.sqe
    fd = sqe.fd if fd is None else fd
    if request.file is None:
        return request.about(registered(request, fd) if sqe.flags & FIXED_FILE else request.task.files.get(fd))
    return request.file


def registered(request: Request, index: int) -> File:
    """A registered file.  LinuxError(EBADF)."""
    files = request.ring.files
    found = files[index] if 0 <= index < len(files) else None
    if found is None:
        raise LinuxError(errno.EBADF)
    return found


def caller(request: Request, *, about_file: bool = True, slot: int = 0) -> tuple[Task, int]:
    """Who makes the call, and the descriptor for it to be given.  LinuxError(EBADF)."""
    task, sqe = request.task, request.sqe
    file = file_of(request) if about_file else None
    if not sqe.flags & FIXED_FILE and not sqe.personality and not slot:
        return task, sqe.fd
    who = copy.copy(task)
    who.files = cast("FdTable", _Files(task.files, request, file, slot))
    if sqe.personality:
        who.credentials = request.ring.personalities[sqe.personality]
    return who, FIXED if file is not None and sqe.flags & FIXED_FILE else sqe.fd
