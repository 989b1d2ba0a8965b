"""open(2), descriptors, fcntl, locks."""

from __future__ import annotations

import errno
import struct

import pytest

from emu.fs.fdtable import FdTable
from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import Machine


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.vfs.write_file("/tmp/f", b"0123456789")
    machine.vfs.mkdir("/tmp/d")
    machine.vfs.symlink("f", "/tmp/link")
    machine.vfs.symlink("new", "/tmp/tonew")
    return machine


@pytest.mark.parametrize(
    ("name", "flags", "error"),
    [
        ("/tmp/f", O.CREAT | O.EXCL, errno.EEXIST),
        ("/tmp/link", O.CREAT | O.EXCL, errno.EEXIST),
        ("/tmp/link", O.NOFOLLOW, errno.ELOOP),
        ("/tmp/link", O.NOFOLLOW | O.CREAT, errno.ELOOP),
        ("/tmp/f", O.DIRECTORY, errno.ENOTDIR),
        ("/tmp/d", O.WRONLY, errno.EISDIR),
        ("/tmp/d", O.CREAT, errno.EISDIR),
        ("/tmp/new/", O.CREAT, errno.EISDIR),
        ("/tmp/x", O.CREAT | O.DIRECTORY, errno.EINVAL),
        ("/tmp/f/x", O.CREAT, errno.ENOTDIR),
        ("/proc/sys/kernel/ostype", O.WRONLY, errno.EACCES),
        ("/proc/new", O.CREAT | O.WRONLY, errno.ENOENT),
        ("/sys/new", O.CREAT | O.WRONLY, errno.EACCES),
        ("/proc/cpuinfo", O.DIRECT, errno.EINVAL),
        ("/proc", O.TMPFILE | O.RDWR, errno.EOPNOTSUPP),
        ("/tmp", O.TMPFILE | O.RDONLY, errno.EINVAL),
        ("/dev/tty", O.RDWR, errno.ENXIO),
    ],
)
def test_open_fails(machine: Machine, name: str, flags: int, error: int) -> None:
    assert machine.call("open", name, flags, 0o644) == -error


def test_create_through_a_dangling_link(machine: Machine) -> None:
    assert machine.call("open", "/tmp/tonew", O.CREAT | O.WRONLY, 0o600) >= 0
    assert machine.call("access", "/tmp/new", 0) == 0


def test_truncate_on_open(machine: Machine) -> None:
    fd = machine.call("open", "/tmp/f", O.RDWR | O.TRUNC)
    assert machine.read(fd) == b""
    machine.vfs.write_file("/tmp/ro", b"x", 0o444)
    user = machine.new_task(uid=1000)
    assert machine.call("open", "/tmp/ro", O.RDONLY | O.TRUNC, task=user) == -errno.EACCES


def test_creating_a_read_only_file_for_writing(machine: Machine) -> None:
    user = machine.new_task(uid=1000)
    fd = machine.call("open", "/tmp/mine", O.CREAT | O.RDWR, 0o444, task=user)
    assert machine.call("write", fd, b"x", 1, task=user) == 1
    assert machine.call("open", "/tmp/mine", O.RDWR, task=user) == -errno.EACCES


def test_path_descriptor_does_nothing_else(machine: Machine) -> None:
    fd = machine.call("open", "/tmp/f", O.PATH)
    assert machine.call("read", fd, bytes(4), 4) == -errno.EBADF
    assert machine.call("fchmod", fd, 0o600) == -errno.EBADF
    assert machine.call("ioctl", fd, 0x5401, 0) == -errno.EBADF
    assert machine.call("fcntl", fd, 4, 0) == -errno.EBADF
    assert machine.call("fcntl", fd, 3) == O.PATH
    assert machine.call("fstat", fd, bytes(144)) == 0
    assert machine.call("newfstatat", fd, "", bytes(144), 0x1000) == 0
    assert machine.call("openat", fd, "x", 0) == -errno.ENOTDIR


