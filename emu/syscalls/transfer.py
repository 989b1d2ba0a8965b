"""Moving bytes between an open file and user memory, at once or after sleeping: the end of any read or write call."""

from __future__ import annotations

import errno
import signal
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.fs.notify import Notice
from emu.fs.operations import remove_privileges
from emu.kernel.signal_state import SiCode, SigInfo
from emu.linux.errors import Interrupted, LinuxError, NoIntr
from emu.linux.fileflags import CHUNK, MAX_FILE_SIZE, PAGE_SIZE, OpenFlags
from emu.linux.syscall import Result
from emu.syscalls.paths import UserBuffer

if TYPE_CHECKING:
    from emu.fs.pipe import Pipe
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.clock import Clock
    from emu.linux.wait import WaitQueue

RLIMIT_FSIZE = 1
_APPEND = int(OpenFlags.APPEND)
_ACCESS, _MODIFY = int(Notice.ACCESS), int(Notice.MODIFY)


# Reading


def sent_to_itself(task: Task, signo: int) -> SigInfo:
    """The kernel sends a signal to the task that it works for, as if the task did (SEND_SIG_NOINFO)."""
    return SigInfo(signo, SiCode.USER, pid=task.tgid, uid=task.credentials.uid)


def read_into(file: File, buffer: UserBuffer, pos: int | None) -> int:
    """Fill ``buffer`` from the file's position, or from ``pos``; WouldBlock only if nothing was read."""
    total = 0
    left = buffer.count
    want = left if left < CHUNK else CHUNK
    data = file.read(want) if pos is None else file.pread(want, pos)
    while True:
        if data:
            try:
                stored = buffer.put(data)
            except NoIntr:  # who resolves the page's fault does so when the run goes on
                if pos is None:
                    file.unread(data, 0)
                if not total:
                    raise
                return total
            except LinuxError:
                stored = 0
            total += stored
            left -= stored
            if stored < len(data):
                if pos is None:
                    total += file.unread(data, stored) - stored
                if not total:
                    raise LinuxError(errno.EFAULT)
                return total
        if len(data) < want or not left:
            return total
        want = left if left < CHUNK else CHUNK
        try:
            buffer.stop.check()
            data = file.read(want) if pos is None else file.pread(want, pos + total)
        except (WouldBlock, LinuxError):
            return total


def _verify_area(file: File, buffer: UserBuffer, pos: int | None) -> None:
    """EINVAL if the range goes beyond the largest offset (rw_verify_area)."""
    if (file.pos if pos is None else pos) + buffer.count > MAX_FILE_SIZE and not file.unsigned_offset:
        raise LinuxError(errno.EINVAL)


def read_file(file: File, buffer: UserBuffer, pos: int | None = None) -> Result:
    """A whole read call, from the position or from ``pos``: the count, or a generator that sleeps for data."""
    _verify_area(file, buffer, pos)
    try:
        done = read_into(file, buffer, pos)
        if done and file.inode.sb.resources.file_watches:
            file.path.notify(_ACCESS)
        return done
    except WouldBlock as block:
        if file.nonblocking:
            raise LinuxError(errno.EAGAIN) from None
        return _read_later(file.get(), buffer, pos, block)


def _read_later(file: File, buffer: UserBuffer, pos: int | None, block: WouldBlock) -> Generator[Any, None, int]:
    """Sleep until something can be read; the file stays open meanwhile, even if a thread closes the descriptor."""
    clock = file.inode.sb.resources.clock
    deadline = clock.now_ns() + file.receive_timeout if file.receive_timeout else None
    try:
        while True:
            if not buffer.kept and deadline is None and block.deadline is None:
                yield block.queue
            else:
                with file.inode.sb.resources.kmem.held(buffer.kept):
                    if block.deadline is None:
                        yield from sleep(clock, block.queue, deadline)
                    else:
                        yield block.queue, block.deadline
            try:
                done = read_into(file, buffer, pos)
                if done and file.inode.sb.resources.file_watches:
                    file.path.notify(_ACCESS)
                return done
            except WouldBlock as again:
                block = again
    finally:
        file.put()


def sleep(clock: Clock, queue: WaitQueue, deadline: int | None) -> Generator[Any, None, None]:
    """Sleep on a queue until the deadline; then LinuxError(EAGAIN).  With one, a signal ends the call for good
    (sock_intr_errno).
    """
    if deadline is None:
        yield queue
        return
    if clock.now_ns() >= deadline:
        raise LinuxError(errno.EAGAIN)
    try:
        yield queue, deadline
    except Interrupted:
        raise LinuxError(errno.EINTR) from None


# Writing


