"""What stat and its like say of a file, what changes it, and directory listings."""

from __future__ import annotations

import errno
import struct

import pytest

from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import PAGE, Machine, dirents, listing


def test_stat_layout(machine: Machine) -> None:
    machine.vfs.write_file("/tmp/f", b"x" * 5000, 0o640)
    times = machine.task.mm.place(struct.pack("<qqqq", 5, 6, 7, 8))
    assert machine.call("utimensat", -100, "/tmp/f", times, 0) == 0
    machine.call("chown", "/tmp/f", 11, 22)
    address = machine.task.mm.place(bytes(144))
    assert machine.call("stat", "/tmp/f", address) == 0
    raw = machine.task.mm.read(address, 144)
    inode = machine.vfs.walker(None).resolve("/tmp/f").inode
    fields = struct.unpack("<QQQIIIIQqqqqqqq", raw[:104])
    assert fields == (inode.sb.dev, inode.ino, 1, 0o100640, 11, 22, 0, 0, 5000, 4096, 16, 5, 6, 7, 8)


def test_statx_layout(machine: Machine) -> None:
    machine.vfs.write_file("/tmp/f", b"x" * 10, 0o600)
    address = machine.task.mm.place(bytes(256))
    assert machine.call("statx", -100, "/tmp/f", 0, 0x7FF, address) == 0
    raw = machine.task.mm.read(address, 256)
    mask, blksize, _, nlink, uid, gid, mode = struct.unpack_from("<IIQIIIH", raw)
    assert (mask & 0x7FF, blksize, nlink, uid, gid, mode) == (0x7FF, 4096, 1, 0, 0, 0o100600)
    assert struct.unpack_from("<Q", raw, 40)[0] == 10
    assert struct.unpack_from("<II", machine.task.mm.read(address, 256), 136) == (
        0,
        machine.vfs.root.mount.sb.dev,
    ), "dev_major, dev_minor"
    assert machine.call("statx", -100, "/dev/null", 0, 0x7FF, address) == 0
    assert struct.unpack_from("<II", machine.task.mm.read(address, 256), 128) == (1, 3)
    assert machine.call("statx", -100, "/tmp/f", 0x6000, 0, address) == -errno.EINVAL
    assert machine.call("statx", -100, "/tmp/f", 0, 1 << 31, address) == -errno.EINVAL


@pytest.mark.parametrize(
    ("path", "wanted", "known"),
    [
        ("/tmp/f", 0, 0x173F),
        ("/tmp/f", 0x2, 0x173F),
        ("/tmp/f", 0x40, 0x17FF),
        ("/tmp/f", 0x80, 0x17FF),
        ("/tmp/f", 0x800, 0x1F3F),
        ("/tmp/f", 0xFFF, 0x1FFF),
        ("/tmp/f", 0x4000, 0x473F),
        ("/dev/null", 0, 0x17FF),
        ("/dev/null", 0x800, 0x1FFF),
        ("/proc/stat", 0xFFF, 0x17FF),
    ],
)
def test_what_statx_knows(machine: Machine, path: str, wanted: int, known: int) -> None:
    """As Linux 6.18 answers: times of changes only who asks for one, that of birth only where there is one."""
    machine.vfs.write_file("/tmp/f", b"", 0o600)
    address = machine.task.mm.place(bytes(256))
    assert machine.call("statx", -100, path, 0, wanted, address) == 0
    raw = machine.task.mm.read(address, 256)
    assert hex(struct.unpack_from("<I", raw)[0]) == hex(known)
    btime, ctime, mtime = (struct.unpack_from("<q", raw, at)[0] != 0 for at in (80, 96, 112))
    assert (btime, ctime, mtime) == (known & 0x800 != 0, known & 0x80 != 0, known & 0x40 != 0)


