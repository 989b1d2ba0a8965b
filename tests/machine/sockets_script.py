"""Prints what socket calls do, in lines that are the same on every Linux: run on the host, and by the same Python in
the machine.  Ports, inode numbers and buffer sizes are left out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial

UNIX, STREAM, DGRAM, SEQPACKET = socket.AF_UNIX, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
SO_PASSCRED, SO_PEERCRED, SO_DOMAIN = 16, 17, 39
TAG = f"unimmu-test-{os.getpid()}"


def told(what: str, call: Callable[[], object]) -> None:
    """A line with what a call gives, or its error."""
    try:
        print(f"{what}: {call()!r}")
    except OSError as error:
        print(f"{what}: {errno.errorcode.get(error.errno or 0, error)}")


def drain(source: socket.socket, length: int) -> int:
    got = 0
    while got < length:
        got += len(source.recv(65536))
    return got


def events(which: socket.socket) -> int:
    poll = select.poll()
    poll.register(which, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    return sum(mask for _, mask in poll.poll(0))


def pairs() -> None:
    a, b = socket.socketpair()
    a.send(b"hello")
    print(b.recv(3), b.recv(10), a.getpeername(), a.getsockname())
    threading.Thread(target=a.sendall, args=(b"x" * 1_000_000,)).start()
    print(drain(b, 1_000_000))
    b.setblocking(False)
    told("nothing there", lambda: b.recv(1))
    a.send(b"peek")
    print(b.recv(2, socket.MSG_PEEK), b.recv(9), events(a))
    a.shutdown(socket.SHUT_WR)
    told("after shutdown", lambda: b.recv(1))
    told("write after shutdown", lambda: a.send(b"1"))
    print(events(a), events(b), a.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), a.getsockopt(1, SO_DOMAIN))
    b.send(b"q")
    b.close()
    print(a.recv(5), a.recv(5), events(a))
    a, b = socket.socketpair()
    b.send(b"unread")
    a.send(b"unread")
    a.close()
    told("peer closed with data unread", lambda: b.recv(1))


def messages() -> None:
    for kind in (DGRAM, SEQPACKET):
        a, b = socket.socketpair(UNIX, kind)
        a.send(b"one")
        a.send(b"three")
        print(b.recvmsg(2)[:3], b.recv(9))
        told("nothing there", partial(b.recv, 1, socket.MSG_DONTWAIT))
        a.setblocking(False)
        count = 0
        while events(a) & select.POLLOUT:
            count += a.send(b"x")
        print(10 < count < 200)
        while count < 1000:
            try:
                count += a.send(b"x")
            except BlockingIOError:
                break
        print(100 < count < 1000)
        a.close()
    told("too long", lambda: socket.socketpair(UNIX, DGRAM)[0].send(bytes(10_000_000)))


def control() -> None:
    a, b = socket.socketpair()
    r, w = os.pipe()
    socket.send_fds(a, [b"descriptors"], [r, w])
    data, fds, flags, _ = socket.recv_fds(b, 20, 5)
    os.write(fds[1], b"through")
    print(data, len(fds), flags, os.read(r, 10))
    socket.send_fds(a, [b"cut"], [r, w])
    data, ancillary, flags, _ = b.recvmsg(20, socket.CMSG_LEN(4))
    print(data, len(ancillary), flags == socket.MSG_CTRUNC)
    socket.send_fds(a, [b"dropped"], [r, w])
    print(b.recvmsg(20)[::2])
    b.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
    a.send(b"who")
    data, ancillary, flags, _ = b.recvmsg(20, 100)
    print(data, flags, [(level, kind, struct.unpack("3i", body)[0] == os.getpid()) for level, kind, body in ancillary])
    told("a bad descriptor", lambda: socket.send_fds(a, [b"x"], [999]))


def partly() -> None:
    """Calls that end when only a part is done give that part, once."""
    whole = socket.MSG_WAITALL
    a, b = socket.socketpair()
    r, w = os.pipe()
    a.send(b"abc")
    told("not waiting", lambda: b.recv(10, whole | socket.MSG_DONTWAIT))
    a.send(b"def")
    b.setblocking(False)
    told("not blocking", lambda: b.recv(10, whole))
    b.setblocking(True)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 50_000))
    a.send(b"ghi")
    told("until the timeout", lambda: b.recv(10, whole))
    told("nothing until the timeout", lambda: b.recv(10, whole))
    for flags in (0, whole):  # descriptors end what one call receives
        a.send(b"abc")
        socket.send_fds(a, [b"def"], [r])
        a.send(b"ghi")
        data, fds, *_ = socket.recv_fds(b, 20, 5, flags)
        print(data, len(fds), b.recv(20))

    def resend(number: int, frame: object) -> None:
        print("signal", number == signal.SIGALRM)

    sizes = []
    for timeout in (0, 5):  # a signal, once without and once with a timeout
        a, b = socket.socketpair()
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", timeout, 0))
        before = signal.signal(signal.SIGALRM, resend)
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        sizes.append(socket.send_fds(a, [bytes(4_000_000)], [r]))
        signal.signal(signal.SIGALRM, before)
        a.close()
        data, fds, *_ = socket.recv_fds(b, 1, 5)
        print(0 < sizes[-1] < 4_000_000, len(fds), drain(b, sizes[-1] - 1) == sizes[-1] - 1, b.recv(1))
    a, b = socket.socketpair()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 0, 50_000))
    sent = a.send(bytes(4_000_000))
    print(0 < sent < 4_000_000, drain(b, sent) == sent)
    a.setblocking(False)
    sent = socket.send_fds(a, [bytes(4_000_000)], [r, w])
    data, fds, *_ = socket.recv_fds(b, 1, 5)
    print(0 < sent < 4_000_000, len(fds), os.write(fds[1], b"through"), os.read(r, 10))


class Msghdr(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


def pointers() -> None:
    """What wrong pointers and lengths do, and what is left afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> object:
        result = getattr(libc, name)(*arguments)
        return errno.errorcode[ctypes.get_errno()] if result < 0 else result

    for kind in (STREAM, DGRAM, SEQPACKET):
        a, b = socket.socketpair(UNIX, kind)
        print(os.read(b.fileno(), 0))
        a.send(b"abc")
        print(call("recv", b.fileno(), ctypes.c_void_p(8), 3, 0))
        told("what is left", partial(b.recv, 9, socket.MSG_DONTWAIT))
        r, w = os.pipe()
        socket.send_fds(a, [b"lost"], [w])
        os.close(w)
        wrong = (ctypes.c_size_t * 2)(8, 4)
        header = Msghdr(iov=ctypes.addressof(wrong), iov_length=1)
        print(call("recvmsg", b.fileno(), ctypes.byref(header), 0))
        b.close()
        print(os.read(r, 1))
    a, b = socket.socketpair()
    text = ctypes.create_string_buffer(b"text")
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(text), 4)
    header = Msghdr(name_length=0xFFFF_FFFF, iov=ctypes.addressof(piece), iov_length=1)
    print(call("sendmsg", a.fileno(), ctypes.byref(header), 0), b.recv(9))
    header.iov_length = 1025
    print(call("sendmsg", a.fileno(), ctypes.byref(header), 0))
    print(call("sendmmsg", a.fileno(), ctypes.c_void_p(8), -1, 0))


