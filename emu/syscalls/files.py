"""read, write and their relatives: moving bytes between files and user memory."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from emu.fs.devfs import ENDLESS
from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.fs.operations import remove_privileges
from emu.fs.pipe import Pipe
from emu.fs.pipefile import PipeFile
from emu.linux.argument import BUFFER, FD, FILLED, HEX32, OFFSET, SIZE, Named, Pointer, Unused
from emu.linux.errors import LinuxError, NoIntr
from emu.linux.fileflags import CHUNK, MAX_RW_COUNT, PAGE_SIZE, OpenFlags, Whence
from emu.linux.layout import FILLED_IOVEC, IOVEC
from emu.linux.syscall import BYTES, Restart, Result, Returned, Syscall
from emu.linux.words import Flags
from emu.syscalls.paths import UserBuffer
from emu.syscalls.remap import check_two_files
from emu.syscalls.transfer import (
    fill_from_stream,
    notify_transfer,
    read_file,
    signal_broken_pipe,
    sleep,
    write_file,
    write_piece,
)

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

_APPEND, _NONBLOCK = int(OpenFlags.APPEND), int(OpenFlags.NONBLOCK)
#: What sendfile moves at a time: the pages of a pipe.
_SENT_AT_ONCE = 16 * PAGE_SIZE


def _readable(task: Task, fd: int) -> File:
    file = task.files.get(fd)
    if not file.readable:
        raise LinuxError(errno.EBADF)
    return file


def _writable(task: Task, fd: int) -> File:
    file = task.files.get(fd)
    if not file.writable:
        raise LinuxError(errno.EBADF)
    return file


def _check_at(task: Task, fd: int, offset: int) -> None:
    """The offset of a pread or pwrite: EINVAL if negative, ESPIPE for a file without positions."""
    if offset < 0:
        raise LinuxError(errno.EINVAL)
    if not task.files.get(fd).seekable:
        raise LinuxError(errno.ESPIPE)


def _counted_read(task: Task, done: Result) -> Result:
    """The result of a read, which /proc/PID/io counts."""
    usage = task.usage
    usage.syscr += 1
    if isinstance(done, int):
        usage.rchar += done
        return done
    return _counted_later(task, done, "rchar")


def _counted_write(task: Task, done: Result) -> Result:
    """The result of a write."""
    usage = task.usage
    usage.syscw += 1
    if isinstance(done, int):
        usage.wchar += done
        return done
    return _counted_later(task, done, "wchar")


def _counted_later(task: Task, moving: Generator[Any, None, int], name: str) -> Generator[Any, None, int]:
    done = yield from moving
    setattr(task.usage, name, getattr(task.usage, name) + done)
    return done


def sys_read(kernel: Kernel, task: Task, fd: int, address: int, count: int) -> Result:
    """read(2)."""
    done = read_file(_readable(task, fd), UserBuffer(task.mm, address, count))
    if type(done) is not int:
        return _counted_read(task, done)
    usage = task.usage  # as _counted_read(), on the way that every program takes
    usage.syscr += 1
    usage.rchar += done
    return done


def sys_write(kernel: Kernel, task: Task, fd: int, address: int, count: int) -> Result:
    """write(2)."""
    done = write_file(kernel, task, _writable(task, fd), UserBuffer(task.mm, address, count))
    if type(done) is not int:
        return _counted_write(task, done)
    usage = task.usage
    usage.syscw += 1
    usage.wchar += done
    return done


def sys_pread64(kernel: Kernel, task: Task, fd: int, address: int, count: int, offset: int) -> Result:
    """pread(2)."""
    _check_at(task, fd, offset)
    return _counted_read(task, read_file(_readable(task, fd), UserBuffer(task.mm, address, count), offset))


def sys_pwrite64(kernel: Kernel, task: Task, fd: int, address: int, count: int, offset: int) -> Result:
    """pwrite(2); as on Linux, a file opened with O_APPEND is written at its end."""
    _check_at(task, fd, offset)
    file = _writable(task, fd)
    return _counted_write(task, write_file(kernel, task, file, UserBuffer(task.mm, address, count), offset))


def sys_readv(kernel: Kernel, task: Task, fd: int, iov: int, number: int) -> Result:
    """readv(2)."""
    file = _readable(task, fd)
    buffer = UserBuffer.from_iovec(task.mm, iov, number)
    return _counted_read(task, read_file(file, buffer) if buffer.count else 0)


def sys_writev(kernel: Kernel, task: Task, fd: int, iov: int, number: int) -> Result:
    """writev(2)."""
    file = _writable(task, fd)
    buffer = UserBuffer.from_iovec(task.mm, iov, number)
    return _counted_write(task, write_file(kernel, task, file, buffer))


def sys_preadv(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int) -> Result:
    """preadv(2); the offset is one argument, and the next one is not looked at."""
    _check_at(task, fd, low)
    file = _readable(task, fd)
    return _counted_read(task, read_file(file, UserBuffer.from_iovec(task.mm, iov, number), low))


def sys_pwritev(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int) -> Result:
    """pwritev(2)."""
    _check_at(task, fd, low)
    file = _writable(task, fd)
    return _counted_write(task, write_file(kernel, task, file, UserBuffer.from_iovec(task.mm, iov, number), low))


def sys_preadv2(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int, flags: int) -> Result:
    """preadv2(2); offset -1 uses the position."""
    if low == -1:
        return _flagged(_readable(task, fd), flags, lambda: sys_readv(kernel, task, fd, iov, number))
    _check_at(task, fd, low)
    return _flagged(_readable(task, fd), flags, lambda: sys_preadv(kernel, task, fd, iov, number, low, high))


def sys_pwritev2(kernel: Kernel, task: Task, fd: int, iov: int, number: int, low: int, high: int, flags: int) -> Result:
    """pwritev2(2); offset -1 uses the position."""
    if low == -1:
        return _flagged(_writable(task, fd), flags, lambda: sys_writev(kernel, task, fd, iov, number))
    _check_at(task, fd, low)
    return _flagged(_writable(task, fd), flags, lambda: sys_pwritev(kernel, task, fd, iov, number, low, high))


def _flagged(file: File, flags: int, call: Callable[[], Result]) -> Result:
    check_rw_flags(file, flags)
    return with_rw_flags(file, flags, call)


class RwFlags(Flags, prefix="RWF_"):
    """RWF_*: those of one call."""

    HIPRI = 0x1
    DSYNC = 0x2
    SYNC = 0x4
    NOWAIT = 0x8
    APPEND = 0x10
    NOAPPEND = 0x20
    ATOMIC = 0x40
    DONTCACHE = 0x80
    NOSIGNAL = 0x100


_RWF_KNOWN = sum(int(flag) for flag in RwFlags)
_RWF_UNSUPPORTED = int(RwFlags.ATOMIC | RwFlags.DONTCACHE)
_RWF_BOTH = int(RwFlags.APPEND | RwFlags.NOAPPEND)


def check_rw_flags(file: File, flags: int) -> None:
    """Whether a call may have these RWF_* flags (kiocb_set_rw_flags).  LinuxError(EOPNOTSUPP, EINVAL)."""
    if flags & ~_RWF_KNOWN or flags & _RWF_UNSUPPORTED or (flags & RwFlags.NOWAIT and not file.nowait):
        raise LinuxError(errno.EOPNOTSUPP)
    if flags & _RWF_BOTH == _RWF_BOTH:
        raise LinuxError(errno.EINVAL)


def with_rw_flags(file: File, flags: int, call: Callable[[], Result]) -> Result:
    """A call with these flags."""
    if not flags:
        return call()
    before = file.flags
    if flags & RwFlags.NOWAIT:
        file.flags |= _NONBLOCK
    if flags & _RWF_BOTH:
        file.flags = file.flags | _APPEND if flags & RwFlags.APPEND else file.flags & ~_APPEND
    try:
        return call()
    finally:
        file.flags = before


def sys_lseek(kernel: Kernel, task: Task, fd: int, offset: int, whence: int) -> int:
    """lseek(2)."""
    file = task.files.get(fd)
    if whence > Whence.HOLE:  # SEEK_MAX
        raise LinuxError(errno.EINVAL)
    return file.lseek(offset, whence)


def sys_sendfile(kernel: Kernel, task: Task, out_fd: int, in_fd: int, offset_address: int, count: int) -> Result:
    """sendfile(2): from a regular file, or a device of endless bytes, to any file."""
    given = OFFSET.read(task.mm, offset_address) if offset_address else None
    try:
        source = _readable(task, in_fd)
        pos = source.pos if given is None else given
        if not source.seekable and given is not None:
            raise LinuxError(errno.ESPIPE)
        if pos < 0 or count >> 63:
            raise LinuxError(errno.EINVAL)
        target = _writable(task, out_fd)
    except LinuxError:
        if given is not None:  # written back whatever comes of the call
            OFFSET.write(task.mm, offset_address, given)
        raise
    return _send(kernel, task, source.get(), target.get(), offset_address, pos, min(count, MAX_RW_COUNT))


def _send(
    kernel: Kernel, task: Task, source: File, target: File, offset_address: int, pos: int, count: int
) -> Generator[Any, None, int]:
    done = 0
    try:
        if not target.seekable:
            yield from wait_for_space(kernel, task, target, target.nonblocking)
        if stat.S_ISSOCK(target.inode.mode):
            done = yield from _to_socket(kernel, task, source, target, pos, count)
        elif isinstance(target, PipeFile):
            done = yield from _to_pipe(source, target, pos, count)
        else:
            done = _copy_out(kernel, task, source, target, pos, count)
        if not offset_address:
            source.pos = position_after(source, pos, done)
        if done:
            notify_transfer(source, target)
    finally:
        source.put()
        target.put()
    if offset_address:
        OFFSET.write(task.mm, offset_address, position_after(source, pos, done))
    return done


def _to_socket(
    kernel: Kernel, task: Task, source: File, target: File, pos: int, count: int
) -> Generator[Any, None, int]:
    """Send all that was asked for: a socket that may wait does so whenever it is full (splice_to_socket)."""
    if not sendable(source):
        raise LinuxError(errno.EINVAL)
    deadline = kernel.clock.now_ns() + target.send_timeout if target.send_timeout else None
    done = 0
    while done < count:
        data = source.pread(min(count - done, _SENT_AT_ONCE), pos + done)
        if not data:
            break
        written, queue = write_piece(kernel, task, target, data, None, done)
        done += written
        if queue is None:
            if written < len(data):
                break
            continue
        if target.nonblocking:
            if not done:
                raise LinuxError(errno.EAGAIN)
            break
        try:
            yield from sleep(kernel.clock, queue, deadline)
        except LinuxError:
            if done:
                return done
            raise
    return done


def wait_for_space(kernel: Kernel, task: Task, target: File, nonblocking: bool) -> Generator[WaitQueue, None, None]:
    """Sleep until a slot of the pipe is free (wait_for_space() of fs/splice.c)."""
    while True:
        try:
            target.prepare_write(PAGE_SIZE)
            return
        except WouldBlock as block:
            if nonblocking:
                raise LinuxError(errno.EAGAIN) from None
            queue = block.queue
        except BrokenPipe as error:
            signal_broken_pipe(kernel, task, error)
            raise
        yield queue


def _to_pipe(source: File, target: PipeFile, pos: int, count: int) -> Generator[WaitQueue, None, int]:
    if not count or not stat.S_ISSOCK(source.inode.mode):
        return fill_pipe(source, target.pipe, pos, count) if count else 0
    return (yield from fill_from_stream(source, target.pipe, pos, count, target.nonblocking))


def fill_pipe(source: File, pipe: Pipe, pos: int, count: int) -> int:
    """Put pages of a file into the free slots of a pipe, once; sendfile() returns a short count if they are too few."""
    if not sendable(source):
        raise LinuxError(errno.EINVAL)
    done = 0
    while done < count and not pipe.full:
        page = source.pread(min(count - done, PAGE_SIZE - (pos + done) % PAGE_SIZE), pos + done)
        if not page:
            break
        try:
            pipe.append(page)
        except LinuxError:
            if not done:
                raise
            break
        done += len(page)
    return done


def _copy_out(kernel: Kernel, task: Task, source: File, target: File, pos: int, count: int) -> int:
    if target.flags & _APPEND or not (sendable(source) or (source.seekable and not count)):
        raise LinuxError(errno.EINVAL)
    done = 0
    while done < count:
        if done:
            try:
                kernel.stop.check()
            except NoIntr:
                break
        data = source.pread(min(count - done, CHUNK), pos + done)
        written, _ = write_piece(kernel, task, target, data, None, done) if data else (0, None)
        done += written
        if written < len(data) or not data:
            break
    return done


def sendable(source: File) -> bool:
    """Whether its pages can go into a pipe: a regular file, or a device of endless bytes."""
    return source.seekable and (source.inode.is_regular or source.inode.rdev in ENDLESS)


def position_after(source: File, pos: int, done: int) -> int:
    """Where a file stands of which so many bytes have been sent; a device stands where it stood."""
    return pos + done if source.inode.is_regular else pos


def sys_copy_file_range(
    kernel: Kernel, task: Task, in_fd: int, in_offset: int, out_fd: int, out_offset: int, count: int, flags: int
) -> int:
    """copy_file_range(2) within one file system."""
    source, target = task.files.get(in_fd), task.files.get(out_fd)
    start = OFFSET.read(task.mm, in_offset) if in_offset else source.pos
    to = OFFSET.read(task.mm, out_offset) if out_offset else target.pos
    if flags:
        raise LinuxError(errno.EINVAL)
    check_two_files(source, target)
    if source.inode.sb is not target.inode.sb:
        raise LinuxError(errno.EXDEV)
    if start < 0 or to < 0:
        raise LinuxError(errno.EOVERFLOW)
    count = max(min(count, source.inode.size - start, MAX_RW_COUNT), 0)
    if source.inode is target.inode and start < to + count and to < start + count:
        raise LinuxError(errno.EINVAL)
    if count:
        remove_privileges(target.inode, task.credentials)
    done = _copy_range(kernel, source, target, start, to, count)
    if done:
        notify_transfer(source, target)
    for file, address, pos in ((source, in_offset, start + done), (target, out_offset, to + done)):
        if address:
            OFFSET.write(task.mm, address, pos)
        else:
            file.pos = pos
    return done


def _copy_range(kernel: Kernel, source: File, target: File, start: int, to: int, count: int) -> int:
    done = 0
    while done < count:
        data = source.pread(min(count - done, CHUNK), start + done)
        try:
            if done:
                kernel.stop.check()
            written = target.pwrite(data, to + done) if data else 0
        except LinuxError:
            if done:
                break
            raise
        done += written
        if not written or written < len(data):
            break
    return done


#: A pointer to an offset that is used and updated instead of the file's position.
_POSITION = Pointer(OFFSET, null=True)
#: The high half of an offset; a 64-bit program has the whole offset in the register before.
_UPPER_HALF = Unused("unused")
_RW = Named(RwFlags)

TABLE = (
    Syscall(0, "read", sys_read, (FD, FILLED, SIZE), BYTES, Restart.SYS),
    Syscall(1, "write", sys_write, (FD, BUFFER, SIZE), BYTES, Restart.SYS),
    Syscall(8, "lseek", sys_lseek, (FD, OFFSET, Named(Whence)), Returned("offset")),
    Syscall(17, "pread64", sys_pread64, (FD, FILLED, SIZE, OFFSET), BYTES, Restart.SYS),
    Syscall(18, "pwrite64", sys_pwrite64, (FD, BUFFER, SIZE, OFFSET), BYTES, Restart.SYS),
    Syscall(19, "readv", sys_readv, (FD, FILLED_IOVEC, SIZE), BYTES, Restart.SYS),
    Syscall(20, "writev", sys_writev, (FD, IOVEC, SIZE), BYTES, Restart.SYS),
    Syscall(40, "sendfile", sys_sendfile, (FD, FD, _POSITION, SIZE), BYTES, Restart.SYS),
    Syscall(295, "preadv", sys_preadv, (FD, FILLED_IOVEC, SIZE, OFFSET, _UPPER_HALF), BYTES, Restart.SYS),
    Syscall(296, "pwritev", sys_pwritev, (FD, IOVEC, SIZE, OFFSET, _UPPER_HALF), BYTES, Restart.SYS),
    Syscall(326, "copy_file_range", sys_copy_file_range, (FD, _POSITION, FD, _POSITION, SIZE, HEX32), BYTES),
    Syscall(327, "preadv2", sys_preadv2, (FD, FILLED_IOVEC, SIZE, OFFSET, _UPPER_HALF, _RW), BYTES, Restart.SYS),
    Syscall(328, "pwritev2", sys_pwritev2, (FD, IOVEC, SIZE, OFFSET, _UPPER_HALF, _RW), BYTES, Restart.SYS),
)
