"""flock(2), and the lock commands of fcntl(2); their rows are in :mod:`emu.syscalls.fdctl`."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING

from emu.fs.fdtable import FdTable, check_deadlock
from emu.fs.file import File
from emu.fs.locks import TO_EOF, FileLocks, Lock
from emu.linux.argument import Bits
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, Whence
from emu.linux.layout import Layout
from emu.linux.likeness import Likeness
from emu.linux.syscall import Result

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
_LOCK_MAND = 32
FLOCK_OPERATION = Bits("LOCK_", SH=LOCK_SH, EX=LOCK_EX, NB=LOCK_NB, UN=LOCK_UN)
F_RDLCK, F_WRLCK, F_UNLCK = range(3)
F_GETLK, F_SETLK, F_SETLKW = 5, 6, 7
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
#: type, whence, start, len, pid.
FLOCK = Layout(
    "flock", "hh4xqqi4x", likeness=Likeness.EXACT, fields={"l_type": 0, "l_whence": 1, "l_start": 2, "l_len": 3}
)


def sys_flock(kernel: Kernel, task: Task, fd: int, operation: int) -> Result:
    """flock(2)."""
    if operation & _LOCK_MAND:  # which has not had an effect for long
        return 0
    kind = operation & ~LOCK_NB
    if kind not in (LOCK_SH, LOCK_EX, LOCK_UN):
        raise LinuxError(errno.EINVAL)
    file = task.files.get(fd)
    exclusive = None if kind == LOCK_UN else kind == LOCK_EX
    queue = file.inode.file_locks().flock(file, exclusive, task.tgid)
    if queue is None:
        return 0
    if operation & LOCK_NB:
        raise LinuxError(errno.EWOULDBLOCK)
    return _flock_later(file.get(), exclusive, task.tgid, queue)


def _flock_later(
    file: File, exclusive: bool | None, pid: int, queue: WaitQueue | None
) -> Generator[WaitQueue, None, int]:
    try:
        while queue is not None:
            yield queue
            queue = file.inode.file_locks().flock(file, exclusive, pid)
        return 0
    finally:
        file.put()


def fcntl_lock(command: int, task: Task, fd: int, file: File, address: int) -> Result:
    """F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ forms."""
    kind, whence, start, length, pid = FLOCK.read(task.mm, address)
    if kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
        raise LinuxError(errno.EINVAL)
    ofd = command >= F_OFD_GETLK
    if ofd and pid:
        raise LinuxError(errno.EINVAL)
    owner: FdTable | File = file if ofd else task.files
    first, end = _range(file, whence, start, length)
    wanted = Lock(owner, kind == F_WRLCK, first, end, -1 if ofd else task.tgid)
    locks = file.inode.file_locks()
    if command in (F_GETLK, F_OFD_GETLK):
        if kind == F_UNLCK:
            raise LinuxError(errno.EINVAL)
        _report(task, address, locks.conflict(wanted), (whence, start, length, pid))
        return 0
    if kind == F_UNLCK:
        locks.unlock(owner, first, end)
        return 0
    if (kind == F_RDLCK and not file.readable) or (kind == F_WRLCK and not file.writable):
        raise LinuxError(errno.EBADF)
    blocker = locks.conflict(wanted)
    if blocker is None:
        locks.lock(wanted)
        return 0
    if command in (F_SETLK, F_OFD_SETLK):
        raise LinuxError(errno.EAGAIN)
    return _lock_later(file.get(), locks, wanted, blocker)


def _lock_later(file: File, locks: FileLocks, wanted: Lock, blocker: Lock | None) -> Generator[WaitQueue, None, int]:
    owner = wanted.owner
    try:
        while blocker is not None:
            if isinstance(owner, FdTable):
                check_deadlock(owner, blocker.owner)
                owner.waiting_for = blocker.owner if isinstance(blocker.owner, FdTable) else None
            yield locks.changed
            blocker = locks.conflict(wanted)
        locks.lock(wanted)
        return 0
    finally:
        if isinstance(owner, FdTable):
            owner.waiting_for = None
        file.put()


def _range(file: File, whence: int, start: int, length: int) -> tuple[int, int]:
    """The bytes [first, end) of a struct flock (flock64_to_posix_lock)."""
    if whence not in (Whence.SET, Whence.CUR, Whence.END):
        raise LinuxError(errno.EINVAL)
    first = start + {Whence.SET: 0, Whence.CUR: file.pos, Whence.END: file.inode.size}[Whence(whence)]
    if first > MAX_FILE_SIZE:
        raise LinuxError(errno.EOVERFLOW)
    end = TO_EOF if length == 0 else first + length
    if length < 0:
        first, end = end, first
    if first < 0:
        raise LinuxError(errno.EINVAL)
    if end > TO_EOF:
        raise LinuxError(errno.EOVERFLOW)
    return first, end


def _report(task: Task, address: int, lock: Lock | None, asked: tuple[int, int, int, int]) -> None:
    """F_GETLK's answer: the conflicting lock, or F_UNLCK with the other fields unchanged."""
    if lock is None:
        FLOCK.write(task.mm, address, (F_UNLCK, *asked))
        return
    kind = F_WRLCK if lock.exclusive else F_RDLCK
    length = 0 if lock.end == TO_EOF else lock.end - lock.start
    pid = lock.pid if lock.pid < 0 else task.sees(lock.pid)
    FLOCK.write(task.mm, address, (kind, Whence.SET, lock.start, length, pid))
