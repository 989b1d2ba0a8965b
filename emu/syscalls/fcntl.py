"""fcntl(2): a row for each command."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.fasync import F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID
from emu.fs.file import File
from emu.fs.fileattr import APPEND
from emu.fs.hugetlbfs import HugetlbInode
from emu.fs.lease import get_lease, set_lease
from emu.fs.pipefile import PipeFile
from emu.fs.seals import add_seals, get_seals
from emu.fs.shmemfile import TmpfsInode
from emu.kernel.sigio import own, owner_of, owners
from emu.kernel.signal_state import NSIG
from emu.linux.argument import (
    ADDRESS,
    FD,
    HEX,
    HEX32,
    ID,
    INT,
    PID,
    SIZE,
    U32,
    U64,
    Argument,
    Bits,
    Named,
    OneOf,
    Pointer,
    Scalar,
    View,
)
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import Struct
from emu.linux.syscall import BYTES, DESCRIPTOR, NUMBER, ZERO, Restart, Result, Returned, Syscall
from emu.linux.words import hexadecimal
from emu.syscalls import locks

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

FD_CLOEXEC = 1


class Command(NamedTuple):
    """A command of fcntl(2)."""

    number: int
    name: str
    #: ``handler(kernel, task, fd, file, argument)``.
    handler: Callable[[Kernel, Task, int, File, int], Result]
    #: None: the command has none.
    argument: Argument | None
    returns: Returned = ZERO
    #: Whether it is allowed on an O_PATH descriptor.
    on_path: bool = False


def sys_fcntl(kernel: Kernel, task: Task, fd: int, command: int, argument: int) -> Result:
    """fcntl(2)."""
    file = task.files.get_any(fd)
    row = _ROWS.get(command)
    if file.is_path and (row is None or not row.on_path):
        raise LinuxError(errno.EBADF)
    if row is None:
        raise LinuxError(errno.EINVAL)
    return row.handler(kernel, task, fd, file, row.argument.width(argument) if row.argument is not None else 0)


def _dupfd(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return task.files.dup(fd, argument)


def _dupfd_cloexec(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return task.files.dup(fd, argument, cloexec=True)


def _getfd(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return FD_CLOEXEC if task.files.cloexec(fd) else 0


def _setfd(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    task.files.set_cloexec(fd, bool(argument & FD_CLOEXEC))
    return 0


def _getfl(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return file.flags


def _setfl(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    inode = file.inode
    if (argument ^ file.flags) & OpenFlags.APPEND and inode.fs_flags & APPEND:
        raise LinuxError(errno.EPERM)
    if argument & OpenFlags.NOATIME and not file.flags & OpenFlags.NOATIME:
        if not task.credentials.owns(inode.uid):
            raise LinuxError(errno.EPERM)
    if argument & OpenFlags.DIRECT and not (inode.can_direct or stat.S_ISFIFO(inode.mode)):
        raise LinuxError(errno.EINVAL)
    file.set_async(fd, bool(argument & OpenFlags.ASYNC))
    file.set_flags(argument)
    return 0


def _pipe_of(file: File) -> PipeFile:
    if not isinstance(file, PipeFile):
        raise LinuxError(errno.EBADF)
    return file


def _get_pipe_size(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.capacity


def _set_pipe_size(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return _pipe_of(file).pipe.resize(argument)


def _add_seals(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    inode = file.inode
    cache = inode.page_cache if isinstance(inode, TmpfsInode | HugetlbInode) else None
    add_seals(inode, argument, cache, writable=file.writable)
    return 0


def _get_seals(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return get_seals(file.inode)


def _fcntl_lock(command: int, kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> Result:
    return locks.fcntl_lock(command, task, fd, file, argument)


def _dupfd_query(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return int(task.files.get_any(argument) is file)


def _created_query(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return int(file.created)


# Owners and signals


def _setown(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    set_owner(kernel, task, file, F_OWNER_PGRP if argument < 0 else F_OWNER_PID, abs(argument))
    return 0


def set_owner(kernel: Kernel, task: Task, file: File, kind: int, pid: int) -> None:
    """f_setown().  LinuxError(EINVAL, ESRCH)."""
    if pid >> 31:
        raise LinuxError(errno.EINVAL)
    pid = task.means(pid)
    known = kernel.find_task(pid) is not None or any(other.pgid == pid for other in kernel.tasks.values())
    if pid and not known:
        raise LinuxError(errno.ESRCH)
    who = task.credentials
    owner_of(kernel, file).set(kind, pid, who.uid, who.euid)


def get_owner(kernel: Kernel, task: Task, file: File) -> tuple[int, int]:
    """Kind and number of the owner, 0 if there is none any more (f_getown)."""
    owner = file.owner
    if owner is None:
        return F_OWNER_TID, 0
    return owner.kind, task.sees(owner.pid) if owner.pid and owners(kernel, owner.kind, owner.pid) else 0


def _getown(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    kind, pid = get_owner(kernel, task, file)
    return -pid if kind == F_OWNER_PGRP else pid


def _setown_ex(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    kind, pid = F_OWNER_EX.read(task.mm, argument)
    if kind not in (F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP):
        raise LinuxError(errno.EINVAL)
    if pid < 0:
        raise LinuxError(errno.ESRCH)
    set_owner(kernel, task, file, kind, pid)
    return 0


def _getown_ex(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    F_OWNER_EX.write(task.mm, argument, get_owner(kernel, task, file))
    return 0


def _getowner_uids(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    owner = file.owner
    OWNER_UIDS.write(task.mm, argument, (0, 0) if owner is None else (owner.uid, owner.euid))
    return 0


def _setsig(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    if argument > NSIG:
        raise LinuxError(errno.EINVAL)
    owner_of(kernel, file).signum = argument
    return 0


def _getsig(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return 0 if file.owner is None else file.owner.signum


def _setlease(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    set_lease(file, fd, argument, task.credentials, task.tgid)
    own(kernel, file, task)
    return 0


def _getlease(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    return get_lease(file)


def _notify(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    from emu.fs.dnotify import notify  # few programs use it

    notify(file, task.files, fd, argument)
    own(kernel, file, task)
    return 0


def _get_hint(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    HINT.write(task.mm, argument, file.inode.write_hint)
    return 0


def _set_hint(kernel: Kernel, task: Task, fd: int, file: File, argument: int) -> int:
    if not task.credentials.owns(file.inode.uid):
        raise LinuxError(errno.EPERM)
    hint = HINT.read(task.mm, argument)
    if hint > _RWH_LAST:
        raise LinuxError(errno.EINVAL)
    file.inode.write_hint = hint
    return 0


def _lock(command: int, name: str) -> Command:
    return Command(command, name, partial(_fcntl_lock, command), ADDRESS)


#: struct f_owner_ex; the ids of F_GETOWNER_UIDS; a hint of how long data lives (RWH_*).
F_OWNER_EX, OWNER_UIDS = Struct("f_owner_ex", type=INT, pid=PID), Struct("uid_t[2]", uid=ID, euid=ID)
HINT = Scalar("hint", U64, prints=True)
_RWH_LAST = 5
_DN_FLAGS = Bits(
    "DN_", ACCESS=1, MODIFY=2, CREATE=4, DELETE=8, RENAME=0x10, ATTRIB=0x20, MULTISHOT=0x80000000,
)  # fmt: skip
_FD_FLAGS = Bits("FD_", CLOEXEC=FD_CLOEXEC)
_FILE_FLAGS = Returned("O_*", lambda result: f"{hexadecimal(result)} (flags {OpenFlags.words(result)})")

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
    Command(8, "F_SETOWN", _setown, INT),
    Command(9, "F_GETOWN", _getown, None, NUMBER),
    Command(10, "F_SETSIG", _setsig, SIZE),
    Command(11, "F_GETSIG", _getsig, None, NUMBER),
    Command(15, "F_SETOWN_EX", _setown_ex, Pointer(F_OWNER_EX)),
    Command(16, "F_GETOWN_EX", _getown_ex, Pointer(F_OWNER_EX, written=True)),
    Command(17, "F_GETOWNER_UIDS", _getowner_uids, Pointer(OWNER_UIDS, written=True)),
    Command(1024, "F_SETLEASE", _setlease, OneOf("F_", RDLCK=0, WRLCK=1, UNLCK=2)),
    Command(1025, "F_GETLEASE", _getlease, None, NUMBER),
    Command(1026, "F_NOTIFY", _notify, _DN_FLAGS),
    Command(1027, "F_DUPFD_QUERY", _dupfd_query, INT, NUMBER, on_path=True),
    Command(1028, "F_CREATED_QUERY", _created_query, None, NUMBER, on_path=True),
    Command(1035, "F_GET_RW_HINT", _get_hint, Pointer(HINT, written=True)),
    Command(1036, "F_SET_RW_HINT", _set_hint, Pointer(HINT)),
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
