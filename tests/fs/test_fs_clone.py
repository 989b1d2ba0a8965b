"""FICLONE: no file system here shares blocks, and what is wrong with the files is said first (ioctl_ficlone(2))."""

from __future__ import annotations

import errno
import struct

import pytest

from emu.linux.fileflags import OpenFlags as O
from emu.syscalls.remap import FICLONE, FICLONERANGE
from tests.fs.machine import Machine


@pytest.fixture
def files(machine: Machine) -> dict[str, int]:
    """Descriptors by what they are."""
    machine.call("mkdir", "/tmp/d", 0o755)
    opened = {
        "one": ("/tmp/one", O.RDWR | O.CREAT), "other": ("/tmp/other", O.RDWR | O.CREAT),
        "read": ("/tmp/one", O.RDONLY), "write": ("/tmp/other", O.WRONLY), "append": ("/tmp/other", O.RDWR | O.APPEND),
        "directory": ("/tmp/d", O.RDONLY), "null": ("/dev/null", O.RDWR),
    }  # fmt: skip
    return {name: machine.call("open", path, int(flags), 0o644) for name, (path, flags) in opened.items()}


@pytest.mark.parametrize(
    ("target", "source", "error"),
    [
        ("one", "other", errno.EOPNOTSUPP),
        ("none", "one", errno.EXDEV),
        ("null", "one", errno.EXDEV),
        ("read", "other", errno.EBADF),
        ("one", "write", errno.EBADF),
        ("append", "one", errno.EBADF),
        ("directory", "one", errno.EISDIR),
        ("one", "directory", errno.EISDIR),
    ],
)
def test_what_is_wrong(machine: Machine, files: dict[str, int], target: str, source: str, error: int) -> None:
    if target == "none":  # another file system
        machine.vfs.mount("tmpfs", "/dev/shm")
        files["none"] = machine.call("open", "/dev/shm/a", int(O.RDWR | O.CREAT), 0o644)
    assert machine.call("ioctl", files[target], FICLONE, files[source]) == -error


def test_a_range(machine: Machine, files: dict[str, int]) -> None:
    def ranged(fd: int) -> int:
        return machine.task.mm.place(struct.pack("<qQQQ", fd, 0, 0, 0))

    assert machine.call("ioctl", files["one"], FICLONERANGE, ranged(files["other"])) == -errno.EOPNOTSUPP
    assert machine.call("ioctl", files["one"], FICLONERANGE, ranged(99)) == -errno.EBADF
    assert machine.call("ioctl", files["one"], FICLONERANGE, 8) == -errno.EFAULT
    assert machine.call("ioctl", files["one"], FICLONE, 99) == -errno.EBADF


def test_nobody_tells_where_a_file_lies(machine: Machine, files: dict[str, int]) -> None:
    for name in ("one", "directory", "null"):
        assert machine.call("ioctl", files[name], 0xC020660B, 8) == -errno.EOPNOTSUPP


def test_the_size_of_a_block(machine: Machine) -> None:
    for path, size in (("/proc/stat", 1024), ("/dev/null", 4096)):
        at = machine.task.mm.place(bytes(4))
        assert machine.call("ioctl", machine.call("open", path, 0, 0), 2, at) == 0
        assert struct.unpack("<i", machine.task.mm.read(at, 4)) == (size,)
