"""sendto, sendmsg, recvmsg and their like: messages with addresses and control messages (send(2), recv(2), cmsg(3))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.fs.file import File
from emu.linux.argument import BUFFER, FD, FILLED, INT, SIZE, UINT, Bits, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import CHUNK, IOV_MAX
from emu.linux.layout import TIMESPEC, Layout, Opaque
from emu.linux.syscall import BYTES, NUMBER, Restart, Result, Syscall
from emu.net import socket as net
from emu.net.inet import SOL_SOCKET
from emu.net.socket import Identity, Packet, Received, Socket, identity_of
from emu.net.unix import UnixSocket
from emu.syscalls.paths import UserBuffer
from emu.syscalls.sockets import (
    ADDRESS_MAX,
    LENGTH,
    SOCKADDR,
    Waiting,
    carry_out,
    give_address,
    read_address,
    socket_of,
)
from emu.syscalls.sockopt import Sockopt
from emu.syscalls.transfer import signal_broken_pipe

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
SCM_MAX_FD = 253
_MSGHDR = Layout("msghdr", "QI4xQQQQi4x")
_CMSG = struct.Struct("<Qii")
_UCRED = struct.Struct("<3i")
_MMSG = 64
_MAX_MMSG = 1024


class _Header(NamedTuple):
    """struct msghdr."""

    name: int
    name_length: int
    iov: int
    iov_length: int
    control: int
    control_length: int
    flags: int


def _header(task: Task, address: int) -> _Header:
    header = _Header(*_MSGHDR.read(task.mm, address))
    if header.name and header.name_length > 0x7FFF_FFFF:
        raise LinuxError(errno.EINVAL)
    if header.iov_length > IOV_MAX:
        raise LinuxError(errno.EMSGSIZE)
    return header._replace(name_length=min(header.name_length, ADDRESS_MAX) if header.name else 0)


def _send(
    kernel: Kernel, task: Task, file: Socket, buffer: UserBuffer, to: bytes, control: bytes, flags: int
) -> Result:
    """Send all, waiting for room; for streams what went before a signal or an error counts."""
    if buffer.count > CHUNK and not file.is_stream:
        raise LinuxError(errno.EMSGSIZE)
    data = buffer.take(min(buffer.count, CHUNK)) if buffer.count else b""
    if len(data) < buffer.count and not file.is_stream:
        raise LinuxError(errno.EFAULT)
    if flags & net.MSG_OOB:
        raise LinuxError(errno.EOPNOTSUPP)
    identity, files = _rights(task, file, control)
    wait = not (file.nonblocking or flags & net.MSG_DONTWAIT)
    call = _Sending(kernel, task, file, buffer, data, to, identity, files, quiet=bool(flags & net.MSG_NOSIGNAL))
    return carry_out(kernel, file, call, file.send_timeout, wait=wait)


class _Sending(Waiting[int]):
    """A send call under way: ``data`` is what has been read of the buffer and not been sent."""

    def __init__(
        self, kernel: Kernel, task: Task, file: Socket, buffer: UserBuffer, data: bytes, to: bytes, identity: Identity,
        files: list[File], *, quiet: bool,
    ) -> None:  # fmt: skip
        super().__init__(self._send)
        self._kernel, self._task, self._file = kernel, task, file
        self._buffer, self._data, self._to = buffer, data, to
        self._source, self._identity, self._files = file.source(), identity, files
        self._quiet = quiet
        self._done = 0

    @property
    def kept(self) -> int:
        return len(self._data) + self._buffer.kept

    def ended(self, error: LinuxError) -> int:
        if not self._done:
            raise error
        return self._done

    def drop(self) -> None:
        for each in self._files:
            each.put()
        self._files = []

    def _send(self) -> int:
        """Send what has room; WouldBlock if something is left."""
        file = self._file
        while True:
            packet = Packet(b"", file, self._source, self._identity, self._files)
            try:
                sent = file.send_to(self._task, self._to, self._data, packet)
            except LinuxError as error:
                if not self._done and not self._quiet:
                    signal_broken_pipe(self._kernel, self._task, error)
                raise
            self._files = []  # they go with the first byte
            self._done += sent
            self._data = self._data[sent:]
            if self._done >= self._buffer.count or not file.is_stream:
                return self._done
            if not self._data:
                self._data = self._buffer.take(min(self._buffer.count - self._done, CHUNK))


def _rights(task: Task, file: Socket, control: bytes) -> tuple[Identity, list[File]]:
    """What control messages say: who sends, and descriptors that go along (scm_send).  LinuxError."""
    identity, files = identity_of(task), list[File]()
    try:
        for level, kind, body in _control_messages(control):
            if level != SOL_SOCKET or not isinstance(file, UnixSocket):
                continue
            if kind == SCM_RIGHTS:
                fds = struct.unpack(f"<{len(body) // 4}i", body[: len(body) // 4 * 4])
                if len(files) + len(fds) > SCM_MAX_FD:
                    raise LinuxError(errno.EINVAL)
                files += [task.files.get_any(fd).get() for fd in fds]
            elif kind == SCM_CREDENTIALS:
                if len(body) != _UCRED.size:
                    raise LinuxError(errno.EINVAL)
                identity = _claimed(task, Identity(*_UCRED.unpack(body)))
            else:
                raise LinuxError(errno.EINVAL)
    except LinuxError:
        for each in files:
            each.put()
        raise
    return identity, files


def _claimed(task: Task, claim: Identity) -> Identity:
    """Only root says that it is somebody else (scm_check_creds)."""
    who = task.credentials
    users, groups = {who.uid, who.euid, who.suid}, {who.gid, who.egid, who.sgid}
    if who.euid and (claim.pid != task.tgid or claim.uid not in users or claim.gid not in groups):
        raise LinuxError(errno.EPERM)
    return claim


def _control_messages(control: bytes) -> list[tuple[int, int, bytes]]:
    """(level, type, body) of each.  LinuxError(EINVAL)."""
    found, at = [], 0
    while at + _CMSG.size <= len(control):
        length, level, kind = _CMSG.unpack_from(control, at)
        if length < _CMSG.size or at + length > len(control):
            raise LinuxError(errno.EINVAL)
        found.append((level, kind, control[at + _CMSG.size : at + length]))
        at += length + 7 & -8
    return found


def sys_sendto(
    kernel: Kernel, task: Task, fd: int, buffer: int, count: int, flags: int, address: int, length: int
) -> Result:
    """sendto(2)."""
    file = socket_of(task, fd)
    to = read_address(task, address, length) if address else b""
    if count > 1 << 30:
        raise LinuxError(errno.EMSGSIZE if not file.is_stream else errno.ENOMEM)
    return _send(kernel, task, file, UserBuffer(task.mm, buffer, count), to, b"", flags)


def sys_sendmsg(kernel: Kernel, task: Task, fd: int, message: int, flags: int) -> Result:
    """sendmsg(2)."""
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
    return _send(kernel, task, file, buffer, to, control, flags)


def _receive(
    kernel: Kernel, task: Task, file: Socket, count: int, flags: int, use: Callable[[Received], int]
) -> Result:
    """Receive once, or with MSG_WAITALL until ``count`` bytes are there; ``use`` stores what has come."""
    if flags & net.MSG_OOB:
        raise LinuxError(errno.EOPNOTSUPP if isinstance(file, UnixSocket) else errno.EINVAL)
    wait = not (file.nonblocking or flags & net.MSG_DONTWAIT)
    return carry_out(kernel, file, _Receiving(file, count, flags, use), file.receive_timeout, wait=wait)


class _Receiving(Waiting[int]):
    """A receive call under way: ``parts`` is what has come, and ``use`` has not stored yet."""

    def __init__(self, file: Socket, count: int, flags: int, use: Callable[[Received], int]) -> None:
        super().__init__(self._receive)
        self._file, self._count, self._flags, self._use = file, count, flags, use
        self._whole = bool(flags & net.MSG_WAITALL) and file.is_stream and not flags & net.MSG_PEEK
        self._parts: list[Received] = []

    @property
    def kept(self) -> int:
        return sum(len(part.data) for part in self._parts)

    def ended(self, error: LinuxError) -> int:
        if not self._parts:
            raise error
        return self._store()

    def drop(self) -> None:
        for part in self._parts:
            for each in part.files:
                each.put()
        self._parts = []

    def _receive(self) -> int:
        while True:
            got = self.kept
            part = self._file.receive(self._count - got, self._flags)
            self._parts.append(part)
            if not self._whole or not part.data or got + len(part.data) >= self._count or part.files:
                return self._store()

    def _store(self) -> int:
        parts, self._parts = self._parts, []
        data = b"".join(part.data for part in parts)
        return self._use(parts[0]._replace(data=data, files=parts[-1].files))


def _copy_out(file: Socket, got: Received, flags: int, copy: Callable[[], object]) -> None:
    """Copy what has come to the guest.  On EFAULT a stream keeps its bytes, and the descriptors go."""
    try:
        copy()
    except LinuxError:
        for each in got.files:
            each.put()
        if file.is_stream and not flags & net.MSG_PEEK:
            file.unread(got.data, 0)
        raise


def sys_recvfrom(
    kernel: Kernel, task: Task, fd: int, buffer: int, count: int, flags: int, address: int, length_at: int
) -> Result:
    """recvfrom(2)."""
    file = socket_of(task, fd)

    def use(got: Received) -> int:
        if got.data:
            _copy_out(file, got, flags, lambda: task.mm.write(buffer, got.data))
        for each in got.files:
            each.put()
        if address:
            give_address(task, got.address, address, length_at)
        return got.length if flags & net.MSG_TRUNC and not file.is_stream else len(got.data)

    return _receive(kernel, task, file, min(count, 1 << 30), flags, use)


def sys_recvmsg(kernel: Kernel, task: Task, fd: int, message: int, flags: int) -> Result:
    """recvmsg(2)."""
    file = socket_of(task, fd)
    return _receive_message(kernel, task, file, message, flags)


def _receive_message(kernel: Kernel, task: Task, file: Socket, message: int, flags: int) -> Result:
    header = _header(task, message)
    buffer = UserBuffer.from_iovec(task.mm, header.iov, header.iov_length)

    def use(got: Received) -> int:
        if got.data:
            _copy_out(file, got, flags, lambda: buffer.put(got.data))
        control, said = _control_for(task, file, got, header.control_length, bool(flags & net.MSG_CMSG_CLOEXEC))
        if control:
            task.mm.write(header.control, control)
        if not file.is_stream and got.length > len(got.data):
            said |= net.MSG_TRUNC
        if header.name:
            task.mm.write(header.name, got.address[: header.name_length])
        task.mm.write(message + 8, struct.pack("<I", len(got.address) if header.name else 0))
        task.mm.write(message + 40, struct.pack("<Qi", len(control), said | flags & net.MSG_CMSG_CLOEXEC))
        return got.length if flags & net.MSG_TRUNC and not file.is_stream else len(got.data)

    return _receive(kernel, task, file, min(buffer.count, 1 << 30), flags, use)


def _control_for(task: Task, file: Socket, got: Received, room: int, cloexec: bool) -> tuple[bytes, int]:
    """The control messages of what was received, and MSG_CTRUNC if there is no room for all (scm_recv)."""
    control, said = b"", 0
    if file.options.get((SOL_SOCKET, Sockopt.PASSCRED)) and isinstance(file, UnixSocket):
        who = _UCRED.pack(*(got.identity if got.identity.pid else Identity(0, 65534, 65534)))
        if room >= _CMSG.size + len(who):
            control += _cmsg(SCM_CREDENTIALS, who)
        else:
            said |= net.MSG_CTRUNC
    if got.files:
        fits = max(0, room - len(control) - _CMSG.size) // 4
        fds: list[int] = []
        for number, each in enumerate(got.files):
            if number >= fits or said:
                said |= net.MSG_CTRUNC
                each.put()
                continue
            try:
                fds.append(task.files.open(each, cloexec))
            except LinuxError:
                said |= net.MSG_CTRUNC
        if fds:
            control += _cmsg(SCM_RIGHTS, struct.pack(f"<{len(fds)}i", *fds), last=room - len(control))
    return control, said


def _cmsg(kind: int, body: bytes, last: int | None = None) -> bytes:
    message = _CMSG.pack(_CMSG.size + len(body), SOL_SOCKET, kind) + body
    padded = message + bytes(-len(message) % 8)
    return padded if last is None else padded[: max(last, len(message))]


# -- several messages --------------------------------------------------------------------------------------------------


def sys_sendmmsg(kernel: Kernel, task: Task, fd: int, messages: int, number: int, flags: int) -> Result:
    """sendmmsg(2)."""
    file = socket_of(task, fd)

    def one(at: int) -> Result:
        return _send_message(kernel, task, file, _header(task, at), flags)

    return _several(task, messages, min(number, _MAX_MMSG), one)


def sys_recvmmsg(kernel: Kernel, task: Task, fd: int, messages: int, number: int, flags: int, timeout: int) -> Result:
    """recvmmsg(2); the timeout is looked at after each message, as on Linux."""
    file = socket_of(task, fd)
    deadline = kernel.clock.now_ns() + TIMESPEC.read(task.mm, timeout) if timeout else None
    wait_for_one = bool(flags & 0x10000)

    def one(at: int) -> Result:
        later = wait_for_one and at != messages
        return _receive_message(kernel, task, file, at, flags & ~0x10000 | (net.MSG_DONTWAIT if later else 0))

    def over() -> bool:
        return deadline is not None and kernel.clock.now_ns() >= deadline

    return _several(task, messages, min(number, _MAX_MMSG), one, over)


def _several(
    task: Task, messages: int, number: int, one: Callable[[int], Result], over: Callable[[], bool] = lambda: False
) -> Generator[Any, None, int]:
    done = 0
    while done < number:
        at = messages + done * _MMSG
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
_MESSAGE, _MESSAGES = Pointer(Opaque("msghdr")), Pointer(Opaque("mmsghdr"))
_TIMEOUT = Pointer(TIMESPEC, null=True)

TABLE = (
    Syscall(44, "sendto", sys_sendto, (FD, BUFFER, SIZE, _FLAGS, SOCKADDR, INT), BYTES, Restart.SYS),
    Syscall(45, "recvfrom", sys_recvfrom, (FD, FILLED, SIZE, _FLAGS, SOCKADDR, LENGTH), BYTES, Restart.SYS),
    Syscall(46, "sendmsg", sys_sendmsg, (FD, _MESSAGE, _FLAGS), BYTES, Restart.SYS),
    Syscall(47, "recvmsg", sys_recvmsg, (FD, _MESSAGE, _FLAGS), BYTES, Restart.SYS),
    Syscall(299, "recvmmsg", sys_recvmmsg, (FD, _MESSAGES, UINT, _FLAGS, _TIMEOUT), NUMBER, Restart.SYS),
    Syscall(307, "sendmmsg", sys_sendmmsg, (FD, _MESSAGES, UINT, _FLAGS), NUMBER, Restart.SYS),
)
