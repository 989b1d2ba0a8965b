"""sendto, sendmsg, recvmsg and their like: messages with addresses and control messages (send(2), recv(2), cmsg(3))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.linux.argument import BUFFER, FD, FILLED, INT, SIZE, UINT, Bits, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import CHUNK, IOV_MAX
from emu.linux.layout import TIMESPEC
from emu.linux.syscall import BYTES, NUMBER, Restart, Result, Syscall
from emu.net.packet import MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_TRUNC, MSG_WAITALL, MSG_WAITFORONE, Message, Received
from emu.net.socket import SO_RCVLOWAT, Socket
from emu.syscalls.cmsg import ControlBuffer, read_control, write_control
from emu.syscalls.msghdr import (
    FROM_ADDRESS,
    MMSG,
    MSGHDR,
    RECEIVED,
    RECEIVED_MESSAGES,
    SENT,
    SENT_MESSAGES,
    TO_ADDRESS,
)
from emu.syscalls.paths import UserBuffer, check_range
from emu.syscalls.sockets import (
    ADDRESS_MAX,
    LENGTH,
    Waiting,
    carry_out,
    give_address,
    read_address,
    socket_of,
)
from emu.syscalls.transfer import signal_broken_pipe

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_MAX_MMSG = 1024
_MOST = 1 << 30
_MSG_CMSG_COMPAT = 1 << 31


class _Header(NamedTuple):
    """struct msghdr."""

    name: int
    name_length: int
    iov: int
    iov_length: int
    control: int
    control_length: int
    flags: int


def _refuse_compat(flags: int) -> None:
    """Only the kernel itself says that a message is that of a 32-bit program.  LinuxError(EINVAL)."""
    if flags & _MSG_CMSG_COMPAT:
        raise LinuxError(errno.EINVAL)


def _header(task: Task, address: int) -> _Header:
    header = _Header(*MSGHDR.read(task.mm, address))
    if header.name and header.name_length > 0x7FFF_FFFF:
        raise LinuxError(errno.EINVAL)
    if header.iov_length > IOV_MAX:
        raise LinuxError(errno.EMSGSIZE)
    return header._replace(name_length=min(header.name_length, ADDRESS_MAX) if header.name else 0)


def _send(kernel: Kernel, task: Task, file: Socket, buffer: UserBuffer, message: Message, control: bytes) -> Result:
    """Send all, waiting for room; for streams what went before a signal or an error counts."""
    if buffer.count > CHUNK and not file.is_stream:
        raise LinuxError(errno.EMSGSIZE)
    data = buffer.take(min(buffer.count, CHUNK)) if buffer.count else b""
    if len(data) < buffer.count and not file.is_stream:
        raise LinuxError(errno.EFAULT)
    if control:
        file.check_sender()
        read_control(kernel, task, file, control, message)
    wait = not (file.nonblocking or message.flags & MSG_DONTWAIT)
    return carry_out(kernel, file, _Sending(kernel, task, file, buffer, data, message), file.send_timeout, wait=wait)


class _Sending(Waiting[int]):
    """A send call under way: ``data`` is what has been read of the buffer and not been sent."""

    def __init__(
        self, kernel: Kernel, task: Task, file: Socket, buffer: UserBuffer, data: bytes, message: Message
    ) -> None:
        super().__init__(self._send)
        self._kernel, self._task, self._file = kernel, task, file
        self._buffer, self._data, self._message = buffer, data, message
        self._done = 0

    @property
    def kept(self) -> int:
        return len(self._data) + self._buffer.kept

    def ended(self, error: LinuxError) -> int:
        if not self._done:
            raise error
        return self._done

    def drop(self) -> None:
        self._message.drop()

    def _send(self) -> int:
        """Send what has room; WouldBlock if something is left."""
        file, message = self._file, self._message
        while True:
            message.more = self._done + len(self._data) < self._buffer.count
            try:
                sent = file.send(self._task, self._data, message)
            except LinuxError as error:
                if not self._done:
                    signal_broken_pipe(self._kernel, self._task, error)
                raise
            if sent or not file.is_stream:
                message.files = []  # they have gone with the first byte
            self._done += sent
            self._data = self._data[sent:]
            if self._done >= self._buffer.count or not file.is_stream:
                return self._done
            if not self._data:
                self._data = self._buffer.take(min(self._buffer.count - self._done, CHUNK))


def sys_sendto(
    kernel: Kernel, task: Task, fd: int, buffer: int, count: int, flags: int, address: int, length: int
) -> Result:
    """sendto(2)."""
    check_range(task.mm, buffer, min(count, _MOST))
    file = socket_of(task, fd)
    to = read_address(task, address, length) if address else b""
    if count > 1 << 30:
        raise LinuxError(errno.EMSGSIZE if not file.is_stream else errno.ENOMEM)
    return _send(kernel, task, file, UserBuffer(task.mm, buffer, count), Message(to, flags), b"")


def sys_sendmsg(kernel: Kernel, task: Task, fd: int, message: int, flags: int) -> Result:
    """sendmsg(2)."""
    _refuse_compat(flags)
    file = socket_of(task, fd)
    return _send_message(kernel, task, file, _header(task, message), flags)


def _send_message(kernel: Kernel, task: Task, file: Socket, header: _Header, flags: int) -> Result:
    to = task.mm.read(header.name, header.name_length) if header.name_length else b""
    buffer = UserBuffer.from_iovec(task.mm, header.iov, header.iov_length)
    if header.control_length > 1 << 17:
        raise LinuxError(errno.ENOBUFS)
    control = task.mm.read(header.control, header.control_length) if header.control_length else b""
    if buffer.count > 1 << 30:
        raise LinuxError(errno.EMSGSIZE)
    return _send(kernel, task, file, buffer, Message(to, flags), control)


def _receive(
    kernel: Kernel, task: Task, file: Socket, buffer: UserBuffer, flags: int, use: Callable[[Received], int]
) -> Result:
    """Receive once, or a stream until what is wanted is there; ``use`` tells the guest more than the bytes."""
    wait = not (file.nonblocking or flags & MSG_DONTWAIT)
    return carry_out(kernel, file, _Receiving(file, buffer, flags, use), file.receive_timeout, wait=wait)


class _Receiving(Waiting[int]):
    """A receive call under way: ``got`` is what has come."""

    def __init__(self, file: Socket, buffer: UserBuffer, flags: int, use: Callable[[Received], int]) -> None:
        super().__init__(self._receive)
        self._file, self._buffer, self._flags, self._use = file, buffer, flags, use
        self._count = min(buffer.count, _MOST)
        least = self._count if flags & MSG_WAITALL else min(file.option(SO_RCVLOWAT), self._count)
        self._least = max(least, 1) if file.is_stream else 0
        self._got = Received()

    def ended(self, error: LinuxError) -> int:
        if not self._got.count:
            raise error
        return self._use(self._got)

    def drop(self) -> None:
        self._got.drop()

    def _receive(self) -> int:
        got = self._got
        while True:
            self._file.receive(got, self._count - got.count, self._flags, self._store)
            if got.complete or got.count >= self._least or not self._count:
                return self._use(got)

    def _store(self, data: bytes) -> None:
        if self._buffer.put(data) < len(data):
            raise LinuxError(errno.EFAULT)


def _result(file: Socket, got: Received, flags: int) -> int:
    """What a receive call returns: with MSG_TRUNC the length of the whole message."""
    return got.length if flags & MSG_TRUNC and not file.is_stream else got.count


def sys_recvfrom(
    kernel: Kernel, task: Task, fd: int, buffer: int, count: int, flags: int, address: int, length_at: int
) -> Result:
    """recvfrom(2)."""
    check_range(task.mm, buffer, min(count, _MOST))
    file = socket_of(task, fd)

    def use(got: Received) -> int:
        got.drop()
        if address:
            give_address(task, got.address, address, length_at)
        return _result(file, got, flags)

    return _receive(kernel, task, file, UserBuffer(task.mm, buffer, min(count, _MOST)), flags, use)


def sys_recvmsg(kernel: Kernel, task: Task, fd: int, message: int, flags: int) -> Result:
    """recvmsg(2)."""
    _refuse_compat(flags)
    file = socket_of(task, fd)
    return _receive_message(kernel, task, file, message, flags)


def _receive_message(kernel: Kernel, task: Task, file: Socket, message: int, flags: int) -> Result:
    header = _header(task, message)
    buffer = UserBuffer.from_iovec(task.mm, header.iov, header.iov_length)

    def use(got: Received) -> int:
        control = ControlBuffer(task, header.control, header.control_length)
        cloexec = flags & MSG_CMSG_CLOEXEC
        write_control(kernel, task, file, got, control, cloexec=bool(cloexec))
        if header.name:
            task.mm.write(header.name, got.address[: header.name_length])
            task.mm.write(message + 8, struct.pack("<I", len(got.address)))
        task.mm.write(message + 40, struct.pack("<Qi", control.used, got.flags | control.flags | cloexec))
        return _result(file, got, flags)

    return _receive(kernel, task, file, buffer, flags, use)


# -- several messages --------------------------------------------------------------------------------------------------


def sys_sendmmsg(kernel: Kernel, task: Task, fd: int, messages: int, number: int, flags: int) -> Result:
    """sendmmsg(2)."""
    _refuse_compat(flags)
    file = socket_of(task, fd)

    def one(at: int) -> Result:
        return _send_message(kernel, task, file, _header(task, at), flags)

    return _several(task, messages, min(number, _MAX_MMSG), one)


def sys_recvmmsg(kernel: Kernel, task: Task, fd: int, messages: int, number: int, flags: int, timeout: int) -> Result:
    """recvmmsg(2); the timeout is looked at after each message, as on Linux."""
    _refuse_compat(flags)
    deadline = kernel.clock.now_ns() + TIMESPEC.read(task.mm, timeout) if timeout else None
    file = socket_of(task, fd)
    wait_for_one = bool(flags & MSG_WAITFORONE)

    def one(at: int) -> Result:
        later = wait_for_one and at != messages
        return _receive_message(kernel, task, file, at, flags & ~MSG_WAITFORONE | (MSG_DONTWAIT if later else 0))

    def over() -> bool:
        return deadline is not None and kernel.clock.now_ns() >= deadline

    return _several(task, messages, min(number, _MAX_MMSG), one, over)


def _several(
    task: Task, messages: int, number: int, one: Callable[[int], Result], over: Callable[[], bool] = lambda: False
) -> Generator[Any, None, int]:
    done = 0
    while done < number:
        at = messages + done * MMSG
        try:
            result = one(at)
            if not isinstance(result, int):
                result = yield from result
        except LinuxError:
            if done:
                return done
            raise
        task.mm.write(at + 56, struct.pack("<I", result))
        done += 1
        if over():
            break
    return done


_FLAGS = Bits(
    "MSG_", OOB=1, PEEK=2, DONTROUTE=4, TRUNC=0x20, DONTWAIT=0x40, EOR=0x80, WAITALL=0x100, NOSIGNAL=0x4000,
    MORE=0x8000, CMSG_CLOEXEC=0x4000_0000,
)  # fmt: skip
_TIMEOUT = Pointer(TIMESPEC, null=True)

TABLE = (
    Syscall(44, "sendto", sys_sendto, (FD, BUFFER, SIZE, _FLAGS, TO_ADDRESS, INT), BYTES, Restart.SYS),
    Syscall(45, "recvfrom", sys_recvfrom, (FD, FILLED, SIZE, _FLAGS, FROM_ADDRESS, LENGTH), BYTES, Restart.SYS),
    Syscall(46, "sendmsg", sys_sendmsg, (FD, SENT, _FLAGS), BYTES, Restart.SYS),
    Syscall(47, "recvmsg", sys_recvmsg, (FD, RECEIVED, _FLAGS), BYTES, Restart.SYS),
    Syscall(299, "recvmmsg", sys_recvmmsg, (FD, RECEIVED_MESSAGES, UINT, _FLAGS, _TIMEOUT), NUMBER, Restart.SYS),
    Syscall(307, "sendmmsg", sys_sendmmsg, (FD, SENT_MESSAGES, UINT, _FLAGS), NUMBER, Restart.SYS),
)
