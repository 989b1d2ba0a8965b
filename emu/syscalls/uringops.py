"""The operations of an io_uring on files and names, each made of the system call that does the same (io_uring/rw.c,
io_uring/fs.c, io_uring/openclose.c and others).

An operation checks its entry, and returns what does it: LinuxError in the first ends the submission as well.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.uring import BUFFER_SELECT, FIXED_FILE, Request, RingFile
from emu.linux.argument import S32, S64
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import PATHNAME
from emu.linux.syscall import Result
from emu.syscalls.attributes import STATX, sys_statx
from emu.syscalls.eventpoll import sys_epoll_ctl
from emu.syscalls.fdctl import sys_fadvise64, sys_fallocate, sys_ftruncate
from emu.syscalls.files import check_rw_flags, with_rw_flags
from emu.syscalls.lookup import sys_openat2
from emu.syscalls.naming import sys_linkat, sys_mkdirat, sys_renameat2, sys_symlinkat, sys_unlinkat
from emu.syscalls.openclose import sys_openat, sys_pipe2
from emu.syscalls.paths import UserBuffer
from emu.syscalls.residence import sys_madvise
from emu.syscalls.splice import check_offsets, splice_files, sys_sync_file_range, sys_tee
from emu.syscalls.transfer import read_file, write_file
from emu.syscalls.uringbuffers import select_buffer, wait_for_input
from emu.syscalls.uringcaller import caller, file_of, registered
from emu.syscalls.xattr import sys_fgetxattr, sys_fsetxattr, sys_getxattr, sys_setxattr

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.fs.uring import Sqe
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: What does a request.
Issue = Callable[[], Result]
#: Checks an entry.
Prepare = Callable[["Kernel", Request], Issue]

_CURRENT = (1 << 64) - 1
_CLOEXEC = int(OpenFlags.CLOEXEC)
_NOP_INJECT_RESULT = 1
_DATASYNC = 1
#: SPLICE_F_FD_IN_FIXED.
_IN_FIXED = 1 << 31


def must_be_zero(*values: int) -> None:
    """LinuxError(EINVAL)."""
    if any(values):
        raise LinuxError(errno.EINVAL)


def nop(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_NOP."""
    sqe = request.sqe
    must_be_zero(sqe.op_flags & ~_NOP_INJECT_RESULT)
    return lambda: S32(sqe.len) if sqe.op_flags else 0


# Reading and writing


def _moved(kernel: Kernel, request: Request, buffer: UserBuffer | None, *, writes: bool) -> Result:
    sqe, file = request.sqe, file_of(request)
    if not (file.writable if writes else file.readable):
        raise LinuxError(errno.EBADF)
    check_rw_flags(file, sqe.op_flags)
    pos = S64(sqe.off) if file.seekable and sqe.off != _CURRENT else None
    if pos is not None and pos < 0:
        raise LinuxError(errno.EINVAL)
    if buffer is None:
        return _read_selected(request, pos)
    request.expected = buffer.count

    def run() -> Result:
        if writes:
            return write_file(kernel, request.task, file, buffer, pos)
        return read_file(file, buffer, pos)

    return with_rw_flags(file, sqe.op_flags, run)


def _read_selected(request: Request, pos: int | None) -> Generator[Any, None, int]:
    """Read into a buffer of a group, which is chosen when there is something to read."""
    file = file_of(request)
    yield from wait_for_input(file)
    chosen = select_buffer(request)
    try:
        done = read_file(file, UserBuffer(request.task.mm, chosen.address, chosen.length), pos)
        if not isinstance(done, int):
            done.close()
            raise LinuxError(errno.EAGAIN)
    except LinuxError:
        chosen.give_back()
        raise
    chosen.use(request)
    return done


def _plain(writes: bool) -> Prepare:
    def prepare(kernel: Kernel, request: Request) -> Issue:
        """IORING_OP_READ, IORING_OP_WRITE."""
        sqe = request.sqe
        if sqe.flags & BUFFER_SELECT and not writes:
            return lambda: _moved(kernel, request, None, writes=False)
        must_be_zero(sqe.flags & BUFFER_SELECT)
        buffer = UserBuffer(request.task.mm, sqe.addr, sqe.len)
        return lambda: _moved(kernel, request, buffer, writes=writes)

    return prepare


def _vectors(writes: bool) -> Prepare:
    def prepare(kernel: Kernel, request: Request) -> Issue:
        """IORING_OP_READV, IORING_OP_WRITEV."""
        sqe = request.sqe
        must_be_zero(sqe.flags & BUFFER_SELECT)
        buffer = UserBuffer.from_iovec(request.task.mm, sqe.addr, sqe.len)
        return lambda: _moved(kernel, request, buffer, writes=writes)

    return prepare