def test_statfs_layout(machine: Machine) -> None:
    address = machine.task.mm.place(bytes(120))
    assert machine.call("statfs", "/tmp", address) == 0
    fields = struct.unpack("<qqQQQQQiiqqq32x", machine.task.mm.read(address, 120))
    assert fields[:3] == (0x01021994, PAGE, machine.frames.total // 2)
    assert fields[9:11] == (255, PAGE)
    fd = machine.call("open", "/proc", 0)
    assert machine.call("fstatfs", fd, address) == 0
    assert machine.task.mm.read_u64(address) == 0x9FA0


def test_utimes(machine: Machine) -> None:
    machine.vfs.write_file("/tmp/f", b"", 0o666)
    inode = machine.vfs.walker(None).resolve("/tmp/f").inode
    place = machine.task.mm.place
    omit, now = 0x3FFFFFFE, 0x3FFFFFFF
    assert machine.call("utimensat", -100, "/tmp/f", place(struct.pack("<qqqq", 9, 1, 0, omit)), 0) == 0
    assert inode.atime == 9_000_000_001 and inode.mtime != inode.atime
    assert machine.call("utimensat", -100, "/tmp/f", place(struct.pack("<qqqq", 0, 10**9, 0, 0)), 0) == -errno.EINVAL
    assert machine.call("utimes", "/tmp/f", place(struct.pack("<qqqq", 1, 2, -3, 4))) == 0
    assert inode.mtime == -3 * 10**9 + 4000
    assert machine.call("stat", "/tmp/f", bytes(144)) == 0
    fd = machine.call("open", "/tmp/f", O.RDWR)
    assert machine.call("utimensat", fd, 0, 0, 0) == 0
    user = machine.new_task(uid=1000)
    assert machine.call("utimensat", -100, "/tmp/f", 0, 0, task=user) == 0
    explicit = user.mm.place(struct.pack("<qqqq", 0, now, 5, 5))
    assert machine.call("utimensat", -100, "/tmp/f", explicit, 0, task=user) == -errno.EPERM


def test_chown_takes_set_id_bits(machine: Machine) -> None:
    machine.vfs.write_file("/tmp/f", b"", 0o755)
    machine.call("chmod", "/tmp/f", 0o6755)
    machine.call("chown", "/tmp/f", 1000, -1)
    inode = machine.vfs.walker(None).resolve("/tmp/f").inode
    assert (inode.mode & 0o7777, inode.uid, inode.gid) == (0o755, 1000, 0)
    user = machine.new_task(uid=1000)
    assert machine.call("chown", "/tmp/f", 0, -1, task=user) == -errno.EPERM
    assert machine.call("chown", "/tmp/f", -1, 1000, task=user) == 0
    assert machine.call("chmod", "/etc/passwd", 0o777, task=user) == -errno.EPERM


def test_getdents(machine: Machine) -> None:
    machine.vfs.mkdir("/tmp/d")
    for number in range(50):
        machine.vfs.write_file(f"/tmp/d/file{number:02}", b"")
    machine.vfs.symlink("x", "/tmp/d/link")
    entries = listing(machine, "/tmp/d", 200)
    assert [name for _, name, _ in entries] == [".", "..", *(f"file{n:02}" for n in range(50)), "link"]
    assert entries[0][2] == 4 and entries[2][2] == 8 and entries[-1][2] == 10
    assert entries[2][0] == machine.vfs.walker(None).resolve("/tmp/d/file00").inode.ino
    fd = machine.call("open", "/tmp/d", O.DIRECTORY)
    assert machine.call("getdents64", fd, machine.task.mm.place(bytes(64)), 10) == -errno.EINVAL
    assert machine.call("getdents64", 77, machine.task.mm.place(bytes(64)), 10) == -errno.EBADF
    regular = machine.call("open", "/etc/passwd", 0)
    assert machine.call("getdents64", regular, machine.task.mm.place(bytes(64)), 64) == -errno.ENOTDIR


def test_listing_while_removing(machine: Machine) -> None:
    machine.vfs.mkdir("/tmp/d")
    for number in range(20):
        machine.vfs.write_file(f"/tmp/d/{number}", b"")
    fd = machine.call("open", "/tmp/d", O.DIRECTORY)
    removed = 0
    while True:
        address = machine.task.mm.place(bytes(100))
        length = machine.call("getdents64", fd, address, 100)
        if not length:
            break
        for _, name, _ in dirents(machine.task.mm.read(address, length)):
            if name not in (".", ".."):
                assert machine.call("unlink", f"/tmp/d/{name}") == 0
                removed += 1
    assert removed == 20
    assert machine.call("rmdir", "/tmp/d") == 0
    assert machine.call("getdents64", fd, machine.task.mm.place(bytes(100)), 100) == -errno.ENOENT
