"""read, write and their relatives on tmpfs: contents, holes, sizes, limits, bad buffers."""

from __future__ import annotations

import errno
import signal
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import PAGE, Machine

BIG = 1 << 62


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    assert machine.call("open", "/tmp/f", O.CREAT | O.RDWR, 0o644) == 0
    return machine


def content(machine: Machine) -> bytes:
    return machine.vfs.read_file("/tmp/f")


def test_write_read_seek(machine: Machine) -> None:
    assert machine.write(0, b"hello world") == 11
    assert machine.call("lseek", 0, 6, 0) == 6
    assert machine.read(0) == b"world"
    assert machine.read(0) == b""
    assert machine.call("lseek", 0, -5, 1) == 6
    assert machine.call("lseek", 0, -11, 2) == 0
    assert machine.call("lseek", 0, -1, 0) == -errno.EINVAL
    assert machine.call("lseek", 0, 0, 9) == -errno.EINVAL
    assert machine.call("lseek", 0, 3, 3) == 3, "SEEK_DATA"
    assert machine.call("lseek", 0, 3, 4) == 11, "SEEK_HOLE"
    assert machine.call("lseek", 0, 11, 3) == -errno.ENXIO


def test_hole_reads_as_zeros_and_takes_no_memory(machine: Machine) -> None:
    free = machine.frames.free
    assert machine.call("lseek", 0, 10 * PAGE, 0) == 10 * PAGE
    assert machine.write(0, b"x") == 1
    assert machine.frames.free == free - 1
    assert content(machine) == bytes(10 * PAGE) + b"x"
    assert machine.frames.free == free - 1
    assert machine.vfs.walker(None).resolve("/tmp/f").inode.getattr().blocks == 8


def test_seek_data_and_hole(machine: Machine) -> None:
    machine.call("ftruncate", 0, 10 * PAGE)
    assert machine.call("lseek", 0, 0, 3) == -errno.ENXIO
    machine.call("pwrite64", 0, b"x" * 10, 10, 2 * PAGE + 5)
    assert machine.call("lseek", 0, 0, 3) == 2 * PAGE
    assert machine.call("lseek", 0, 2 * PAGE + 7, 3) == 2 * PAGE + 7
    assert machine.call("lseek", 0, 0, 4) == 0
    assert machine.call("lseek", 0, 2 * PAGE + 7, 4) == 3 * PAGE
    assert machine.call("lseek", 0, 10 * PAGE, 4) == -errno.ENXIO


def test_hostile_sizes(machine: Machine) -> None:
    machine.write(0, b"abc")
    address = machine.task.mm.place(bytes(16))
    assert machine.call("pread64", 0, address, 1 << 63, 0) == -errno.EFAULT
    assert machine.call("read", 0, address, (1 << 47) - 1) == -errno.EFAULT
    assert machine.call("pread64", 0, address, 1 << 40, 0) == 3, "the count is cut, not allocated"
    assert machine.call("pread64", 0, address, 16, -1) == -errno.EINVAL
    assert machine.call("pread64", 0, address, 16, BIG) == 0
    assert machine.call("ftruncate", 0, BIG) == 0
    assert machine.call("ftruncate", 0, -1) == -errno.EINVAL
    assert machine.call("pwrite64", 0, address, 7, (1 << 63) - 8) == 7
    assert machine.call("pwrite64", 0, address, 8, (1 << 63) - 8) == -errno.EINVAL
    assert machine.call("lseek", 0, 1, 2) == -errno.EINVAL
    assert machine.call("fallocate", 0, 0, 0, BIG) == -errno.ENOSPC
    assert machine.call("fallocate", 0, 3, 0, BIG) == 0


def test_append(machine: Machine) -> None:
    machine.write(0, b"start")
    fd = machine.call("open", "/tmp/f", O.WRONLY | O.APPEND)
    machine.write(fd, b"+1")
    machine.call("lseek", fd, 0, 0)
    machine.write(fd, b"+2")
    assert machine.call("pwrite64", fd, b"+3", 2, 0) == 2
    assert content(machine) == b"start+1+2+3"


