"""Pipes, FIFOs, the console, and waiting for several files at once."""

from __future__ import annotations

import errno
import io
import signal
import struct

import pytest

from emu.fs.console import Console
from emu.linux.fileflags import OpenFlags as O
from emu.linux.fileflags import PollEvents as P
from tests.fs.machine import PAGE, Machine

CAPACITY = 65536


class Pipe:
    """A machine with a pipe in descriptors 0 (read) and 1 (write)."""

    def __init__(self, flags: int = 0) -> None:
        self.machine = Machine()
        assert self.machine.call("pipe2", bytes(8), flags) == 0
        self.buffer = self.machine.task.mm.place(bytes(100))

    def fill(self) -> None:
        assert self.machine.write(1, b"f" * CAPACITY) == CAPACITY


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def test_bytes_go_through_in_order(pipe: Pipe) -> None:
    m = pipe.machine
    m.write(1, b"one")
    m.write(1, b"two")
    assert m.read(0, 4) == b"onet"
    assert m.read(0) == b"wo"
    assert m.call("write", 0, b"x", 1) == -errno.EBADF
    assert m.call("read", 1, pipe.buffer, 1) == -errno.EBADF
    assert m.call("lseek", 0, 0, 0) == -errno.ESPIPE
    assert m.call("pread64", 0, pipe.buffer, 1, 0) == -errno.ESPIPE
    assert m.call("ftruncate", 1, 0) == -errno.EINVAL
    assert m.call("fallocate", 1, 0, 0, 1) == -errno.ESPIPE


def test_reader_sleeps_until_there_is_something(pipe: Pipe) -> None:
    m = pipe.machine
    reading = m.start("read", 0, pipe.buffer, 10)
    done, queue = m.step(reading)
    assert not done
    woken: list[object] = []
    queue.add(m.task, woken.append)
    m.write(1, b"hi")
    assert woken == [m.task]
    assert m.step(reading) == (True, 2)
    assert m.task.mm.read(pipe.buffer, 2) == b"hi"


def test_reader_sees_the_end_when_the_last_writer_closes(pipe: Pipe) -> None:
    m = pipe.machine
    other = m.call("dup", 1)
    reading = m.start("read", 0, pipe.buffer, 10)
    m.step(reading)
    m.call("close", 1)
    assert m.step(reading)[0] is False
    m.call("close", other)
    assert m.step(reading) == (True, 0)
    assert m.read(0) == b""


def test_interrupted_read(pipe: Pipe) -> None:
    m = pipe.machine
    reading = m.start("read", 0, pipe.buffer, 10)
    m.step(reading)
    assert m.step(reading, interrupt=True) == (True, -errno.EINTR)


def test_a_closed_descriptor_stays_open_for_the_sleeping_reader(pipe: Pipe) -> None:
    m = pipe.machine
    reading = m.start("read", 0, pipe.buffer, 10)
    m.step(reading)
    m.call("close", 0)
    assert m.write(1, b"late") == 4
    assert m.step(reading) == (True, 4)
    assert m.write(1, b"x") == -errno.EPIPE


def test_sigpipe(pipe: Pipe) -> None:
    m = pipe.machine
    m.call("close", 0)
    assert m.write(1, b"x") == -errno.EPIPE
    assert m.signals.sent == [signal.SIGPIPE]


