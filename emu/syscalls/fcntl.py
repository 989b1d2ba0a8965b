"""fcntl(2): a row for each command."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.file import File
from emu.fs.hugetlbfs import HugetlbInode
from emu.fs.pipe import PipeFile
from emu.fs.seals import add_seals, get_seals
from emu.fs.tmpfs import TmpfsInode
from emu.linux.argument import FD, HEX, HEX32, INT, U32, Argument, Bits, Named, Scalar, View
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.syscall import BYTES, DESCRIPTOR, NUMBER, ZERO, Restart, Result, Returned, Syscall
from emu.syscalls import locks

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

FD_CLOEXEC = 1


class Command(NamedTuple):
    """A command of fcntl(2)."""

    number: int
    name: str
    #: ``handler(task, fd, file, argument)``.
    handler: Callable[[Task, int, File, int], Result]
    #: None: the command has none.
    argument: Argument | None
    returns: Returned = ZERO
    #: Whether it is allowed on an O_PATH descriptor.
    on_path: bool = False


def sys_fcntl(kernel: Kernel, task: Task, fd: int, command: int, argument: int) -> Result:
    """fcntl(2): descriptors, flags, locks and pipe sizes; EINVAL for every other command."""
    file = task.files.get_any(fd)
    row = _ROWS.get(command)
    if file.is_path and (row is None or not row.on_path):
        raise LinuxError(errno.EBADF)
    if row is None:
        raise LinuxError(errno.EINVAL)
    return row.handler(task, fd, file, row.argument.width(argument) if row.argument is not None else 0)


def _dupfd(task: Task, fd: int, file: File, argument: int) -> int:
    return task.files.dup(fd, argument)


def _dupfd_cloexec(task: Task, fd: int, file: File, argument: int) -> int:
    return task.files.dup(fd, argument, cloexec=True)


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
    file.set_flags(argument)
    return 0


def _pipe_of(file: File) -> PipeFile:
    if not isinstance(file, PipeFile):
        raise LinuxError(errno.EBADF)
    return file


def _get_pipe_size(task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.capacity


def _set_pipe_size(task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.resize(argument)


def _add_seals(task: Task, fd: int, file: File, argument: int) -> int:
    inode = file.inode
    cache = inode.page_cache if isinstance(inode, TmpfsInode | HugetlbInode) else None
    add_seals(inode, argument, cache, writable=file.writable)
    return 0


def _get_seals(task: Task, fd: int, file: File, argument: int) -> int:
    return get_seals(file.inode)


def _lock(command: int, name: str) -> Command:
    return Command(command, name, partial(locks.fcntl_lock, command), HEX)


_FD_FLAGS = Bits("FD_", CLOEXEC=FD_CLOEXEC)
_FILE_FLAGS = Returned("O_*", lambda result: f"{result:#x} (flags {OpenFlags.words(result)})")

_COMMANDS = (
    Command(0, "F_DUPFD", _dupfd, INT, DESCRIPTOR, on_path=True),
    Command(1, "F_GETFD", _getfd, None, NUMBER, on_path=True),
    Command(2, "F_SETFD", _setfd, _FD_FLAGS, on_path=True),
    Command(3, "F_GETFL", _getfl, None, _FILE_FLAGS, on_path=True),
    Command(4, "F_SETFL", _setfl, Named(OpenFlags)),
    _lock(locks.F_GETLK, "F_GETLK"),
    _lock(locks.F_SETLK, "F_SETLK"),
    _lock(locks.F_SETLKW, "F_SETLKW"),
    _lock(locks.F_OFD_GETLK, "F_OFD_GETLK"),
    _lock(locks.F_OFD_SETLK, "F_OFD_SETLK"),
    _lock(locks.F_OFD_SETLKW, "F_OFD_SETLKW"),
    Command(1030, "F_DUPFD_CLOEXEC", _dupfd_cloexec, INT, DESCRIPTOR, on_path=True),
    Command(1031, "F_SETPIPE_SZ", _set_pipe_size, HEX32, BYTES),
    Command(1032, "F_GETPIPE_SZ", _get_pipe_size, None, BYTES),
    Command(1033, "F_ADD_SEALS", _add_seals, HEX32),
    Command(1034, "F_GET_SEALS", _get_seals, None, NUMBER),
)
_ROWS = {row.number: row for row in _COMMANDS}


def _command_words(command: int) -> str:
    return _ROWS[command].name if command in _ROWS else f"{command:#x} /* F_??? */"


class _FcntlArgument(Argument):
    """Printed as the command before it says."""

    name = "of the command"

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        row = _ROWS.get(values[at - 1])
        return HEX if row is None else row.argument


class _FcntlReturned(Returned):
    """Printed as the command says."""

    def text(self, result: int, values: tuple[int, ...]) -> str:
        row = _ROWS.get(values[1])
        return super().text(result, values) if row is None else row.returns.text(result, values)


TABLE = (
    Syscall(
        72, "fcntl", sys_fcntl, (FD, Scalar("F_*", U32, _command_words), _FcntlArgument()),
        _FcntlReturned("of the command"), Restart.SYS,
    ),
)  # fmt: skip