def test_modes_are_checked(machine: Machine) -> None:
    read_only = machine.call("open", "/tmp/f", O.RDONLY)
    write_only = machine.call("open", "/tmp/f", O.WRONLY)
    assert machine.write(read_only, b"x") == -errno.EBADF
    assert machine.call("read", write_only, bytes(4), 4) == -errno.EBADF
    assert machine.call("ftruncate", read_only, 0) == -errno.EINVAL
    assert machine.call("fallocate", read_only, 0, 0, 1) == -errno.EBADF
    directory = machine.call("open", "/tmp", O.RDONLY)
    assert machine.call("read", directory, bytes(4), 4) == -errno.EISDIR
    assert machine.call("read", 99, bytes(4), 4) == -errno.EBADF
    assert machine.call("read", -1, bytes(4), 4) == -errno.EBADF


def test_truncate(machine: Machine) -> None:
    machine.write(0, b"x" * (2 * PAGE))
    free = machine.frames.free
    assert machine.call("truncate", "/tmp/f", 100) == 0
    assert machine.frames.free == free + 1
    assert machine.call("ftruncate", 0, 200) == 0
    assert content(machine) == b"x" * 100 + bytes(100)
    assert machine.call("truncate", "/tmp", 0) == -errno.EISDIR
    assert machine.call("truncate", "/dev/null", 0) == -errno.EINVAL


def test_fallocate(machine: Machine) -> None:
    free = machine.frames.free
    assert machine.call("fallocate", 0, 0, 0, 3 * PAGE) == 0
    assert machine.frames.free == free - 3
    assert len(content(machine)) == 3 * PAGE
    assert machine.call("fallocate", 0, 1, 0, 5 * PAGE) == 0
    assert machine.frames.free == free - 5
    assert len(content(machine)) == 3 * PAGE
    assert machine.call("ftruncate", 0, 2 * PAGE) == 0
    assert machine.frames.free == free - 2, "pages past the end go too"
    machine.call("pwrite64", 0, b"y" * 2 * PAGE, 2 * PAGE, 0)
    assert machine.call("fallocate", 0, 3, 10, PAGE) == 0
    assert content(machine) == b"y" * 10 + bytes(PAGE) + b"y" * (PAGE - 10)
    assert machine.call("fallocate", 0, 3, 0, PAGE) == 0
    assert machine.frames.free == free - 1


@pytest.mark.parametrize(
    ("mode", "offset", "length", "error"),
    [
        (2, 0, 1, errno.EOPNOTSUPP),
        (8, 0, PAGE, errno.EOPNOTSUPP),
        (0x10, 0, 1, errno.EOPNOTSUPP),
        (0, -1, 1, errno.EINVAL),
        (0, 0, 0, errno.EINVAL),
        (0, BIG, BIG, errno.EFBIG),
    ],
)
def test_fallocate_refuses(machine: Machine, mode: int, offset: int, length: int, error: int) -> None:
    assert machine.call("fallocate", 0, mode, offset, length) == -error


def test_size_limit(machine: Machine) -> None:
    machine.vfs.mkdir("/small")
    machine.vfs.mount("tmpfs", "/small", "size=16k,nr_inodes=3")
    fd = machine.call("open", "/small/a", O.CREAT | O.RDWR, 0o600)
    assert machine.write(fd, b"x" * 5 * PAGE) == 4 * PAGE, "what fits is written"
    assert machine.write(fd, b"x") == -errno.ENOSPC
    assert machine.call("pwrite64", fd, b"z", 1, 0) == 1, "a page that exists needs no room"
    assert machine.call("fallocate", fd, 0, 4 * PAGE, PAGE) == -errno.ENOSPC
    machine.call("ftruncate", fd, PAGE)
    assert machine.call("fallocate", fd, 0, 4 * PAGE, PAGE) == 0
    assert machine.call("mkdir", "/small/d", 0o755) == 0
    assert machine.call("mkdir", "/small/e", 0o755) == -errno.ENOSPC
    assert machine.call("rmdir", "/small/d") == 0
    assert machine.call("symlink", "x", "/small/s") == 0
    machine.call("unlink", "/small/a")
    machine.call("close", fd)
    assert machine.call("open", "/small/b", O.CREAT | O.RDWR, 0o600) >= 0