def test_writer_sleeps_when_full_and_writes_everything(pipe: Pipe) -> None:
    m = pipe.machine
    data = bytes(range(256)) * (3 * CAPACITY // 256)
    writing = m.start("write", 1, data, len(data))
    got = b""
    while True:
        done, value = m.step(writing)
        if done:
            break
        got += m.read(0, CAPACITY)
    assert value == len(data)
    assert got + m.read(0, CAPACITY) == data


def test_interrupted_write_tells_how_much_went(pipe: Pipe) -> None:
    m = pipe.machine
    writing = m.start("write", 1, b"x" * (CAPACITY + 10), CAPACITY + 10)
    m.step(writing)
    assert m.step(writing, interrupt=True) == (True, CAPACITY)


def test_writer_whose_reader_goes_away_while_it_sleeps(pipe: Pipe) -> None:
    m = pipe.machine
    pipe.fill()
    writing = m.start("write", 1, b"x", 1)
    m.step(writing)
    m.call("close", 0)
    assert m.step(writing) == (True, -errno.EPIPE)
    assert m.signals.sent == [signal.SIGPIPE]


def test_small_writes_are_atomic() -> None:
    pipe = Pipe(O.NONBLOCK)
    m = pipe.machine
    assert m.call("read", 0, pipe.buffer, 1) == -errno.EAGAIN
    assert m.write(1, b"f" * (CAPACITY - PAGE - 100)) == CAPACITY - PAGE - 100
    assert m.write(1, b"s" * 3000) == 3000, "a page of its own: it does not fit into the 100 bytes left of the last"
    assert m.write(1, b"s" * 1097) == -errno.EAGAIN, "one byte too many for what is left of the last page"
    assert m.write(1, b"s" * PAGE) == -errno.EAGAIN
    assert m.write(1, b"l" * (PAGE + 5)) == 5, "a large write goes in parts"
    assert m.write(1, b"s" * 1091) == 1091
    assert m.write(1, b"x") == -errno.EAGAIN


def test_room_is_counted_in_pages() -> None:
    pipe = Pipe(O.NONBLOCK)
    m = pipe.machine
    written = 0
    while m.write(1, b"x" * 3000) == 3000:
        written += 3000
    assert written == 16 * 3000
    assert m.read(0, 2999) == b"x" * 2999
    assert m.write(1, b"x" * 3000) == -errno.EAGAIN, "the first page is free only when all of it was read"
    m.read(0, 1)
    assert m.write(1, b"x" * 3000) == 3000


def test_vector_write_is_one_write() -> None:
    pipe = Pipe(O.NONBLOCK)
    m = pipe.machine
    m.write(1, b"f" * (CAPACITY - 3))
    piece = m.task.mm.place(b"ab")
    vector = m.task.mm.place(struct.pack("<QQQQ", piece, 2, piece, 2))
    assert m.call("writev", 1, vector, 2) == -errno.EAGAIN


def test_pipe_size_and_fionread(pipe: Pipe) -> None:
    m = pipe.machine
    assert m.call("fcntl", 0, 1032) == CAPACITY
    assert m.call("fcntl", 0, 1031, 5000) == 8192
    m.write(1, b"abc")
    assert m.call("ioctl", 0, 0x541B, pipe.buffer) == 0
    assert m.task.mm.read_u32(pipe.buffer) == 3
    assert m.call("fcntl", 0, 1031, 1 << 30) == -errno.EPERM
    assert m.call("ioctl", 0, 0x5401, pipe.buffer) == -errno.ENOTTY


def test_pipe2_flags() -> None:
    m = Machine()
    assert m.call("pipe2", bytes(8), O.CLOEXEC) == 0
    assert m.call("fcntl", 0, 1) == m.call("fcntl", 1, 1) == 1
    assert m.call("pipe2", bytes(8), O.APPEND) == -errno.EINVAL
    assert m.call("pipe2", 8, 0) == -errno.EFAULT
    assert len(m.task.files) == 2


def test_sendfile_into_a_pipe_waits_for_a_page_and_is_short(pipe: Pipe) -> None:
    m = pipe.machine
    m.vfs.write_file("/tmp/f", b"z" * (CAPACITY + 5000))
    source = m.call("open", "/tmp/f", 0)
    assert m.call("sendfile", 1, source, 0, 1 << 30) == CAPACITY
    sending = m.start("sendfile", 1, source, 0, 1 << 30)
    assert m.step(sending)[0] is False
    assert m.read(0, CAPACITY) == b"z" * CAPACITY
    assert m.step(sending) == (True, 5000)
    assert m.call("lseek", source, 0, 1) == CAPACITY + 5000
    m.call("close", 0)
    assert m.call("sendfile", 1, source, 0, 1) == -errno.EPIPE
    assert m.signals.sent == [signal.SIGPIPE]


def test_console_in_and_out() -> None:
    m = Machine()
    out = io.BytesIO()
    err: list[bytes] = []
    Console(m.vfs, io.BytesIO(b"typed\nmore"), out, err.append).install(m.task.files)
    assert m.read(0, 6) == b"typed\n"
    assert m.read(0, 100) == b"more"
    assert m.read(0, 100) == b""
    assert m.write(1, b"to stdout") == 9
    assert m.write(2, b"to stderr") == 9
    assert (out.getvalue(), err) == (b"to stdout", [b"to stderr"])
    assert m.call("ioctl", 1, 0x5401, 0) == -errno.ENOTTY
    assert m.call("lseek", 0, 0, 1) == -errno.ESPIPE
    assert m.write(0, b"x") == -errno.EBADF
    fd = m.call("open", "/dev/stdout", O.WRONLY)
    assert m.write(fd, b"!") == 1
    assert out.getvalue() == b"to stdout!"


def test_console_without_streams() -> None:
    m = Machine()
    Console(m.vfs).install(m.task.files)
    assert m.read(0) == b""
    assert m.write(1, b"nobody listens") == 14


def test_console_whose_host_reader_is_gone() -> None:
    def send(data: bytes) -> None:
        raise BrokenPipeError

    m = Machine()
    Console(m.vfs, stdout=send).install(m.task.files)
    assert m.write(1, b"x") == -errno.EPIPE
    assert m.signals.sent == [signal.SIGPIPE]


class TestFifo:
    @pytest.fixture
    def machine(self) -> Machine:
        machine = Machine()
        assert machine.call("mknod", "/tmp/fifo", 0o10666, 0) == 0
        return machine

    def test_open_waits_for_the_other_end(self, machine: Machine) -> None:
        opening = machine.start("open", "/tmp/fifo", O.RDONLY)
        assert machine.step(opening)[0] is False
        writer = machine.call("open", "/tmp/fifo", O.WRONLY)
        assert machine.step(opening) == (True, 1)
        machine.write(writer, b"through")
        assert machine.read(1) == b"through"

    def test_a_writer_that_came_and_went_ends_the_wait(self, machine: Machine) -> None:
        opening = machine.start("open", "/tmp/fifo", O.RDONLY)
        machine.step(opening)
        machine.call("close", machine.call("open", "/tmp/fifo", O.WRONLY))
        assert machine.step(opening)[0] is True

    def test_nonblocking(self, machine: Machine) -> None:
        assert machine.call("open", "/tmp/fifo", O.WRONLY | O.NONBLOCK) == -errno.ENXIO
        assert machine.call("open", "/tmp/fifo", O.RDONLY | O.NONBLOCK) == 0
        assert machine.read(0) == b"", "no writer: the end"
        assert machine.call("open", "/tmp/fifo", O.WRONLY | O.NONBLOCK) == 1
        assert machine.call("read", 0, bytes(1), 1) == -errno.EAGAIN

    def test_interrupted_open_leaves_nothing(self, machine: Machine) -> None:
        opening = machine.start("open", "/tmp/fifo", O.RDONLY)
        machine.step(opening)
        assert machine.step(opening, interrupt=True) == (True, -errno.EINTR)
        assert machine.call("open", "/tmp/fifo", O.WRONLY | O.NONBLOCK) == -errno.ENXIO

    def test_both_ends_at_once(self, machine: Machine) -> None:
        fd = machine.call("open", "/tmp/fifo", O.RDWR)
        machine.write(fd, b"loop")
        assert machine.read(fd) == b"loop"


def pollfds(machine: Machine, *entries: tuple[int, int]) -> int:
    return machine.task.mm.place(b"".join(struct.pack("<ihh", fd, int(events), 0x7FFF) for fd, events in entries))


def revents(machine: Machine, address: int, number: int) -> list[int]:
    raw = machine.task.mm.read(address, 8 * number)
    return [entry[2] for entry in struct.iter_unpack("<ihh", raw)]


class TestPoll:
    def test_ready_files(self, pipe: Pipe) -> None:
        m = pipe.machine
        regular = m.call("open", "/etc/passwd", 0)
        fds = pollfds(m, (0, P.IN), (1, P.OUT), (regular, P.IN | P.PRI), (77, P.IN), (-1, P.IN))
        assert m.call("poll", fds, 5, 0) == 3
        assert revents(m, fds, 5) == [0, P.OUT, P.IN, P.NVAL, 0]
        m.write(1, b"x")
        m.call("close", 1)
        assert m.call("poll", fds, 2, -1) == 2
        assert revents(m, fds, 2) == [P.IN | P.HUP, P.NVAL]

    def test_broken_pipe_is_an_error_event(self, pipe: Pipe) -> None:
        m = pipe.machine
        m.call("close", 0)
        fds = pollfds(m, (1, 0))
        assert m.call("poll", fds, 1, -1) == 1
        assert revents(m, fds, 1) == [P.ERR]

    def test_sleeps_on_every_queue_until_woken(self, pipe: Pipe) -> None:
        m = pipe.machine
        m.call("pipe", bytes(8))
        fds = pollfds(m, (0, P.IN), (2, P.IN))
        polling = m.start("poll", fds, 2, -1)
        done, (queues, deadline) = m.step(polling)
        assert (done, len(queues), deadline) == (False, 2, None)
        m.write(3, b"x")
        assert m.step(polling) == (True, 1)
        assert revents(m, fds, 2) == [0, P.IN]

    def test_timeout(self, pipe: Pipe) -> None:
        m = pipe.machine
        polling = m.start("poll", pollfds(m, (0, P.IN)), 1, 5)
        done, (_, deadline) = m.step(polling)
        assert not done
        m.clock.ns = deadline
        assert m.step(polling) == (True, 0)
        assert m.call("poll", 0, 5000, 0) == -errno.EINVAL
        assert m.call("poll", 8, 1, 0) == -errno.EFAULT

    def test_ppoll_changes_the_mask_while_it_sleeps(self, pipe: Pipe) -> None:
        m = pipe.machine
        m.task.signals.blocked = 0b1100
        timeout, mask = m.task.mm.place(struct.pack("<qq", 1, 0)), m.task.mm.place((1 << 40).to_bytes(8, "little"))
        polling = m.start("ppoll", pollfds(m, (0, P.IN)), 1, timeout, mask, 8)
        m.step(polling)
        assert m.task.signals.blocked == 1 << 40
        m.write(1, b"x")
        assert m.step(polling) == (True, 1)
        assert (m.task.signals.blocked, m.task.signals.saved_mask) == (0b1100, None)
        assert 0 < m.task.mm.read_u64(timeout + 8) < 10**9

    def test_ppoll_with_a_pending_signal(self, pipe: Pipe) -> None:
        m = pipe.machine
        m.task.signals.blocked = m.task.signals.pending = 0b100
        polling = m.start("ppoll", pollfds(m, (0, P.IN)), 1, 0, m.task.mm.place(bytes(8)), 8)
        assert m.step(polling) == (True, -errno.EINTR)
        assert m.task.signals.saved_mask == 0b100, "the old mask comes back with the handler's frame"

    def test_select(self, pipe: Pipe) -> None:
        m = pipe.machine
        m.write(1, b"x")
        sets = m.task.mm.place((0b01).to_bytes(8, "little") + (0b10).to_bytes(8, "little"))
        assert m.call("select", 2, sets, sets + 8, 0, 0) == 2
        assert (m.task.mm.read_u64(sets), m.task.mm.read_u64(sets + 8)) == (0b01, 0b10)
        m.read(0)
        zero = m.task.mm.place(bytes(16))
        assert m.call("select", 2, sets, 0, 0, zero) == 0
        assert m.task.mm.read_u64(sets) == 0
        assert m.call("select", -1, 0, 0, 0, zero) == -errno.EINVAL
        m.task.mm.write_u64(sets, 1 << 50)
        assert m.call("select", 64, sets, 0, 0, zero) == -errno.EBADF
        assert m.call("select", 0x7FFFFFFF, 0, 0, 0, zero) == 0

    def test_pselect_sleeps(self, pipe: Pipe) -> None:
        m = pipe.machine
        read = m.task.mm.place((1).to_bytes(8, "little"))
        waiting = m.start("pselect6", 1, read, 0, 0, 0, 0)
        assert m.step(waiting)[0] is False
        m.write(1, b"x")
        assert m.step(waiting) == (True, 1)