def names() -> None:
    path = f"/tmp/{TAG}"
    server, client = socket.socket(UNIX), socket.socket(UNIX)
    told("listen without a name", server.listen)
    server.bind(path)
    told("bind again", lambda: socket.socket(UNIX).bind(path))
    told("connect, nobody listens", lambda: client.connect(path))
    server.listen(1)
    client.connect(path)
    accepted, peer = server.accept()
    print(repr(peer), accepted.getsockname() == path, client.getpeername() == path, events(server))
    print(struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, 12))[0] == os.getpid())
    told("connect again", lambda: client.connect(path))
    told("another type", lambda: socket.socket(UNIX, DGRAM).connect(path))
    os.unlink(path)
    told("connect, no name", lambda: socket.socket(UNIX).connect(path))
    server.settimeout(0.02)
    told("accept times out", server.accept)
    abstract, other = socket.socket(UNIX), socket.socket(UNIX)
    abstract.bind("\0" + TAG)
    abstract.listen()
    other.connect(abstract.getsockname())
    abstract.accept()[0].close()
    print(other.recv(1))
    told("the peer has gone", lambda: other.send(b"1"))
    receiver, sender = socket.socket(UNIX, DGRAM), socket.socket(UNIX, DGRAM)
    receiver.bind("")
    print(receiver.getsockname()[:1], len(receiver.getsockname()))
    sender.sendto(b"message", receiver.getsockname())
    print(receiver.recvfrom(5))
    told("no peer", lambda: sender.send(b"x"))
    told("no name", lambda: sender.sendto(b"x", f"/tmp/{TAG}/x"))