def test_running_out_of_memory(machine: Machine) -> None:
    machine = Machine(memory=1 << 20)
    fd = machine.call("memfd_create", "m", 0)
    assert machine.call("fallocate", fd, 0, 0, 1 << 30) == -errno.ENOMEM
    free = machine.frames.free
    assert free > 100, "a failed fallocate gives everything back"
    assert machine.call("fallocate", fd, 0, 0, free * PAGE) == 0
    assert machine.call("pwrite64", fd, b"x", 1, 1 << 30) == -errno.ENOMEM


def test_bad_buffers(machine: Machine) -> None:
    memory = machine.task.mm
    good = memory.BASE + 16 * PAGE
    memory.write(good, b"a" * PAGE)
    memory.missing.add(good // PAGE + 1)
    assert machine.call("write", 0, good + PAGE, 10) == -errno.EFAULT
    assert machine.call("write", 0, good + PAGE - 4, 10) == 4, "a file takes what could be read"
    assert machine.call("pread64", 0, good + PAGE, 4, 0) == -errno.EFAULT
    machine.call("lseek", 0, 0, 0)
    assert machine.call("read", 0, good + PAGE - 2, 4) == 2
    assert machine.read(0) == b"aa", "the position moved by what was stored"
    pipe = memory.place(bytes(8))
    machine.call("pipe", pipe)
    reader, writer = struct.unpack("<ii", memory.read(pipe, 8))
    assert machine.call("write", writer, good + PAGE - 4, 8) == -errno.EFAULT, "a pipe takes whole pages"
    machine.write(writer, b"kept")
    assert machine.call("read", reader, good + PAGE, 4) == -errno.EFAULT
    assert machine.read(reader, 4) == b"kept"


def iovec(machine: Machine, *pieces: tuple[int, int]) -> int:
    return machine.task.mm.place(b"".join(struct.pack("<QQ", *piece) for piece in pieces))


def test_vectors(machine: Machine) -> None:
    memory = machine.task.mm
    one, two = memory.place(b"hello "), memory.place(b"world")
    assert machine.call("writev", 0, iovec(machine, (one, 6), (0, 0), (two, 5)), 3) == 11
    assert content(machine) == b"hello world"
    a, b = memory.place(bytes(4)), memory.place(bytes(20))
    assert machine.call("preadv", 0, iovec(machine, (a, 4), (b, 20)), 2, 1, 0) == 10
    assert memory.read(a, 4) + memory.read(b, 6) == b"ello world"
    assert machine.call("pwritev", 0, iovec(machine, (two, 5)), 1, 20, 0) == 5
    assert machine.call("preadv2", 0, iovec(machine, (a, 4)), 1, -1, 0, 0) == 4
    assert memory.read(a, 4) == bytes(4)
    assert machine.call("readv", 0, a, 1025) == -errno.EINVAL
    assert machine.call("readv", 0, iovec(machine, (a, 1 << 63)), 1) == -errno.EINVAL
    assert machine.call("readv", 0, 8, 1) == -errno.EFAULT
    assert machine.call("readv", 0, 0, 0) == 0
    assert machine.call("writev", 0, iovec(machine, (one, 6), (8, 5)), 2) == 6


def test_sendfile_and_copy_file_range(machine: Machine) -> None:
    machine.write(0, bytes(range(256)) * 64)
    out = machine.call("open", "/tmp/g", O.CREAT | O.RDWR, 0o600)
    offset = machine.task.mm.place((100).to_bytes(8, "little"))
    assert machine.call("sendfile", out, 0, offset, 10) == 10
    assert machine.task.mm.read_u64(offset) == 110
    assert machine.vfs.read_file("/tmp/g") == bytes(range(100, 110))
    machine.call("lseek", 0, 0, 0)
    assert machine.call("sendfile", out, 0, 0, 1 << 40) == 16384
    assert machine.call("lseek", 0, 0, 1) == 16384
    assert machine.call("copy_file_range", 0, 0, out, 0, 10, 0) == 0, "at the end of the file"
    start = machine.task.mm.place(bytes(8))
    assert machine.call("copy_file_range", 0, start, out, 0, 1 << 40, 0) == 16384
    assert machine.call("copy_file_range", 0, start, out, 0, 1, 1) == -errno.EINVAL
    memfd = machine.call("memfd_create", "m", 0)
    assert machine.call("copy_file_range", 0, start, memfd, 0, 1, 0) == -errno.EXDEV
    zero = machine.call("open", "/dev/zero", 0)
    assert machine.call("sendfile", out, zero, 0, 5) == 5


def test_file_size_limit(machine: Machine) -> None:
    machine.task.limits[1] = (10, 10)
    assert machine.write(0, b"x" * 20) == 10
    assert machine.write(0, b"x") == -errno.EFBIG
    assert machine.signals.sent == [signal.SIGXFSZ]
    assert machine.call("ftruncate", 0, 11) == -errno.EFBIG
    assert machine.call("ftruncate", 0, 5) == 0


def test_memfd(machine: Machine) -> None:
    free = machine.frames.free
    fd = machine.call("memfd_create", "name", 1)
    assert machine.write(fd, b"x" * PAGE) == PAGE
    buffer = machine.task.mm.place(bytes(64))
    length = machine.call("readlink", f"/proc/self/fd/{fd}", buffer, 64)
    assert machine.task.mm.read(buffer, length) == b"/memfd:name (deleted)"
    again = machine.call("open", f"/proc/self/fd/{fd}", O.RDONLY)
    assert machine.read(again) == b"x" * PAGE
    machine.call("close", fd)
    machine.call("close", again)
    assert machine.frames.free == free
    assert machine.call("memfd_create", "n" * 250, 0) == -errno.EINVAL
    assert machine.call("memfd_create", "n", 0x20) == -errno.EINVAL


class Model:
    """A tmpfs file as a bytearray: what the random test holds the real one against."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, pos: int, data: bytes) -> None:
        self.truncate(max(len(self.data), pos + len(data)))
        self.data[pos : pos + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data += bytes(size - len(self.data))

    def punch(self, start: int, length: int) -> None:
        end = min(start + length, len(self.data))
        if start < end:
            self.data[start:end] = bytes(end - start)


POSITIONS = st.integers(0, 5 * PAGE)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), POSITIONS, st.integers(1, 2 * PAGE)),
        st.tuples(st.just("truncate"), POSITIONS, st.just(0)),
        st.tuples(st.just("punch"), POSITIONS, st.integers(1, 3 * PAGE)),
        st.tuples(st.just("allocate"), POSITIONS, st.integers(1, 2 * PAGE)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_random_changes_equal_a_bytearray(steps: list[tuple[str, int, int]]) -> None:
    machine, model = Machine(memory=1 << 20), Model()
    free = machine.frames.free
    machine.call("open", "/tmp/f", O.CREAT | O.RDWR, 0o644)
    for number, (what, pos, length) in enumerate(steps):
        data = bytes([number + 1]) * length
        if what == "write":
            assert machine.call("pwrite64", 0, data, length, pos) == length
            model.write(pos, data)
        elif what == "truncate":
            assert machine.call("ftruncate", 0, pos) == 0
            model.truncate(pos)
        elif what == "punch":
            assert machine.call("fallocate", 0, 3, pos, length) == 0
            model.punch(pos, length)
        else:
            assert machine.call("fallocate", 0, 0, pos, length) == 0
            model.truncate(max(len(model.data), pos + length))
        assert content(machine) == model.data
    machine.call("unlink", "/tmp/f")
    machine.call("close", 0)
    assert machine.frames.free == free
