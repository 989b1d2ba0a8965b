"""Random calls on a few AF_UNIX sockets: prints what each gives, which is the same on every Linux.

``sockets_random.py FIRST LAST``: the seeds.  No call waits.
"""

from __future__ import annotations

import errno
import fcntl
import random
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable

UNIX = socket.AF_UNIX
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
FIONREAD, SIOCOUTQ, SIOCATMARK = 0x541B, 0x5411, 0x8905
PEEK_OFF = 42
DATA = bytes(n * 7 + (n >> 8) & 255 for n in range(30000))
NOW = socket.MSG_DONTWAIT


class Play:
    """Sockets, and a random call on one of them at a time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.prefix = f"\0random{seed}-"
        self.sockets = [self.made() for _ in range(6)]

    def made(self) -> socket.socket:
        made = socket.socket(UNIX, self.random.choice(KINDS))
        made.setblocking(False)
        return made

    def put(self, made: socket.socket) -> None:
        made.setblocking(False)
        self.sockets[self.random.randrange(len(self.sockets))] = made

    def name(self) -> str:
        return f"{self.prefix}{self.random.randrange(4)}"

    def shown(self, address: object) -> object:
        """The kernel chooses a name at random for who has none."""
        own = isinstance(address, bytes) and address and not address.startswith(self.prefix.encode())
        return "of the kernel" if own else address

    def size(self) -> int:
        return self.random.choice((0, 1, 5, 30, 2000, 20000))

    def flags(self, *some: int) -> int:
        return NOW | self.random.choice((0, 0, 0, *some))

    def pair(self, one: socket.socket) -> object:
        for made in socket.socketpair(UNIX, self.random.choice(KINDS)):
            self.put(made)
        return "pair"

    def fresh(self, one: socket.socket) -> object:
        self.put(self.made())
        return "socket"

    def bind(self, one: socket.socket) -> object:
        one.bind(self.name())
        return "ok"

    def listen(self, one: socket.socket) -> object:
        one.listen(self.random.randrange(3))
        return "ok"

    def connect(self, one: socket.socket) -> object:
        one.connect(self.name())
        return "ok"

    def accept(self, one: socket.socket) -> object:
        self.put(one.accept()[0])
        return "accepted"

    def send(self, one: socket.socket) -> object:
        return one.send(DATA[: self.size()], self.flags(socket.MSG_OOB))

    def send_to(self, one: socket.socket) -> object:
        return one.sendto(DATA[: self.size()], NOW, self.name())

    def receive(self, one: socket.socket) -> object:
        peek, urgent = socket.MSG_PEEK, socket.MSG_OOB
        data, _, said, sender = one.recvmsg(
            self.size(), 0, self.flags(peek, peek, urgent, peek | urgent, socket.MSG_WAITALL)
        )
        return len(data), sum(data) % 9973, said, self.shown(sender)

    def shutdown(self, one: socket.socket) -> object:
        one.shutdown(self.random.randrange(3))
        return "ok"

    def close(self, one: socket.socket) -> object:
        self.sockets[self.sockets.index(one)] = self.made()
        one.close()
        return "ok"

    def poll(self, one: socket.socket) -> object:
        polled = select.poll()
        polled.register(one, 0xFFFF)
        return [mask for _, mask in polled.poll(0)]

    def option(self, one: socket.socket) -> object:
        names = (socket.SO_SNDBUF, 16, socket.SO_OOBINLINE, PEEK_OFF, socket.SO_RCVLOWAT)
        name, value = self.random.choice(names), self.random.randrange(-1, 4)
        one.setsockopt(socket.SOL_SOCKET, name, 2000 * abs(value) if name == socket.SO_SNDBUF else value)
        return name, one.getsockopt(socket.SOL_SOCKET, name)

    def control(self, one: socket.socket) -> object:
        command = self.random.choice((FIONREAD, SIOCOUTQ, SIOCATMARK))
        return command, struct.unpack("i", fcntl.ioctl(one, command, bytes(4)))

    def error(self, one: socket.socket) -> object:
        return one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def peer(self, one: socket.socket) -> object:
        return self.shown(one.getpeername())

    def step(self) -> str:
        calls: tuple[Callable[[socket.socket], object], ...] = (
            self.pair, self.pair, self.fresh, self.bind, self.listen, self.connect, self.connect, self.accept,
            self.accept, self.send, self.send, self.send, self.send_to, self.receive, self.receive, self.receive,
            self.receive, self.shutdown, self.close, self.poll, self.poll, self.option, self.control, self.error,
            self.peer,
        )  # fmt: skip
        number = self.random.randrange(len(self.sockets))
        call, one = self.random.choice(calls), self.sockets[number]
        try:
            said = repr(call(one))
        except OSError as problem:
            said = errno.errorcode.get(problem.errno or 0, str(problem))
        return f"{call.__name__}({number}) = {said}"


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        play = Play(seed)
        for step in range(120):
            print(seed, step, play.step())


main()