def refusals() -> None:
    told("getpeername", lambda: socket.socket(UNIX).getpeername())
    told("recv", lambda: socket.socket(UNIX).recv(1))
    told("send", lambda: socket.socket(UNIX).send(b"1"))
    told("shutdown", lambda: socket.socket(UNIX).shutdown(1))
    told("accept", lambda: socket.socket(UNIX).accept())
    told("family", lambda: socket.socket(99))
    told("type", lambda: socket.socket(socket.AF_INET, 77))
    told("protocol", lambda: socket.socket(socket.AF_INET, STREAM, 17))
    told("pair of AF_INET", lambda: socket.socketpair(socket.AF_INET))
    told("an option that is none", lambda: socket.socket(UNIX).getsockopt(1, 999))
    told("a level that is none", lambda: socket.socket(UNIX).getsockopt(77, 1))
    told("listen on messages", lambda: socket.socket(UNIX, DGRAM).listen())
    r, _ = os.pipe()
    told("a pipe is no socket", lambda: socket.socket(fileno=r))


def tcp() -> None:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 0))
    server.listen()
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    accepted, peer = server.accept()
    print(peer == client.getsockname(), accepted.getpeername() == peer, accepted.getsockname()[1] == port)
    threading.Thread(target=accepted.sendall, args=(b"x" * 1_000_000,)).start()
    print(drain(client, 1_000_000), events(client))
    client.shutdown(socket.SHUT_WR)
    print(accepted.recv(1), events(accepted))
    accepted.send(b"late")
    print(client.recv(9))
    accepted.close()
    print(client.recv(9), events(client))
    patient = socket.socket()
    patient.setblocking(False)
    told("not waiting", lambda: patient.connect(("127.0.0.1", port)))
    print(select.select([], [patient], [], 5)[1] == [patient], patient.connect_ex(("127.0.0.1", port)))
    told("connected", lambda: patient.connect(("127.0.0.1", port)))
    told("bind, in use", lambda: socket.socket().bind(("127.0.0.1", port)))
    told("bind, not here", lambda: socket.socket().bind(("192.0.2.1", 0)))
    told("recv", lambda: socket.socket().recv(1))
    told("send", lambda: socket.socket().send(b"1"))
    told("getpeername", lambda: socket.socket().getpeername())
    told("shutdown", lambda: socket.socket().shutdown(1))
    print(socket.socket().getsockname(), socket.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    server.close()
    told("connect, nobody listens", lambda: socket.socket().connect(("127.0.0.1", port)))
    one, two = socket.socket(), None
    one.bind(("", 0))
    one.listen()
    client = socket.create_connection(("127.0.0.1", one.getsockname()[1]))
    two, _ = one.accept()
    two.send(b"unread")
    client.recv(2)
    client.close()
    told("reset", lambda: two.recv(1))


def udp() -> None:
    receiver, sender = socket.socket(socket.AF_INET, DGRAM), socket.socket(socket.AF_INET, DGRAM)
    receiver.bind(("127.0.0.1", 0))
    sender.sendto(b"datagram", receiver.getsockname())
    data, peer = receiver.recvfrom(4)
    print(data, peer == ("127.0.0.1", sender.getsockname()[1]))
    sender.connect(receiver.getsockname())
    sender.send(b"")
    print(receiver.recv(5), events(receiver))
    receiver.sendto(b"back", sender.getsockname())
    print(sender.recv(9))
    receiver.close()
    sender.send(b"x")
    told("nobody there", lambda: sender.send(b"x"))
    told("nothing there", lambda: sender.recv(1, socket.MSG_DONTWAIT))
    told("no address", lambda: socket.socket(socket.AF_INET, DGRAM).send(b"1"))
    told("too long", lambda: socket.socket(socket.AF_INET, DGRAM).sendto(bytes(70000), ("127.0.0.1", 9)))


def six() -> None:
    server = socket.socket(socket.AF_INET6)
    server.bind(("::", 0))
    server.listen()
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    accepted, peer = server.accept()
    print(peer[0], accepted.getsockname()[0], client.getpeername()[0])
    client = socket.create_connection(("::1", port))
    accepted, peer = server.accept()
    print(peer[0])
    accepted.close()
    client.send(b"x")
    told("the second write", lambda: client.send(b"x"))


for part in (pairs, messages, control, partly, pointers, names, refusals, tcp, udp) if "no6" in sys.argv else (
    pairs, messages, control, partly, pointers, names, refusals, tcp, udp, six,
):  # fmt: skip
    print(f"-- {part.__name__}")
    part()