def write_from(
    kernel: Kernel, task: Task, file: File, buffer: UserBuffer, pos: int | None, done: int
) -> tuple[int, WaitQueue | None]:
    """Write the rest of ``buffer`` after ``done`` bytes: how many were written now, and what to wait for."""
    first = 0
    count = buffer.count
    while done < count:
        want = count - done if count - done < CHUNK else CHUNK
        try:
            if done:
                kernel.stop.check()
            if not file.seekable:
                first = file.prepare_write(want)
            data = buffer.take(want, first)
        except WouldBlock as block:
            return done, block.queue
        except LinuxError as error:
            signal_broken_pipe(kernel, task, error)
            if done:
                return done, None
            raise
        written, queue = write_piece(kernel, task, file, data, pos if pos is None else pos + done, done)
        done += written
        if written < len(data):
            buffer.back(data[written:])
            if queue is not None or file.seekable or file.one_message or not written:  # without memory
                return done, queue
    return done, None


def write_piece(
    kernel: Kernel, task: Task, file: File, data: bytes, pos: int | None, done: int
) -> tuple[int, WaitQueue | None]:
    """Write one piece as far as possible; an error counts only if nothing (``done``) was written before."""
    written = 0
    if file.inode.mode & 0o6000:
        remove_privileges(file.inode, task.credentials)
    try:
        if RLIMIT_FSIZE in task.limits:
            data = _within_limit(kernel, task, file, data, pos)
        if pos is not None:
            return file.pwrite(data, file.inode.size if file.flags & _APPEND else pos), None
        while True:
            written += file.write(data[written:] if written else data)
            if written == len(data) or file.seekable or file.one_message:
                return written, None
    except WouldBlock as block:
        return written, block.queue
    except LinuxError as error:
        signal_broken_pipe(kernel, task, error)
        if done + written:
            return written, None
        raise


def notify_transfer(source: File, target: File) -> None:
    """Bytes have gone from one file to another."""
    source.path.notify(_ACCESS)
    target.path.notify(_MODIFY)


def signal_broken_pipe(kernel: Kernel, task: Task, error: LinuxError) -> None:
    """Send SIGPIPE if the error is a broken pipe."""
    if isinstance(error, BrokenPipe):
        kernel.signals.send(task, signal.SIGPIPE, sent_to_itself(task, signal.SIGPIPE))


def _within_limit(kernel: Kernel, task: Task, file: File, data: bytes, pos: int | None) -> bytes:
    """Apply RLIMIT_FSIZE: cut at the limit; SIGXFSZ and EFBIG at or beyond it."""
    if not file.inode.is_regular:
        return data
    start = file.inode.size if file.flags & _APPEND else file.pos if pos is None else pos
    room = task.limits[RLIMIT_FSIZE][0] - start
    if room <= 0:
        kernel.signals.send(task, signal.SIGXFSZ, sent_to_itself(task, signal.SIGXFSZ))
        raise LinuxError(errno.EFBIG)
    return data[:room]


def write_file(kernel: Kernel, task: Task, file: File, buffer: UserBuffer, pos: int | None = None) -> Result:
    """A whole write call, at the position or at ``pos``: the count, or a generator that sleeps for room."""
    if not buffer.count and not file.takes_unseen:
        return file.write_nothing()
    if file.takes_unseen:
        return file.write(b"") or buffer.count
    _verify_area(file, buffer, pos)
    done, queue = write_from(kernel, task, file, buffer, pos, 0)
    if queue is None or (file.nonblocking and done):
        if done and file.inode.sb.resources.file_watches:
            file.path.notify(_MODIFY)
        return done
    if file.nonblocking:
        raise LinuxError(errno.EAGAIN)
    return _write_later(kernel, task, file.get(), buffer, pos, done, queue)


def _write_later(
    kernel: Kernel, task: Task, file: File, buffer: UserBuffer, pos: int | None, done: int, queue: WaitQueue | None
) -> Generator[Any, None, int]:
    deadline = kernel.clock.now_ns() + file.send_timeout if file.send_timeout else None
    try:
        while queue is not None:
            try:
                with file.inode.sb.resources.kmem.held(buffer.kept):
                    yield from sleep(kernel.clock, queue, deadline)
            except LinuxError:
                if done:
                    return done
                raise
            done, queue = write_from(kernel, task, file, buffer, pos, done)
        return done
    finally:
        if done:
            file.path.notify(_MODIFY)
        file.put()


def fill_from_stream(
    source: File, pipe: Pipe, pos: int, count: int, nonblocking: bool
) -> Generator[WaitQueue, None, int]:
    """Put into the free slots of a pipe what one read gives of a file that has no pages (copy_splice_read)."""
    while True:
        room = min(count, pipe.free * PAGE_SIZE)
        try:
            data = source.pread(room, pos) if source.seekable else source.read(room)
            break
        except WouldBlock as block:
            if nonblocking or source.nonblocking:
                raise LinuxError(errno.EAGAIN) from None
            queue = block.queue
        yield queue
    for at in range(0, len(data), PAGE_SIZE):
        try:
            pipe.append(data[at : at + PAGE_SIZE])
        except LinuxError:
            if not at:
                raise
            return at
    return len(data)
