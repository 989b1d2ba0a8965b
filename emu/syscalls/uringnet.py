"""The operations of an io_uring on sockets (io_uring/net.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.uring import BUFFER_SELECT, CQE_MORE, Request
from emu.linux.argument import S32
from emu.linux.errors import LinuxError
from emu.linux.syscall import Result
from emu.net.address import AF_INET, AF_INET6
from emu.net.packet import MSG_DONTWAIT, MSG_WAITALL
from emu.net.socket import Socket
from emu.syscalls.messages import sys_recvfrom, sys_recvmsg, sys_sendmsg, sys_sendto
from emu.syscalls.sockets import (
    read_address,
    sys_accept4,
    sys_bind,
    sys_connect,
    sys_listen,
    sys_shutdown,
    sys_socket,
)
from emu.syscalls.uringbuffers import select_buffer, wait_for_input
from emu.syscalls.uringcaller import caller, file_of
from emu.syscalls.uringops import Issue, Prepare, must_be_zero

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_MSG_NOSIGNAL = 0x4000
#: IORING_RECVSEND_*: wait first, come again.  IORING_ACCEPT_*: come again, do not wait, wait first.
_POLL_FIRST, _RECV_MULTISHOT = 1, 2
_ACCEPT_MULTISHOT, _ACCEPT_DONTWAIT, _ACCEPT_POLL_FIRST = 1, 2, 4
_CLOEXEC = 0o2000000


def _socket(request: Request) -> Socket:
    file = file_of(request)
    if not isinstance(file, Socket):
        raise LinuxError(errno.ENOTSOCK)
    return file


def send(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_SEND: with an address in ``off``, whose length is in ``file_index``."""
    sqe = request.sqe
    must_be_zero(sqe.ioprio & ~_POLL_FIRST, sqe.flags & BUFFER_SELECT, sqe.addr3, sqe.pad)
    flags = sqe.op_flags | _MSG_NOSIGNAL
    length = sqe.file_index & 0xFFFF

    def issue() -> Result:
        who, fd = caller(request)
        if sqe.op_flags & MSG_WAITALL:
            request.expected = sqe.len
        return sys_sendto(kernel, who, fd, sqe.addr, sqe.len, flags & ~MSG_WAITALL, sqe.off, length)

    return issue


