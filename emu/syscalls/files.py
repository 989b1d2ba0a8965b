"""read, write and their relatives: moving bytes between files and user memory."""

from __future__ import annotations

import errno
import signal
from collections.abc import Generator
from typing import TYPE_CHECKING

from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.fs.flags import CHUNK, MAX_FILE_SIZE, MAX_RW_COUNT, OpenFlags
from emu.fs.operations import remove_privileges
from emu.kernel.errors import LinuxError
from emu.syscalls.paths import UserBuffer
from emu.syscalls.table import Result, Syscall, s32, s64

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.kernel.wait import WaitQueue

RLIMIT_FSIZE = 1
_APPEND = int(OpenFlags.APPEND)


# Reading


def read_into(file: File, buffer: UserBuffer, pos: int | None) -> int:
    """Fill ``buffer`` from the file's position, or from ``pos``; WouldBlock only if nothing was read."""
    total = 0
    left = buffer.count
    while True:
        want = left if left < CHUNK else CHUNK
        try:
            data = file.read(want) if pos is None else file.pread(want, pos + total)
        except (WouldBlock, LinuxError):
            if total:
                return total
            raise
        if data:
            try:
                stored = buffer.put(data)
            except LinuxError:
                stored = 0
                if not total:
                    _unread(file, pos, data)
                    raise
            total += stored
            left -= stored
            if stored < len(data):
                _unread(file, pos, data[stored:])
                return total
        if len(data) < want or not left:
            return total


def _unread(file: File, pos: int | None, data: bytes) -> None:
    if pos is None:
        file.unread(data)


def _verify_area(file: File, buffer: UserBuffer, pos: int | None) -> None:
    """EINVAL if the range goes beyond the largest offset (rw_verify_area)."""
    if (file.pos if pos is None else pos) + buffer.count > MAX_FILE_SIZE:
        raise LinuxError(errno.EINVAL)


def _read(file: File, buffer: UserBuffer, pos: int | None = None) -> Result:
    _verify_area(file, buffer, pos)
    try:
        return read_into(file, buffer, pos)
    except WouldBlock as block:
        if file.nonblocking:
            raise LinuxError(errno.EAGAIN) from None
        return _read_later(file.get(), buffer, pos, block.queue)


def _read_later(file: File, buffer: UserBuffer, pos: int | None, queue: WaitQueue) -> Generator[WaitQueue, None, int]:
    """Sleep until something can be read; the file stays open meanwhile, whoever closes the descriptor."""
    try:
        while True:
            yield queue
            try:
                return read_into(file, buffer, pos)
            except WouldBlock as block:
                queue = block.queue
    finally:
        file.put()


# Writing


def write_from(
    kernel: Kernel, task: Task, file: File, buffer: UserBuffer, pos: int | None, done: int
) -> tuple[int, WaitQueue | None]:
    """Write what is left of ``buffer`` after ``done`` bytes: how many are written now, and what to wait for."""
    whole_pages = not file.seekable
    while done < buffer.count:
        want = min(buffer.count - done, CHUNK)
        try:
            data = buffer.take(want, whole_pages)
        except LinuxError:
            if done:
                return done, None
            raise
        written, queue = write_piece(kernel, task, file, data, pos if pos is None else pos + done, done)
        done += written
        if written < len(data):
            buffer.back(data[written:])
            if queue is not None or file.seekable:
                return done, queue
    return done, None


def write_piece(
    kernel: Kernel, task: Task, file: File, data: bytes, pos: int | None, done: int
) -> tuple[int, WaitQueue | None]:
    """Write one piece as far as it goes; an error counts only if nothing (``done``) went before."""
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
            if written == len(data) or file.seekable:
                return written, None
    except WouldBlock as block:
        return written, block.queue
    except LinuxError as error:
        if isinstance(error, BrokenPipe):
            kernel.signals.send(task, signal.SIGPIPE)
        if done + written:
            return written, None
        raise


def _within_limit(kernel: Kernel, task: Task, file: File, data: bytes, pos: int | None) -> bytes:
    """RLIMIT_FSIZE: cut at the limit; SIGXFSZ and EFBIG at or beyond it."""
    if not file.inode.is_regular:
        return data
    start = file.inode.size if file.flags & _APPEND else file.pos if pos is None else pos
    room = task.limits[RLIMIT_FSIZE][0] - start
    if room <= 0:
        kernel.signals.send(task, signal.SIGXFSZ)
        raise LinuxError(errno.EFBIG)
    return data[:room]