def test_tmpfile(machine: Machine) -> None:
    fd = machine.call("open", "/tmp", O.TMPFILE | O.RDWR, 0o600)
    assert machine.write(fd, b"hidden") == 6
    buffer = machine.task.mm.place(bytes(64))
    assert machine.call("linkat", fd, "", -100, "/tmp/shown", 0x1000) == 0
    assert machine.vfs.read_file("/tmp/shown") == b"hidden"
    assert machine.call("readlink", f"/proc/self/fd/{fd}", buffer, 64) > 0


def test_lowest_descriptor_is_taken(machine: Machine) -> None:
    fds = [machine.call("open", "/tmp/f", 0) for _ in range(4)]
    assert fds == [0, 1, 2, 3]
    machine.call("close", 2)
    machine.call("close", 1)
    assert machine.call("dup", 0) == 1
    assert machine.call("fcntl", 0, 0, 10) == 10
    assert machine.call("open", "/tmp/f", 0) == 2
    assert machine.call("open", "/tmp/f", 0) == 4
    assert machine.call("close", 77) == -errno.EBADF


def test_descriptor_limit(machine: Machine) -> None:
    machine.task.files.limit = 3
    assert [machine.call("open", "/tmp/f", 0) for _ in range(4)] == [0, 1, 2, -errno.EMFILE]
    assert machine.call("open", "/tmp/made", O.CREAT | O.WRONLY, 0o600) == -errno.EMFILE
    assert machine.call("access", "/tmp/made", 0) == -errno.ENOENT, "nothing is created without a descriptor for it"
    assert machine.call("dup", 0) == -errno.EMFILE
    assert machine.call("dup2", 0, 3) == -errno.EBADF
    assert machine.call("fcntl", 0, 0, 3) == -errno.EINVAL
    assert machine.call("pipe", bytes(8)) == -errno.EMFILE
    assert machine.call("close", 2) == 0
    assert machine.call("pipe", bytes(8)) == -errno.EMFILE
    assert machine.call("open", "/tmp/f", 0) == 2, "a pipe that did not fit leaves nothing behind"


def test_dup_shares_the_position(machine: Machine) -> None:
    fd = machine.call("open", "/tmp/f", 0)
    other = machine.call("dup", fd)
    machine.read(fd, 3)
    assert machine.read(other, 3) == b"345"
    second = machine.call("open", "/tmp/f", 0)
    assert machine.read(second, 3) == b"012"


def test_dup2_and_dup3(machine: Machine) -> None:
    fd = machine.call("open", "/tmp/f", 0)
    assert machine.call("dup2", fd, 9) == 9
    assert machine.call("dup2", fd, fd) == fd
    assert machine.call("dup2", 55, 55) == -errno.EBADF
    assert machine.call("dup3", fd, fd, 0) == -errno.EINVAL
    assert machine.call("dup3", fd, 9, O.CLOEXEC) == 9
    assert machine.call("fcntl", 9, 1) == 1
    assert machine.call("dup3", fd, 9, 1) == -errno.EINVAL


def test_close_on_exec_and_fork_copy(machine: Machine) -> None:
    keep = machine.call("open", "/tmp/f", 0)
    gone = machine.call("open", "/tmp/f", O.CLOEXEC)
    copy = machine.task.files.copy()
    file = copy.get(keep)
    machine.task.files.close_on_exec()
    assert list(machine.task.files) == [keep]
    assert list(copy) == [keep, gone]
    assert machine.task.files.get(keep) is file
    copy.put()
    assert len(copy) == 0
    assert machine.read(keep, 1) == b"0"


def test_close_range(machine: Machine) -> None:
    for _ in range(6):
        machine.call("open", "/tmp/f", 0)
    assert machine.call("close_range", 4, 0xFFFFFFFF, 4) == 0
    assert machine.call("fcntl", 4, 1) == 1
    assert machine.call("close_range", 1, 3, 0) == 0
    assert list(machine.task.files) == [0, 4, 5]
    assert machine.call("close_range", 3, 1, 0) == -errno.EINVAL


