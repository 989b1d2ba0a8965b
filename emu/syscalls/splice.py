"""splice and tee: data between pipes, and between a pipe and a file (fs/splice.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from emu.fs.devfs import NullFile
from emu.fs.file import BrokenPipe, File
from emu.fs.pipe import Pipe
from emu.fs.pipefile import PipeFile
from emu.linux.argument import FD, OFFSET, SIZE, Bits, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, MAX_RW_COUNT, PAGE_SIZE, OpenFlags
from emu.linux.syscall import BYTES, Restart, Result, Syscall
from emu.net.socket import Socket
from emu.syscalls.files import fill_pipe, position_after, sendable, wait_for_space
from emu.syscalls.transfer import fill_from_stream, notify_transfer, signal_broken_pipe, write_piece

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

    Moving = Generator[WaitQueue, None, int]

_NONBLOCK = 2
_KNOWN = 0xF
_APPEND = int(OpenFlags.APPEND)
_SYNC_KNOWN = 7


def sys_splice(
    kernel: Kernel, task: Task, in_fd: int, in_offset: int, out_fd: int, out_offset: int, count: int, flags: int
) -> Result:
    """splice(2)."""
    if not count:
        return 0
    if flags & ~_KNOWN:
        raise LinuxError(errno.EINVAL)
    source, target = task.files.get(in_fd), task.files.get(out_fd)
    check_offsets(source, bool(in_offset), target, bool(out_offset))
    to = OFFSET.read(task.mm, out_offset) if out_offset else None
    start = OFFSET.read(task.mm, in_offset) if in_offset else None

    def store(pos: int) -> None:
        address = in_offset or out_offset
        OFFSET.write(task.mm, address, pos)

    return splice_files(kernel, task, source, start, target, to, count, flags, store)


def check_offsets(source: File, in_given: bool, target: File, out_given: bool) -> None:
    """A pipe has no positions.  LinuxError(ESPIPE)."""
    if (isinstance(source, PipeFile) and in_given) or (isinstance(target, PipeFile) and out_given):
        raise LinuxError(errno.ESPIPE)


def splice_files(
    kernel: Kernel,
    task: Task,
    source: File,
    start: int | None,
    target: File,
    to: int | None,
    count: int,
    flags: int,
    store: Callable[[int], None],
) -> Moving:
    """Move data from one file to another, of which one is a pipe; the other's place is given, and what it is then is
    told (``store``), or is its position.  LinuxError(EBADF, EINVAL).
    """
    if not source.readable or not target.writable:
        raise LinuxError(errno.EBADF)
    count = min(count, MAX_RW_COUNT)
    nonblocking = bool(flags & _NONBLOCK)
    if isinstance(source, PipeFile) and isinstance(target, PipeFile):
        if source.pipe is target.pipe:
            raise LinuxError(errno.EINVAL)
        moving = _between_pipes(kernel, task, source, target, count, nonblocking, keep=False)
    elif isinstance(source, PipeFile):
        _check_place(target, target.pos if to is None else to, to is not None)
        if target.flags & _APPEND or not _transfers(target):
            raise LinuxError(errno.EINVAL)
        moving = _to_file(kernel, task, source, target, to, store, count, nonblocking)
    elif isinstance(target, PipeFile):
        _check_place(source, source.pos if start is None else start, start is not None)
        moving = _from_file(kernel, task, source, target, start, store, count, nonblocking)
    else:
        raise LinuxError(errno.EINVAL)
    return _held(source.get(), target.get(), moving)


def _check_place(file: File, pos: int, given: bool) -> None:
    if (given and not file.seekable) or not 0 <= pos <= MAX_FILE_SIZE:
        raise LinuxError(errno.EINVAL)


def _transfers(file: File) -> bool:
    """Whether data can be spliced from or to a file that is no pipe."""
    return isinstance(file, Socket) or not (file.one_message or file.inode.is_directory)


def _held(source: File, target: File, moving: Moving) -> Moving:
    """The files stay open meanwhile, and those who watch them hear of it."""
    try:
        done = yield from moving
        if done:
            notify_transfer(source, target)
        return done
    finally:
        source.put()
        target.put()


def _wait_for_data(source: PipeFile, nonblocking: bool) -> Generator[WaitQueue, None, None]:
    """Sleep until there is data or no writer (ipipe_prep)."""
    pipe = source.pipe
    while not pipe.length and pipe.writers:
        if nonblocking:
            raise LinuxError(errno.EAGAIN)
        yield pipe.not_empty


def _between_pipes(
    kernel: Kernel, task: Task, source: PipeFile, target: PipeFile, count: int, nonblocking: bool, *, keep: bool
) -> Moving:
    """Move the data of one pipe to another, or copy it (``keep``)."""
    nonblocking = nonblocking or (not keep and (source.nonblocking or target.nonblocking))
    pipe, into = source.pipe, target.pipe
    while True:
        yield from _wait_for_data(source, nonblocking)
        yield from wait_for_space(kernel, task, target, nonblocking)
        if pipe.length or not pipe.writers:
            return _pass_on(pipe, into, count, keep)


def _pass_on(pipe: Pipe, into: Pipe, count: int, keep: bool) -> int:
    done = 0
    for piece in pipe.peek(count):
        if into.full:
            break
        try:
            into.append(piece, PAGE_SIZE if keep else pipe.end_of_first(len(piece)))
        except LinuxError:
            if not done:
                raise
            break
        done += len(piece)
        if not keep:
            pipe.read(len(piece))
    return done


def _from_file(
    kernel: Kernel,
    task: Task,
    source: File,
    target: PipeFile,
    given: int | None,
    store: Callable[[int], None],
    count: int,
    nonblocking: bool,
) -> Moving:
    """Put what a file has into the free slots of a pipe, once (splice_file_to_pipe)."""
    nonblocking = nonblocking or target.nonblocking
    pos = source.pos if given is None else given
    yield from wait_for_space(kernel, task, target, nonblocking)
    if not _transfers(source) or type(source) is NullFile:
        raise LinuxError(errno.EINVAL)
    if sendable(source):
        done = fill_pipe(source, target.pipe, pos, count)
    else:
        done = yield from fill_from_stream(source, target.pipe, pos, count, nonblocking)
    if given is not None:
        store(position_after(source, pos, done))
    elif source.seekable:
        source.pos = position_after(source, pos, done)
    return done


def _to_file(
    kernel: Kernel,
    task: Task,
    source: PipeFile,
    target: File,
    given: int | None,
    store: Callable[[int], None],
    count: int,
    nonblocking: bool,
) -> Moving:
    """Write what is in a pipe to a file (do_splice_from)."""
    done = 0
    pos = target.pos if given is None else given
    pipe = source.pipe
    while done < count:
        if not done:
            yield from _wait_for_data(source, nonblocking or source.nonblocking)
        pieces = pipe.peek(count - done)
        if not pieces:
            break
        where = pos + done if target.seekable else None
        if done and kernel.stop.look():
            break
        try:
            written, queue = write_piece(kernel, task, target, pieces[0], where, done)
        except BrokenPipe as error:
            signal_broken_pipe(kernel, task, error)
            raise
        pipe.read(written)
        done += written
        if written < len(pieces[0]):
            if done or queue is None:
                break
            if nonblocking or target.nonblocking:
                raise LinuxError(errno.EAGAIN)
            yield queue
    if given is not None:
        store(pos + done)
    elif target.seekable:
        target.pos = pos + done
    return done


def sys_tee(kernel: Kernel, task: Task, in_fd: int, out_fd: int, count: int, flags: int) -> Result:
    """tee(2)."""
    if flags & ~_KNOWN:
        raise LinuxError(errno.EINVAL)
    if not count:
        return 0
    source, target = task.files.get(in_fd), task.files.get(out_fd)
    if not source.readable or not target.writable:
        raise LinuxError(errno.EBADF)
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile) or source.pipe is target.pipe:
        raise LinuxError(errno.EINVAL)
    nonblocking = bool(flags & _NONBLOCK) or source.nonblocking or target.nonblocking
    moving = _between_pipes(kernel, task, source, target, min(count, MAX_RW_COUNT), nonblocking, keep=True)
    return _held(source.get(), target.get(), moving)


def sys_sync_file_range(kernel: Kernel, task: Task, fd: int, start: int, count: int, flags: int) -> int:
    """sync_file_range(2): checked, and of no effect, since every file is memory."""
    file = task.files.get(fd)
    if flags & ~_SYNC_KNOWN or start < 0 or count < 0 or start + count > MAX_FILE_SIZE:
        raise LinuxError(errno.EINVAL)
    if not (file.inode.is_regular or file.inode.is_directory or file.inode.is_symlink):
        raise LinuxError(errno.ESPIPE)
    return 0


_POSITION = Pointer(OFFSET, null=True)
_FLAGS = Bits("SPLICE_F_", MOVE=1, NONBLOCK=_NONBLOCK, MORE=4, GIFT=8)
_SYNC_FLAGS = Bits("SYNC_FILE_RANGE_", WAIT_BEFORE=1, WRITE=2, WAIT_AFTER=4)

TABLE = (
    Syscall(275, "splice", sys_splice, (FD, _POSITION, FD, _POSITION, SIZE, _FLAGS), BYTES, Restart.SYS),
    Syscall(276, "tee", sys_tee, (FD, FD, SIZE, _FLAGS), BYTES, Restart.SYS),
    Syscall(277, "sync_file_range", sys_sync_file_range, (FD, OFFSET, OFFSET, _SYNC_FLAGS)),
)