def sendmsg(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_SENDMSG."""
    sqe = request.sqe
    must_be_zero(sqe.ioprio & ~_POLL_FIRST, sqe.off, sqe.file_index)

    def issue() -> Result:
        who, fd = caller(request)
        return sys_sendmsg(kernel, who, fd, sqe.addr, (sqe.op_flags | _MSG_NOSIGNAL) & ~MSG_WAITALL)

    return issue


def _without_copies(plain: Prepare) -> Prepare:
    def prepare(kernel: Kernel, request: Request) -> Issue:
        """IORING_OP_SEND_ZC, IORING_OP_SENDMSG_ZC: a copy is made, and a second event tells as if none had been."""
        request.notifies, request.cqe_flags = True, CQE_MORE
        issue = plain(kernel, request)

        def checked() -> Result:
            if _socket(request).family not in (AF_INET, AF_INET6):
                raise LinuxError(errno.EOPNOTSUPP)
            return issue()

        return checked

    return prepare


def recv(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_RECV, into a buffer or into those of a group, once or for ever."""
    sqe = request.sqe
    must_be_zero(sqe.off, sqe.file_index, sqe.ioprio & ~(_POLL_FIRST | _RECV_MULTISHOT))
    many = bool(sqe.ioprio & _RECV_MULTISHOT)
    if many and (not sqe.flags & BUFFER_SELECT or sqe.op_flags & MSG_WAITALL):
        raise LinuxError(errno.EINVAL)

    def issue() -> Result:
        who, fd = caller(request)
        _socket(request)
        if sqe.flags & BUFFER_SELECT:
            return _receive_selected(kernel, request, many=many)
        if sqe.op_flags & MSG_WAITALL:
            request.expected = sqe.len
        return sys_recvfrom(kernel, who, fd, sqe.addr, sqe.len, sqe.op_flags, 0, 0)

    return issue


def _receive_selected(kernel: Kernel, request: Request, *, many: bool) -> Generator[Any, None, int]:
    """Receive into a buffer that is chosen when there is something to receive."""
    sqe, file = request.sqe, _socket(request)
    who, fd = caller(request)
    while True:
        yield from wait_for_input(file)
        chosen = select_buffer(request)
        try:
            done = sys_recvfrom(kernel, who, fd, chosen.address, chosen.length, sqe.op_flags | MSG_DONTWAIT, 0, 0)
        except LinuxError as error:
            chosen.give_back()
            if error.errno == errno.EAGAIN and not file.nonblocking:
                continue
            raise
        assert isinstance(done, int), "a receive call that must not wait"
        if not many or not done:
            if done:
                chosen.use(request)
            else:
                chosen.give_back()
            return done
        request.more(done, chosen.flags)


def recvmsg(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_RECVMSG."""
    sqe = request.sqe
    must_be_zero(sqe.off, sqe.file_index, sqe.ioprio & ~_POLL_FIRST)
    if sqe.flags & BUFFER_SELECT:
        kernel.log_once("io_uring: RECVMSG takes no buffers of a group: EINVAL")
        raise LinuxError(errno.EINVAL)

    def issue() -> Result:
        who, fd = caller(request)
        return sys_recvmsg(kernel, who, fd, sqe.addr, sqe.op_flags)

    return issue


def accept(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_ACCEPT: once, or of every connection that comes."""
    sqe = request.sqe
    must_be_zero(sqe.len, sqe.buf_index, sqe.ioprio & ~(_ACCEPT_MULTISHOT | _ACCEPT_DONTWAIT | _ACCEPT_POLL_FIRST))
    must_be_zero(sqe.file_index and sqe.op_flags & _CLOEXEC)
    many = bool(sqe.ioprio & _ACCEPT_MULTISHOT)
    must_be_zero(many and sqe.file_index not in (0, 0xFFFFFFFF))

    def one() -> Result:
        who, fd = caller(request, slot=sqe.file_index)
        return sys_accept4(kernel, who, fd, sqe.addr, sqe.off, sqe.op_flags)

    def issue() -> Result:
        _socket(request)
        return _accepting(request, one) if many else one()

    return issue


def _accepting(request: Request, one: Any) -> Generator[Any, None, int]:
    while True:
        made = one()
        request.more(made if isinstance(made, int) else (yield from made))


def connect(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_CONNECT."""
    sqe = request.sqe
    must_be_zero(sqe.len, sqe.buf_index, sqe.op_flags, sqe.file_index)
    read_address(request.task, sqe.addr, S32(sqe.off))

    def issue() -> Result:
        who, fd = caller(request)
        return sys_connect(kernel, who, fd, sqe.addr, S32(sqe.off))

    return issue


def bind(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_BIND."""
    sqe = request.sqe
    must_be_zero(sqe.len, sqe.buf_index, sqe.op_flags, sqe.file_index)

    def issue() -> int:
        who, fd = caller(request)
        return sys_bind(kernel, who, fd, sqe.addr, S32(sqe.off))

    return issue


def listen(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_LISTEN."""
    sqe = request.sqe
    must_be_zero(sqe.addr, sqe.buf_index, sqe.op_flags, sqe.file_index, sqe.off)

    def issue() -> int:
        who, fd = caller(request)
        return sys_listen(kernel, who, fd, S32(sqe.len))

    return issue


def shutdown(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_SHUTDOWN."""
    sqe = request.sqe
    must_be_zero(sqe.off, sqe.addr, sqe.op_flags, sqe.buf_index, sqe.file_index)

    def issue() -> int:
        who, fd = caller(request)
        return sys_shutdown(kernel, who, fd, S32(sqe.len))

    return issue


def socket(kernel: Kernel, request: Request) -> Issue:
    """IORING_OP_SOCKET: the family is in ``fd``, the type in ``off``, the protocol in ``len``."""
    sqe = request.sqe
    must_be_zero(sqe.addr, sqe.op_flags, sqe.buf_index)
    kind = S32(sqe.off)
    must_be_zero(sqe.file_index and kind & _CLOEXEC)

    def issue() -> int:
        who, family = caller(request, about_file=False, slot=sqe.file_index)
        return sys_socket(kernel, who, family, kind, S32(sqe.len))

    return issue


OPERATIONS = {
    9: sendmsg, 10: recvmsg, 13: accept, 16: connect, 26: send, 27: recv, 34: shutdown, 45: socket, 56: bind,
    57: listen, 47: _without_copies(send), 48: _without_copies(sendmsg),
}  # fmt: skip