def test_getfl_setfl(machine: Machine) -> None:
    fd = machine.call("open", "/tmp/f", O.RDWR | O.CREAT | O.TRUNC | O.CLOEXEC)
    assert machine.call("fcntl", fd, 3) == O.RDWR | O.LARGEFILE
    assert machine.call("fcntl", fd, 4, O.APPEND | O.NONBLOCK | O.WRONLY) == 0
    assert machine.call("fcntl", fd, 3) == O.RDWR | O.LARGEFILE | O.APPEND | O.NONBLOCK
    assert machine.call("fcntl", fd, 999) == -errno.EINVAL


def test_file_lives_until_the_last_reference(machine: Machine) -> None:
    free = machine.frames.free
    fd = machine.call("open", "/tmp/big", O.CREAT | O.RDWR, 0o600)
    machine.write(fd, b"x" * 40960)
    other = machine.call("dup", fd)
    machine.call("unlink", "/tmp/big")
    machine.call("close", fd)
    assert machine.frames.free == free - 10
    machine.call("close", other)
    assert machine.frames.free == free


def test_put_too_often_is_our_error(machine: Machine) -> None:
    file = machine.vfs.open("/tmp/f")
    file.put()
    with pytest.raises(RuntimeError, match=r"File\.put"):
        file.put()


def lock(kind: int, start: int, length: int) -> bytes:
    return struct.pack("<hh4xqqi4x", kind, 0, start, length, 0)


class TestLocks:
    SETLK, SETLKW, GETLK = 6, 7, 5

    @pytest.fixture
    def other(self, machine: Machine) -> FdTable:
        task = machine.new_task()
        self.task = task
        machine.call("open", "/tmp/f", O.RDWR, task=task)
        machine.call("open", "/tmp/f", O.RDWR)
        return task.files

    def test_conflict_and_report(self, machine: Machine, other: FdTable) -> None:
        assert machine.call("fcntl", 0, self.SETLK, lock(1, 2, 4)) == 0
        assert machine.call("fcntl", 0, self.SETLK, lock(1, 0, 0)) == 0, "one's own lock is no obstacle"
        assert machine.call("fcntl", 0, self.SETLK, lock(2, 0, 2)) == 0
        assert machine.call("fcntl", 0, self.SETLK, lock(0, 0, 2), task=self.task) == 0
        assert machine.call("fcntl", 0, self.SETLK, lock(0, 0, 3), task=self.task) == -errno.EAGAIN
        query = self.task.mm.place(lock(1, 0, 0))
        assert machine.call("fcntl", 0, self.GETLK, query, task=self.task) == 0
        assert struct.unpack("<hh4xqqi4x", self.task.mm.read(query, 32)) == (1, 0, 2, 0, machine.task.pid)

    def test_waiting_and_release_by_close(self, machine: Machine, other: FdTable) -> None:
        assert machine.call("fcntl", 0, self.SETLK, lock(1, 0, 0)) == 0
        waiting = machine.start("fcntl", 0, self.SETLKW, lock(1, 0, 1), task=self.task)
        assert machine.step(waiting)[0] is False
        extra = machine.call("open", "/tmp/f", 0)
        machine.call("close", extra)
        assert machine.step(waiting) == (True, 0)

    def test_deadlock(self, machine: Machine, other: FdTable) -> None:
        machine.call("fcntl", 0, self.SETLK, lock(1, 0, 1))
        machine.call("fcntl", 0, self.SETLK, lock(1, 5, 1), task=self.task)
        waiting = machine.start("fcntl", 0, self.SETLKW, lock(1, 5, 1))
        assert machine.step(waiting)[0] is False
        assert machine.call("fcntl", 0, self.SETLKW, lock(1, 0, 1), task=self.task) == -errno.EDEADLK

    def test_flock(self, machine: Machine, other: FdTable) -> None:
        assert machine.call("flock", 0, 2) == 0
        assert machine.call("flock", 0, 2 | 4, task=self.task) == -errno.EWOULDBLOCK
        assert machine.call("flock", 0, 1) == 0
        assert machine.call("flock", 0, 1 | 4, task=self.task) == 0
        assert machine.call("flock", 0, 2 | 4) == -errno.EWOULDBLOCK
        assert machine.call("flock", 0, 8) == 0
        assert machine.call("flock", 0, 3) == -errno.EINVAL