def _write(kernel: Kernel, task: Task, file: File, buffer: UserBuffer, pos: int | None = None) -> Result:
    if not buffer.count:
        return 0
    _verify_area(file, buffer, pos)
    done, queue = write_from(kernel, task, file, buffer, pos, 0)
    if queue is None:
        return done
    if file.nonblocking:
        if done:
            return done
        raise LinuxError(errno.EAGAIN)
    return _write_later(kernel, task, file.get(), buffer, pos, done, queue)


def _write_later(
    kernel: Kernel, task: Task, file: File, buffer: UserBuffer, pos: int | None, done: int, queue: WaitQueue | None
) -> Generator[WaitQueue, None, int]:
    try:
        while queue is not None:
            try:
                yield queue
            except LinuxError:
                if done:
                    return done
                raise
            done, queue = write_from(kernel, task, file, buffer, pos, done)
        return done
    finally:
        file.put()


# Handlers


def _readable(task: Task, fd: int) -> File:
    file = task.files.get(s32(fd))
    if not file.readable:
        raise LinuxError(errno.EBADF)
    return file


def _writable(task: Task, fd: int) -> File:
    file = task.files.get(s32(fd))
    if not file.writable:
        raise LinuxError(errno.EBADF)
    return file


def _at(file: File, offset: int) -> int:
    """The offset of a pread or pwrite: EINVAL if negative, ESPIPE for a file without positions."""
    if not file.seekable:
        raise LinuxError(errno.ESPIPE)
    return offset


def _offset(raw: int) -> int:
    offset = s64(raw)
    if offset < 0:
        raise LinuxError(errno.EINVAL)
    return offset


def sys_read(kernel: Kernel, task: Task, fd: int, address: int, count: int) -> Result:
    """read(2)."""
    return _read(_readable(task, fd), UserBuffer(task.mm, address, count))


def sys_write(kernel: Kernel, task: Task, fd: int, address: int, count: int) -> Result:
    """write(2)."""
    return _write(kernel, task, _writable(task, fd), UserBuffer(task.mm, address, count))


def sys_pread64(kernel: Kernel, task: Task, fd: int, address: int, count: int, offset: int) -> Result:
    """pread(2)."""
    pos = _offset(offset)
    file = task.files.get(s32(fd))
    _at(file, pos)
    return _read(_readable(task, fd), UserBuffer(task.mm, address, count), pos)


def sys_pwrite64(kernel: Kernel, task: Task, fd: int, address: int, count: int, offset: int) -> Result:
    """pwrite(2); as on Linux, a file opened with O_APPEND is written at its end."""
    pos = _offset(offset)
    file = task.files.get(s32(fd))
    _at(file, pos)
    return _write(kernel, task, _writable(task, fd), UserBuffer(task.mm, address, count), pos)


def sys_readv(kernel: Kernel, task: Task, fd: int, iov: int, number: int) -> Result:
    """readv(2)."""
    file = _readable(task, fd)
    buffer = UserBuffer.from_iovec(task.mm, iov, number)
    return _read(file, buffer) if buffer.count else 0


def sys_writev(kernel: Kernel, task: Task, fd: int, iov: int, number: int) -> Result:
    """writev(2)."""
    return _write(kernel, task, _writable(task, fd), UserBuffer.from_iovec(task.mm, iov, number))


def sys_preadv(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int) -> Result:
    """preadv(2); a 64-bit caller passes the whole offset in ``low``."""
    pos = _offset(low)
    file = task.files.get(s32(fd))
    _at(file, pos)
    buffer = UserBuffer.from_iovec(task.mm, iov, number)
    return _read(_readable(task, fd), buffer, pos)


def sys_pwritev(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int) -> Result:
    """pwritev(2)."""
    pos = _offset(low)
    file = task.files.get(s32(fd))
    _at(file, pos)
    return _write(kernel, task, _writable(task, fd), UserBuffer.from_iovec(task.mm, iov, number), pos)


def sys_preadv2(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int, flags: int) -> Result:
    """preadv2(2) without flags; offset -1 uses the position."""
    _no_flags(flags)
    if s64(low) == -1:
        return sys_readv(kernel, task, fd, iov, number)
    return sys_preadv(kernel, task, fd, iov, number, low, high)


def sys_pwritev2(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int, flags: int) -> Result:
    """pwritev2(2) without flags; offset -1 uses the position."""
    _no_flags(flags)
    if s64(low) == -1:
        return sys_writev(kernel, task, fd, iov, number)
    return sys_pwritev(kernel, task, fd, iov, number, low, high)


def _no_flags(flags: int) -> None:
    if flags & 0xFFFFFFFF:
        raise LinuxError(errno.EOPNOTSUPP)


def sys_lseek(kernel: Kernel, task: Task, fd: int, offset: int, whence: int) -> int:
    """lseek(2)."""
    return task.files.get(s32(fd)).lseek(s64(offset), s32(whence))


