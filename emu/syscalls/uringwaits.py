"""The operations of an io_uring that wait or end a wait: polls, timeouts, cancellation (io_uring/poll.c,
io_uring/timeout.c, io_uring/cancel.c), and messages to another ring.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.fs.file import File
from emu.kernel.uring import (
    CANCEL_ALL,
    CANCEL_ANY,
    CANCEL_FD,
    CANCEL_FD_FIXED,
    CANCEL_OP,
    CANCEL_USERDATA,
    Request,
    RingFile,
    Uring,
)
from emu.linux.argument import S32, U32
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PollEvents
from emu.linux.layout import Layout
from emu.linux.wait import WaitQueue
from emu.syscalls.uringcaller import file_of, registered
from emu.syscalls.uringops import Issue, must_be_zero
from emu.syscalls.wait import sys_waitid

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.linux.clock import Clock

_POLL_MULTI, _POLL_UPDATE_EVENTS, _POLL_UPDATE_DATA, _POLL_LEVEL = 1, 2, 4, 8
_ALWAYS = int(PollEvents.ERR | PollEvents.HUP | PollEvents.NVAL)
#: IORING_TIMEOUT_*.
_ABS, _UPDATE, _BOOTTIME, _REALTIME, _LINK_UPDATE, _ETIME_SUCCESS, _MULTISHOT = (1 << bit for bit in range(7))
_CLOCKS = _BOOTTIME | _REALTIME
_TIMESPEC = Layout("__kernel_timespec", "qq")
_NS = 1_000_000_000
_CANCEL_KNOWN = CANCEL_ALL | CANCEL_FD | CANCEL_ANY | CANCEL_FD_FIXED | CANCEL_USERDATA | CANCEL_OP
_TIMEOUT, _POLL_ADD = 11, 6


# Polls


class Poll:
    """A poll that waits: what for, which may be changed."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted


def poll_add(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_POLL_ADD."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.off, sqe.addr, sqe.len & ~(_POLL_MULTI | _POLL_LEVEL))
    many = bool(sqe.len & _POLL_MULTI)
    must_be_zero(many and sqe.flags & 64)
    request.polls = poll = Poll(sqe.op_flags | _ALWAYS)
    return lambda: _polling(request, file_of(request), poll, many=many)


def _polling(request: Request, file: File, poll: Poll, *, many: bool) -> Generator[Any, None, int]:
    while True:
        mask, queues = file.poll()
        found = mask & poll.wanted
        if found and not many:
            return found
        if found:
            request.more(found)
        if not queues:
            return found
        yield queues


def poll_remove(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_POLL_REMOVE, which can change a poll too."""
    sqe, ring = request.sqe, request.ring
    must_be_zero(sqe.buf_index, sqe.file_index)
    flags = sqe.len
    must_be_zero(flags & ~(_POLL_UPDATE_EVENTS | _POLL_UPDATE_DATA | _POLL_MULTI))
    if flags == _POLL_MULTI or (sqe.off and not flags & _POLL_UPDATE_DATA):
        raise LinuxError(errno.EINVAL)
    if not flags & _POLL_UPDATE_EVENTS and sqe.op_flags:
        raise LinuxError(errno.EINVAL)

    def issue() -> int:
        found = next((r for r in ring.pending if r.waits and r.polls and r.sqe.user_data == sqe.addr), None)
        if found is None:
            raise LinuxError(errno.ENOENT)
        if not flags & (_POLL_UPDATE_EVENTS | _POLL_UPDATE_DATA):
            found.cancel()
            return 0
        if flags & _POLL_UPDATE_DATA:
            found.sqe = found.sqe._replace(user_data=sqe.off)
        if flags & _POLL_UPDATE_EVENTS and isinstance(found.polls, Poll):
            found.polls.wanted = sqe.op_flags | _ALWAYS
        found.wake()
        return 0

    return issue


# Timeouts


def _read_time(request: Request, address: int) -> int:
    seconds, nanoseconds = _TIMESPEC.read(request.task.mm, address)
    if seconds < 0 or nanoseconds < 0:
        raise LinuxError(errno.EINVAL)
    return int(seconds) * _NS + int(nanoseconds)


def _deadline(clock: Clock, time: int, flags: int) -> int:
    if not flags & _ABS:
        return clock.now_ns() + time
    return time - clock.realtime_offset if flags & _REALTIME else time


def _check_clock(flags: int) -> None:
    must_be_zero(flags & _CLOCKS == _CLOCKS)


def timeout(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_TIMEOUT: ETIME at its time, 0 after so many events (``off``)."""
    sqe, ring = request.sqe, request.ring
    flags = sqe.op_flags
    must_be_zero(sqe.addr3, sqe.buf_index, sqe.len != 1, sqe.file_index)
    must_be_zero(flags & ~(_ABS | _CLOCKS | _ETIME_SUCCESS | _MULTISHOT), flags & _MULTISHOT and flags & _ABS)
    time = _read_time(request, sqe.addr)
    _check_clock(flags)
    request.forgiven = -errno.ETIME if flags & _ETIME_SUCCESS else 0
    target = U32(sqe.off)

    def issue() -> Generator[Any, None, int]:
        request.deadline = _deadline(kernel.clock, time, flags)
        if flags & _MULTISHOT:
            return _ticking(kernel, request, time, target)
        if target:
            ring.counted[request] = ring.events + target
        return _timing(kernel, request, counts=bool(target))

    return issue


def _timing(kernel: Kernel, request: Request, *, counts: bool) -> Generator[Any, None, int]:
    queue = WaitQueue()
    while True:
        assert request.deadline is not None, "a timeout without a time"
        if counts and request not in request.ring.counted:
            return 0
        if kernel.clock.now_ns() >= request.deadline:
            raise LinuxError(errno.ETIME)
        yield queue, request.deadline


def _ticking(kernel: Kernel, request: Request, interval: int, number: int) -> Generator[Any, None, int]:
    """A timeout that comes again; so often, or for ever."""
    queue = WaitQueue()
    left = number
    while True:
        assert request.deadline is not None, "a timeout without a time"
        if kernel.clock.now_ns() >= request.deadline:
            left -= 1
            if not left:
                raise LinuxError(errno.ETIME)
            request.more(-errno.ETIME)
            request.deadline += max(interval, 1000)
            continue
        yield queue, request.deadline


def link_timeout(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_LINK_TIMEOUT: it limits the request before it in its chain."""
    sqe = request.sqe
    flags = sqe.op_flags
    must_be_zero(sqe.addr3, sqe.buf_index, sqe.len != 1, sqe.file_index, sqe.off)
    must_be_zero(flags & ~(_ABS | _CLOCKS | _ETIME_SUCCESS), not request.linked)
    time = _read_time(request, sqe.addr)
    _check_clock(flags)
    request.limits = lambda: _deadline(kernel.clock, time, flags)
    return lambda: 0


def timeout_remove(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_TIMEOUT_REMOVE, which can change a timeout too."""
    sqe, ring = request.sqe, request.ring
    flags = sqe.op_flags
    must_be_zero(sqe.buf_index, sqe.len, sqe.file_index)
    updates = flags & (_UPDATE | _LINK_UPDATE)
    must_be_zero(flags if not updates else flags & ~(_UPDATE | _LINK_UPDATE | _ABS | _CLOCKS))
    time = _read_time(request, sqe.off) if updates else 0

    def issue() -> int:
        found = next((r for r in ring.pending if r.waits and r.deadline and r.sqe.user_data == sqe.addr), None)
        if found is None:
            raise LinuxError(errno.ENOENT)
        if updates:
            found.deadline = _deadline(kernel.clock, time, flags)
            found.wake()
        else:
            found.cancel()
        return 0

    return issue


# Cancellation


def async_cancel(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_ASYNC_CANCEL."""
    sqe, ring = request.sqe, request.ring
    flags = sqe.op_flags
    must_be_zero(sqe.off, sqe.file_index, flags & ~_CANCEL_KNOWN)
    must_be_zero(flags & CANCEL_ANY and flags & (CANCEL_FD | CANCEL_FD_FIXED))
    return lambda: cancel_matching(ring, request, sqe.addr, sqe.fd, flags, sqe.len)


def cancel_matching(ring: Uring, request: Request, user_data: int, fd: int, flags: int, opcode: int) -> int:
    """Cancel what matches: 0, or how many where all were meant.  LinuxError(ENOENT, EBADF)."""
    file = None
    if flags & (CANCEL_FD | CANCEL_FD_FIXED):
        file = registered(request, fd) if flags & CANCEL_FD_FIXED else request.task.files.get(fd)
    several = bool(flags & (CANCEL_ALL | CANCEL_ANY))
    found = ring.cancel_where(lambda r: r.matches(user_data, flags, file, opcode), all_of_them=several)
    if several:
        return found
    if not found:
        raise LinuxError(errno.ENOENT)
    return 0


# Children


def waitid(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_WAITID: which in ``len``, the number in ``fd``, options in ``file_index``."""
    sqe = request.sqe
    must_be_zero(sqe.addr, sqe.buf_index, sqe.addr3, sqe.op_flags)
    return lambda: sys_waitid(kernel, request.task, sqe.len, sqe.fd, sqe.off, S32(sqe.file_index), 0)


# Messages


def msg_ring(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_MSG_RING: an event for another ring (IORING_MSG_DATA)."""
    sqe = request.sqe
    must_be_zero(sqe.buf_index, sqe.personality)
    if sqe.addr or sqe.op_flags & ~2:
        kernel.log_once("io_uring: MSG_RING sends data only: EINVAL")
        raise LinuxError(errno.EINVAL)

    def issue() -> int:
        file = file_of(request)
        if not isinstance(file, RingFile):
            raise LinuxError(errno.EBADFD)
        must_be_zero(0 if sqe.op_flags & 2 else sqe.file_index)
        file.post(sqe.off, S32(sqe.len), sqe.file_index if sqe.op_flags & 2 else 0)
        return 0

    return issue


OPERATIONS = {
    _POLL_ADD: poll_add, 7: poll_remove, _TIMEOUT: timeout, 12: timeout_remove, 14: async_cancel, 15: link_timeout,
    40: msg_ring, 50: waitid,
}  # fmt: skip
