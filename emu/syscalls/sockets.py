"""Sockets: socket, bind, connect, accept and their like (socket(7), unix(7), ip(7))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from emu.fs.file import File, WouldBlock
from emu.fs.landlock import BIND_TCP, CONNECT_TCP, domain_of
from emu.linux.argument import FD, INT, S32, Bits, Pointer, Scalar
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.syscall import DESCRIPTOR, ZERO, Restart, Result, Syscall
from emu.linux.words import Choice
from emu.net.address import AF_INET, AF_INET6
from emu.net.socket import Socket
from emu.net.tcp import TcpSocket
from emu.net.unix import AF_UNIX
from emu.syscalls.msghdr import FROM_ADDRESS, TO_ADDRESS
from emu.syscalls.openclose import PIPE_FDS

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_TYPE_MASK = 0xF
AF_UNSPEC, _SOCKADDR_IN, _SOCKADDR_IN6 = 0, 16, 24
ADDRESS_MAX = 128
T = TypeVar("T")


def socket_of(task: Task, fd: int) -> Socket:
    """LinuxError(EBADF, ENOTSOCK)."""
    file = task.files.get(fd)
    if not isinstance(file, Socket):
        raise LinuxError(errno.ENOTSOCK)
    return file


def read_address(task: Task, address: int, length: int) -> bytes:
    """The sockaddr of a call (move_addr_to_kernel).  LinuxError(EINVAL, EFAULT)."""
    if not 0 <= length <= ADDRESS_MAX:
        raise LinuxError(errno.EINVAL)
    return task.mm.read(address, length) if length else b""


def give_address(task: Task, data: bytes, address: int, length_at: int) -> None:
    """Copy an address out, as far as there is room, and its whole length (move_addr_to_user)."""
    room = INT.read(task.mm, length_at)
    if room < 0:
        raise LinuxError(errno.EINVAL)
    task.mm.write(address, data[:room])
    INT.write(task.mm, length_at, len(data))


class Waiting(Generic[T]):
    """A call that may have to wait: what it tries, and what becomes of it when it may not wait any longer."""

    def __init__(self, attempt: Callable[[], T]) -> None:
        self.attempt = attempt

    @property
    def kept(self) -> int:
        """The bytes of the host that it keeps while it sleeps."""
        return 0

    def ended(self, error: LinuxError) -> T:
        """An error, a signal or the timeout ends it: what it gives then, if part of it is done; otherwise the error."""
        raise error

    def drop(self) -> None:
        """It is over, however it ended: what it holds and has not passed on goes."""


def wait_for(
    kernel: Kernel, file: Socket, attempt: Callable[[], T], timeout: int, *, wait: bool
) -> T | Generator[Any, None, T]:
    """Make an attempt, and again whenever it can succeed; LinuxError(EAGAIN) if it may not wait, or at the timeout."""
    return carry_out(kernel, file, Waiting(attempt), timeout, wait=wait)


def carry_out(
    kernel: Kernel, file: Socket, call: Waiting[T], timeout: int, *, wait: bool
) -> T | Generator[Any, None, T]:
    """``wait_for`` for a call that may end when part of it is done."""
    try:
        result = call.attempt()
    except WouldBlock as block:
        if wait:
            return _attempts(kernel, file.get(), call, timeout, block)
        error = LinuxError(errno.EAGAIN)
    except LinuxError as refused:
        error = refused
    else:
        call.drop()
        return result
    try:
        return call.ended(error)
    finally:
        call.drop()


def _attempts(kernel: Kernel, file: File, call: Waiting[T], timeout: int, block: WouldBlock) -> Generator[Any, None, T]:
    deadline = kernel.clock.now_ns() + timeout if timeout else None
    try:
        while True:
            if deadline is not None and kernel.clock.now_ns() >= deadline:
                raise LinuxError(errno.EAGAIN)
            with kernel.frames.kmem.held(call.kept):
                yield block.queue if deadline is None else (block.queue, deadline)
            try:
                return call.attempt()
            except WouldBlock as again:
                block = again
    except Interrupted as signal:  # sock_intr_errno(): with a timeout it is not started again
        return call.ended(signal if deadline is None else LinuxError(errno.EINTR))
    except LinuxError as error:
        return call.ended(error)
    finally:
        call.drop()
        file.put()


# -- making and connecting ---------------------------------------------------------------------------------------------


def sys_socket(kernel: Kernel, task: Task, family: int, type_: int, protocol: int) -> int:
    """socket(2)."""
    flags = type_ & ~_TYPE_MASK
    if flags & ~(_CLOEXEC | _NONBLOCK):
        raise LinuxError(errno.EINVAL)
    made = kernel.net.socket(family, type_ & _TYPE_MASK, protocol, flags)
    made.landlock = task.credentials.landlock
    return task.files.open(made, bool(flags & _CLOEXEC))


def sys_socketpair(kernel: Kernel, task: Task, family: int, type_: int, protocol: int, pair_at: int) -> int:
    """socketpair(2)."""
    flags = type_ & ~_TYPE_MASK
    if flags & ~(_CLOEXEC | _NONBLOCK):
        raise LinuxError(errno.EINVAL)
    task.mm.write(pair_at, struct.pack("<2i", *task.files.next_two()))  # before there are sockets
    one, other = kernel.net.socketpair(task, family, type_ & _TYPE_MASK, protocol, flags)
    one.landlock = other.landlock = task.credentials.landlock
    try:
        first = task.files.open(one, bool(flags & _CLOEXEC))
    except LinuxError:
        other.put()
        raise
    try:
        task.files.open(other, bool(flags & _CLOEXEC))
    except LinuxError:
        task.files.close(first)
        raise
    return 0


def _check_port(task: Task, file: Socket, address: bytes, right: int) -> None:
    """What a landlock domain says to a port of TCP (current_check_access_socket).  LinuxError(EACCES, EINVAL)."""
    domain = domain_of(task.credentials)
    if domain is None or not isinstance(file, TcpSocket) or not domain.handles_net(right):
        return
    if len(address) < 2:
        raise LinuxError(errno.EINVAL)
    (family,) = struct.unpack_from("<H", address)
    if family == AF_UNSPEC and right == CONNECT_TCP:
        return  # it gives up its peer
    if family in (AF_UNSPEC, AF_INET) and len(address) < _SOCKADDR_IN:
        raise LinuxError(errno.EINVAL)
    if family == AF_INET6 and len(address) < _SOCKADDR_IN6:
        raise LinuxError(errno.EINVAL)
    if family not in (AF_UNSPEC, AF_INET, AF_INET6):
        return
    if family == AF_UNSPEC and (file.family != AF_INET or any(address[4:8])):
        raise LinuxError(errno.EAFNOSUPPORT)
    if family not in (AF_UNSPEC, file.family):
        raise LinuxError(errno.EINVAL if file.family == AF_INET else errno.EAFNOSUPPORT)
    domain.check_port(int.from_bytes(address[2:4], "big"), right)


def sys_bind(kernel: Kernel, task: Task, fd: int, address: int, length: int) -> int:
    """bind(2)."""
    file = socket_of(task, fd)
    to = read_address(task, address, length)
    _check_port(task, file, to, BIND_TCP)
    file.bind(task, to)
    return 0


def sys_listen(kernel: Kernel, task: Task, fd: int, backlog: int) -> int:
    """listen(2)."""
    socket_of(task, fd).listen(task, backlog)
    return 0


def sys_connect(kernel: Kernel, task: Task, fd: int, address: int, length: int) -> Result:
    """connect(2)."""
    task.files.get(fd)
    to = read_address(task, address, length)
    file = socket_of(task, fd)
    if len(to) < 2:
        raise LinuxError(errno.EINVAL)
    _check_port(task, file, to, CONNECT_TCP)
    return carry_out(kernel, file, _Connecting(task, file, to), file.send_timeout, wait=not file.nonblocking)


class _Connecting(Waiting[int]):
    """A connect call under way."""

    def __init__(self, task: Task, file: Socket, to: bytes) -> None:
        super().__init__(self._connect)
        self._task, self._file, self._to = task, file, to

    def _connect(self) -> int:
        self._file.connect(self._task, self._to, wait=not self._file.nonblocking)
        return 0

    def ended(self, error: LinuxError) -> int:
        if error.errno == errno.EAGAIN and isinstance(self._file, TcpSocket):
            raise LinuxError(errno.EINPROGRESS)
        raise error


def sys_accept(kernel: Kernel, task: Task, fd: int, address: int, length_at: int) -> Result:
    """accept(2)."""
    return sys_accept4(kernel, task, fd, address, length_at, 0)


def sys_accept4(kernel: Kernel, task: Task, fd: int, address: int, length_at: int, flags: int) -> Result:
    """accept4(2)."""
    task.files.get(fd)
    if flags & ~(_CLOEXEC | _NONBLOCK):
        raise LinuxError(errno.EINVAL)
    file = socket_of(task, fd)

    def attempt() -> int:
        task.files.check_room()
        accepted = file.accept(wait=not file.nonblocking)
        accepted.flags |= flags & _NONBLOCK
        try:
            if address:
                try:
                    peer = accepted.peer_address()
                except LinuxError:
                    raise LinuxError(errno.ECONNABORTED) from None
                give_address(task, peer, address, length_at)
        except LinuxError:
            accepted.put()
            raise
        return task.files.open(accepted, bool(flags & _CLOEXEC))

    return wait_for(kernel, file, attempt, file.receive_timeout, wait=not file.nonblocking)


def sys_getsockname(kernel: Kernel, task: Task, fd: int, address: int, length_at: int) -> int:
    """getsockname(2)."""
    give_address(task, socket_of(task, fd).address(), address, length_at)
    return 0


def sys_getpeername(kernel: Kernel, task: Task, fd: int, address: int, length_at: int) -> int:
    """getpeername(2)."""
    give_address(task, socket_of(task, fd).peer_address(), address, length_at)
    return 0


def sys_shutdown(kernel: Kernel, task: Task, fd: int, how: int) -> int:
    """shutdown(2)."""
    socket_of(task, fd).shutdown(how)
    return 0


class Family(Choice, prefix="AF_"):
    """Address families."""

    UNSPEC = 0
    UNIX = AF_UNIX
    INET = AF_INET
    INET6 = AF_INET6
    NETLINK = 16
    PACKET = 17


def _type_words(value: int) -> str:
    names = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
    flags = [name for bit, name in ((_CLOEXEC, "SOCK_CLOEXEC"), (_NONBLOCK, "SOCK_NONBLOCK")) if value & bit]
    return "|".join([names.get(value & _TYPE_MASK, str(value & _TYPE_MASK)), *flags])


_FAMILY, _TYPE = Scalar("AF_*", S32, Family.words), Scalar("SOCK_*", S32, _type_words)
_HOW = Scalar("SHUT_*", S32, lambda value: {0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}.get(value, str(value)))
LENGTH = Pointer(INT, null=True)
_ACCEPT_FLAGS = Bits("SOCK_", CLOEXEC=_CLOEXEC, NONBLOCK=_NONBLOCK)

TABLE = (
    Syscall(41, "socket", sys_socket, (_FAMILY, _TYPE, INT), DESCRIPTOR),
    Syscall(42, "connect", sys_connect, (FD, TO_ADDRESS, INT), ZERO, Restart.SYS),
    Syscall(43, "accept", sys_accept, (FD, FROM_ADDRESS, LENGTH), DESCRIPTOR, Restart.SYS),
    Syscall(48, "shutdown", sys_shutdown, (FD, _HOW)),
    Syscall(49, "bind", sys_bind, (FD, TO_ADDRESS, INT)),
    Syscall(50, "listen", sys_listen, (FD, INT)),
    Syscall(51, "getsockname", sys_getsockname, (FD, FROM_ADDRESS, LENGTH)),
    Syscall(52, "getpeername", sys_getpeername, (FD, FROM_ADDRESS, LENGTH)),
    Syscall(53, "socketpair", sys_socketpair, (_FAMILY, _TYPE, INT, Pointer(PIPE_FDS, written=True))),
    Syscall(288, "accept4", sys_accept4, (FD, FROM_ADDRESS, LENGTH, _ACCEPT_FLAGS), DESCRIPTOR, Restart.SYS),
)
