"""Buffers that programs provide for an io_uring, of which the kernel chooses one when there is data for it
(io_uring/kbuf.c): a list that entries add to, or a ring in the program's memory.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.kernel.uring import CQE_BUFFER, Request
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PollEvents
from emu.mm.kmem import URING_BUFFER

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace

#: struct io_uring_buf; the ring's tail is in what the first of them has left.
_BUF, _TAIL_AT = struct.Struct("<QIHH"), 14
_CQE_BUFFER_SHIFT = 16
_MAX_BUFFERS = 1 << 16
_INPUT = int(PollEvents.IN | PollEvents.RDNORM | PollEvents.HUP | PollEvents.ERR | PollEvents.RDHUP)


class Provided:
    """A group of buffers (struct io_buffer_list)."""

    def take(self) -> tuple[int, int, int] | None:
        """The next: address, length and number; None if there is none."""
        raise NotImplementedError

    def back(self, buffer: tuple[int, int, int]) -> None:
        """It has not been used."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """How many it keeps here."""
        return 0


class BufferList(Provided):
    """Buffers that IORING_OP_PROVIDE_BUFFERS has added."""

    def __init__(self) -> None:
        self._buffers: deque[tuple[int, int, int]] = deque()

    def take(self) -> tuple[int, int, int] | None:
        return self._buffers.popleft() if self._buffers else None

    def back(self, buffer: tuple[int, int, int]) -> None:
        self._buffers.appendleft(buffer)

    def add(self, buffer: tuple[int, int, int]) -> None:
        """One more."""
        self._buffers.append(buffer)

    @property
    def count(self) -> int:
        return len(self._buffers)


class BufferRing(Provided):
    """A ring of buffers in the program's memory (IORING_REGISTER_PBUF_RING)."""

    def __init__(self, mm: AddressSpace, address: int, entries: int) -> None:
        self._mm = mm
        self._address = address
        self._entries = entries
        self._head = 0

    def take(self) -> tuple[int, int, int] | None:
        tail = int.from_bytes(self._mm.read(self._address + _TAIL_AT, 2), "little")
        if tail == self._head:
            return None
        at = self._address + (self._head & self._entries - 1) * _BUF.size
        address, length, number, _ = _BUF.unpack(self._mm.read(at, _BUF.size))
        self._head = self._head + 1 & 0xFFFF
        return address, length, number

    def back(self, buffer: tuple[int, int, int]) -> None:
        self._head = self._head - 1 & 0xFFFF


class Selected(NamedTuple):
    """A buffer that has been chosen."""

    group: Provided
    address: int
    length: int
    number: int

    def give_back(self) -> None:
        """Nothing came."""
        self.group.back((self.address, self.length, self.number))

    def use(self, request: Request) -> None:
        """The request's event names it."""
        request.cqe_flags = self.flags

    @property
    def flags(self) -> int:
        """As an event has it."""
        return CQE_BUFFER | self.number << _CQE_BUFFER_SHIFT


def select_buffer(request: Request) -> Selected:
    """The next buffer of the group that a request names.  LinuxError(ENOBUFS, EFAULT)."""
    sqe = request.sqe
    group = request.ring.provided.get(sqe.buf_index)
    found = group.take() if isinstance(group, Provided) else None
    if found is None or not isinstance(group, Provided):
        raise LinuxError(errno.ENOBUFS)
    address, length, number = found
    return Selected(group, address, min(length, sqe.len) if sqe.len else length, number)


def wait_for_input(file: File) -> Generator[Any, None, None]:
    """Sleep until something can be read, or there is an error.  LinuxError(EAGAIN) if it may not sleep."""
    while True:
        mask, queues = file.poll()
        if mask & _INPUT:
            return
        if file.nonblocking:
            raise LinuxError(errno.EAGAIN)
        yield queues


def provide(kernel: Kernel, request: Request) -> Any:
    """IORING_OP_PROVIDE_BUFFERS: ``fd`` buffers of ``len`` bytes, the first at ``addr`` with the number ``off``."""
    sqe, ring = request.sqe, request.ring
    number, first = sqe.fd, sqe.off
    if sqe.op_flags or sqe.file_index:
        raise LinuxError(errno.EINVAL)
    if not 0 < number <= _MAX_BUFFERS:
        raise LinuxError(errno.E2BIG)
    if sqe.addr + sqe.len * number > request.task.mm.task_size:
        raise LinuxError(errno.EFAULT)
    if first + number > _MAX_BUFFERS:
        raise LinuxError(errno.EINVAL if first >= _MAX_BUFFERS else errno.E2BIG)

    def issue() -> int:
        group = ring.provided.setdefault(sqe.buf_index, BufferList())
        if not isinstance(group, BufferList):
            raise LinuxError(errno.EINVAL)
        ring.file.keep_buffers(URING_BUFFER * number)
        for at in range(number):
            group.add((sqe.addr + at * sqe.len, sqe.len, first + at))
        return 0

    return issue


def remove(kernel: Kernel, request: Request) -> Any:
    """IORING_OP_REMOVE_BUFFERS: how many have gone."""
    sqe, ring = request.sqe, request.ring
    if sqe.op_flags or sqe.addr or sqe.len or sqe.off or sqe.file_index or not 0 < sqe.fd <= _MAX_BUFFERS:
        raise LinuxError(errno.EINVAL)

    def issue() -> int:
        group = ring.provided.get(sqe.buf_index)
        if group is None:
            raise LinuxError(errno.ENOENT)
        if not isinstance(group, BufferList):
            raise LinuxError(errno.EINVAL)
        gone = min(sqe.fd, group.count)
        for _ in range(gone):
            group.take()
        return gone

    return issue