def sys_sendfile(kernel: Kernel, task: Task, out_fd: int, in_fd: int, offset_address: int, count: int) -> Result:
    """sendfile(2): from a regular file to any file."""
    source, target = _readable(task, in_fd), _writable(task, out_fd)
    pos = s64(task.mm.read_u64(offset_address)) if offset_address else source.pos
    if not source.seekable:
        raise LinuxError(errno.ESPIPE if offset_address else errno.EINVAL)
    if pos < 0 or target.flags & _APPEND or not source.inode.is_regular:
        raise LinuxError(errno.EINVAL)
    return _send(kernel, task, source.get(), target.get(), offset_address, pos, min(count, MAX_RW_COUNT))


def _send(
    kernel: Kernel, task: Task, source: File, target: File, offset_address: int, pos: int, count: int
) -> Generator[WaitQueue, None, int]:
    done = 0
    try:
        while done < count:
            data = source.pread(min(count - done, CHUNK), pos + done)
            if not data:
                break
            written, queue = write_piece(kernel, task, target, data, None, done)
            done += written
            if queue is not None:
                if target.nonblocking:
                    if done:
                        break
                    raise LinuxError(errno.EAGAIN)
                yield queue
            elif written < len(data):
                break
    except LinuxError:
        if not done:
            raise
    finally:
        if done and not offset_address:
            source.pos = pos + done
        source.put()
        target.put()
    if offset_address:
        task.mm.write_u64(offset_address, pos + done)
    return done


def sys_copy_file_range(
    kernel: Kernel, task: Task, in_fd: int, in_offset: int, out_fd: int, out_offset: int, count: int, flags: int
) -> int:
    """copy_file_range(2) within one file system."""
    source, target = task.files.get(s32(in_fd)), task.files.get(s32(out_fd))
    if flags & 0xFFFFFFFF:
        raise LinuxError(errno.EINVAL)
    if source.inode.is_directory or target.inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not (source.inode.is_regular and target.inode.is_regular):
        raise LinuxError(errno.EINVAL)
    if not source.readable or not target.writable or target.flags & _APPEND:
        raise LinuxError(errno.EBADF)
    if source.inode.sb is not target.inode.sb:
        raise LinuxError(errno.EXDEV)
    start = _offset(task.mm.read_u64(in_offset)) if in_offset else source.pos
    to = _offset(task.mm.read_u64(out_offset)) if out_offset else target.pos
    count = max(min(count, source.inode.size - start, MAX_RW_COUNT), 0)
    if source.inode is target.inode and start < to + count and to < start + count:
        raise LinuxError(errno.EINVAL)
    if count:
        remove_privileges(target.inode, task.credentials)
    done = _copy_range(source, target, start, to, count)
    for file, address, pos in ((source, in_offset, start + done), (target, out_offset, to + done)):
        if address:
            task.mm.write_u64(address, pos)
        else:
            file.pos = pos
    return done


def _copy_range(source: File, target: File, start: int, to: int, count: int) -> int:
    done = 0
    while done < count:
        data = source.pread(min(count - done, CHUNK), start + done)
        try:
            written = target.pwrite(data, to + done) if data else 0
        except LinuxError:
            if done:
                break
            raise
        done += written
        if not written or written < len(data):
            break
    return done


TABLE = (
    Syscall(0, "read", sys_read, ("fd", "buf", "size")),
    Syscall(1, "write", sys_write, ("fd", "buf", "size")),
    Syscall(8, "lseek", sys_lseek, ("fd", "offset", "int")),
    Syscall(17, "pread64", sys_pread64, ("fd", "buf", "size", "offset")),
    Syscall(18, "pwrite64", sys_pwrite64, ("fd", "buf", "size", "offset")),
    Syscall(19, "readv", sys_readv, ("fd", "ptr", "size")),
    Syscall(20, "writev", sys_writev, ("fd", "ptr", "size")),
    Syscall(40, "sendfile", sys_sendfile, ("fd", "fd", "ptr", "size")),
    Syscall(295, "preadv", sys_preadv, ("fd", "ptr", "size", "offset", "hex")),
    Syscall(296, "pwritev", sys_pwritev, ("fd", "ptr", "size", "offset", "hex")),
    Syscall(326, "copy_file_range", sys_copy_file_range, ("fd", "ptr", "fd", "ptr", "size", "hex")),
    Syscall(327, "preadv2", sys_preadv2, ("fd", "ptr", "size", "offset", "hex", "hex")),
    Syscall(328, "pwritev2", sys_pwritev2, ("fd", "ptr", "size", "offset", "hex", "hex")),
)