def _fixed(writes: bool) -> Prepare:
    def prepare(kernel: Kernel, request: Request) -> Issue:
        """IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED."""
        sqe, ring = request.sqe, request.ring
        must_be_zero(sqe.flags & BUFFER_SELECT)

        def issue() -> Result:
            base, length = ring.buffers[sqe.buf_index] if sqe.buf_index < len(ring.buffers) else (0, 0)
            if not base or not base <= sqe.addr <= sqe.addr + sqe.len <= base + length:
                raise LinuxError(errno.EFAULT)
            return _moved(kernel, request, UserBuffer(request.task.mm, sqe.addr, sqe.len), writes=writes)

        return issue

    return prepare


def fsync(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_FSYNC."""
    sqe = request.sqe
    must_be_zero(sqe.addr, sqe.buf_index, sqe.file_index, sqe.op_flags & ~_DATASYNC)

    def issue() -> int:
        file_of(request).fsync(bool(sqe.op_flags))
        return 0

    return issue


def sync_file_range(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_SYNC_FILE_RANGE."""
    sqe = request.sqe
    must_be_zero(sqe.addr, sqe.buf_index, sqe.file_index)

    def issue() -> int:
        who, fd = caller(request)
        return sys_sync_file_range(kernel, who, fd, S64(sqe.off), sqe.len, sqe.op_flags)

    return issue


def fallocate(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_FALLOCATE: the mode is in ``len``, the length in ``addr``."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.op_flags, sqe.file_index)

    def issue() -> int:
        who, fd = caller(request)
        return sys_fallocate(kernel, who, fd, S32(sqe.len), S64(sqe.off), S64(sqe.addr))

    return issue


def ftruncate(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_FTRUNCATE."""
    sqe = request.sqe
    must_be_zero(sqe.op_flags, sqe.addr, sqe.len, sqe.buf_index, sqe.file_index, sqe.addr3)

    def issue() -> int:
        who, fd = caller(request)
        return sys_ftruncate(kernel, who, fd, S64(sqe.off))

    return issue


def fadvise(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_FADVISE."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.file_index)

    def issue() -> int:
        who, fd = caller(request)
        return sys_fadvise64(kernel, who, fd, S64(sqe.off), sqe.addr or sqe.len, S32(sqe.op_flags))

    return issue


def madvise(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_MADVISE."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.file_index)
    return lambda: sys_madvise(kernel, request.task, sqe.addr, sqe.off or sqe.len, S32(sqe.op_flags))


def splice(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_SPLICE: the places are values, and -1 is the position."""
    sqe = request.sqe
    must_be_zero(sqe.op_flags & ~(0xF | _IN_FIXED))

    def issue() -> Result:
        target = file_of(request)
        source = _source(request)
        start, to = (None if at == _CURRENT else S64(at) for at in (sqe.addr, sqe.off))
        if not sqe.len:
            return 0
        check_offsets(source, start is not None, target, to is not None)
        request.expected = sqe.len
        flags = sqe.op_flags & 0xF
        return splice_files(kernel, request.task, source, start, target, to, sqe.len, flags, lambda pos: None)

    return issue


def _source(request: Request) -> File:
    sqe = request.sqe
    index = S32(sqe.file_index)
    return registered(request, index) if sqe.op_flags & _IN_FIXED else request.task.files.get(index)


def tee(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_TEE."""
    sqe = request.sqe
    must_be_zero(sqe.off, sqe.addr, sqe.op_flags & ~(0xF | _IN_FIXED))

    def issue() -> Result:
        if sqe.op_flags & _IN_FIXED:
            kernel.log_once("io_uring: tee from a registered file is not supported: EINVAL")
            raise LinuxError(errno.EINVAL)
        who, fd = caller(request)
        request.expected = sqe.len
        return sys_tee(kernel, who, S32(sqe.file_index), fd, sqe.len, sqe.op_flags)

    return issue


# Names


def _no_fixed_file(request: Request) -> None:
    if request.sqe.flags & FIXED_FILE:
        raise LinuxError(errno.EBADF)


def openat(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_OPENAT."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index)
    _no_fixed_file(request)
    PATHNAME.read(request.task.mm, sqe.addr)
    must_be_zero(sqe.file_index and sqe.op_flags & _CLOEXEC)

    def issue() -> Result:
        who, fd = caller(request, about_file=False, slot=sqe.file_index)
        return sys_openat(kernel, who, fd, sqe.addr, sqe.op_flags, sqe.len & 0xFFFF)

    return issue


def openat2(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_OPENAT2."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index)
    _no_fixed_file(request)

    def issue() -> Result:
        who, fd = caller(request, about_file=False, slot=sqe.file_index)
        return sys_openat2(kernel, who, fd, sqe.addr, sqe.off, sqe.len)

    return issue


def close(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_CLOSE: of a descriptor, or of the registered file before ``file_index``."""
    sqe, ring, files = request.sqe, request.ring, request.task.files
    must_be_zero(sqe.off, sqe.addr, sqe.len, sqe.op_flags, sqe.buf_index, sqe.file_index and sqe.fd)
    _no_fixed_file(request)

    def issue() -> int:
        if sqe.file_index:
            if not ring.files:
                raise LinuxError(errno.ENXIO)
            if sqe.file_index > len(ring.files):
                raise LinuxError(errno.EINVAL)
            registered(request, sqe.file_index - 1)
            ring.put_file(sqe.file_index - 1, None)
            return 0
        if isinstance(files.get_any(sqe.fd), RingFile):
            raise LinuxError(errno.EBADF)
        files.close(sqe.fd)
        return 0

    return issue


def pipe(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_PIPE."""
    sqe = request.sqe
    must_be_zero(sqe.fd, sqe.off, sqe.addr3, sqe.op_flags & ~int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK))
    if sqe.file_index:
        kernel.log_once("io_uring: pipes among the registered files are not supported: EINVAL")
        raise LinuxError(errno.EINVAL)
    return lambda: sys_pipe2(kernel, request.task, sqe.addr, sqe.op_flags)


def statx(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_STATX."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.file_index)
    _no_fixed_file(request)

    def issue() -> int:
        who, fd = caller(request, about_file=False)
        STATX.write(request.task.mm, sqe.off, sys_statx(kernel, who, fd, sqe.addr, sqe.op_flags, sqe.len))
        return 0

    return issue


def _at(do: Callable[[Kernel, Task, int, Sqe], int], *zero: str) -> Prepare:
    """An operation on names, the first of which is in ``addr``; fields that must be 0."""

    def prepare(kernel: Kernel, request: Request) -> Issue:
        must_be_zero(*(getattr(request.sqe, name) for name in ("buf_index", "file_index", *zero)))
        _no_fixed_file(request)
        PATHNAME.read(request.task.mm, request.sqe.addr)

        def issue() -> int:
            who, fd = caller(request, about_file=False)
            return do(kernel, who, fd, request.sqe)

        return issue

    return prepare


def _renameat(kernel: Kernel, who: Task, fd: int, sqe: Sqe) -> int:
    return sys_renameat2(kernel, who, fd, sqe.addr, S32(sqe.len), sqe.off, sqe.op_flags)


def _linkat(kernel: Kernel, who: Task, fd: int, sqe: Sqe) -> int:
    return sys_linkat(kernel, who, fd, sqe.addr, S32(sqe.len), sqe.off, sqe.op_flags)


def _unlinkat(kernel: Kernel, who: Task, fd: int, sqe: Sqe) -> int:
    return sys_unlinkat(kernel, who, fd, sqe.addr, sqe.op_flags)


def _mkdirat(kernel: Kernel, who: Task, fd: int, sqe: Sqe) -> int:
    return sys_mkdirat(kernel, who, fd, PATHNAME.read(who.mm, sqe.addr), sqe.len & 0xFFFF)


def _symlinkat(kernel: Kernel, who: Task, fd: int, sqe: Sqe) -> int:
    return sys_symlinkat(kernel, who, PATHNAME.read(who.mm, sqe.addr), fd, PATHNAME.read(who.mm, sqe.off))


# Attributes, and others


def _xattr(do: Callable[..., int], *, by_file: bool) -> Prepare:
    def prepare(kernel: Kernel, request: Request) -> Issue:
        """IORING_OP_SETXATTR, IORING_OP_GETXATTR and those of open files: the name, and where the value is."""
        sqe = request.sqe
        if by_file:
            return lambda: _of_file(do, kernel, request)
        _no_fixed_file(request)
        more = (sqe.op_flags,) if do is sys_setxattr else ()
        return lambda: do(kernel, request.task, sqe.addr3, sqe.addr, sqe.off, sqe.len, *more)

    return prepare


def _of_file(do: Callable[..., int], kernel: Kernel, request: Request) -> int:
    sqe = request.sqe
    who, fd = caller(request)
    more = (sqe.op_flags,) if do is sys_fsetxattr else ()
    return do(kernel, who, fd, sqe.addr, sqe.off, sqe.len, *more)


def epoll_ctl(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_EPOLL_CTL."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.file_index)
    _no_fixed_file(request)
    return lambda: sys_epoll_ctl(kernel, request.task, sqe.fd, S32(sqe.len), S32(sqe.off), sqe.addr)


OPERATIONS: dict[int, Prepare] = {
    0: nop, 1: _vectors(False), 2: _vectors(True), 3: fsync, 4: _fixed(False), 5: _fixed(True), 8: sync_file_range,
    17: fallocate, 18: openat, 19: close, 21: statx, 22: _plain(False), 23: _plain(True), 24: fadvise, 25: madvise,
    28: openat2, 29: epoll_ctl, 30: splice, 33: tee, 35: _at(_renameat), 36: _at(_unlinkat, "off", "len"),
    37: _at(_mkdirat, "off", "op_flags"), 38: _at(_symlinkat, "len", "op_flags"), 39: _at(_linkat),
    41: _xattr(sys_fsetxattr, by_file=True), 42: _xattr(sys_setxattr, by_file=False),
    43: _xattr(sys_fgetxattr, by_file=True), 44: _xattr(sys_getxattr, by_file=False), 55: ftruncate, 62: pipe,
}  # fmt: skip
