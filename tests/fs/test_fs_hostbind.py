"""A directory of the host that guests may change: what they do, they do to the host's files, and to nothing outside."""

from __future__ import annotations

import errno
import gc
import os
import resource
import stat
from pathlib import Path

import pytest

from emu.fs.bind import Bind
from emu.fs.hostroot import HostFiles
from emu.linux.fileflags import FallocateFlags, RenameFlags
from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import Machine, names


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"outside")
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "f").write_bytes(b"host")
    return top


@pytest.fixture
def m(top: Path) -> Machine:
    machine = Machine()
    HostFiles(machine.vfs, machine.log_once).bind(Bind(str(top), "/mnt", writable=True))
    return machine


def test_files_are_made_written_and_removed(m: Machine, top: Path) -> None:
    fd = m.call("open", "/mnt/d/new", O.RDWR | O.CREAT | O.EXCL, 0o640)
    assert m.write(fd, b"written") == 7
    assert (top / "d/new").read_bytes() == b"written"
    assert stat.S_IMODE((top / "d/new").stat().st_mode) & ~0o640 == 0
    assert m.call("pwrite64", fd, b"X", 1, 3) == 1 and m.call("ftruncate", fd, 5) == m.call("fsync", fd) == 0
    assert (top / "d/new").read_bytes() == b"wriXt"
    assert m.call("open", "/mnt/d/new", O.WRONLY | O.CREAT | O.EXCL) == -errno.EEXIST
    assert m.call("unlink", "/mnt/d/new") == 0 and not (top / "d/new").exists()
    assert m.call("ftruncate", fd, 2) == 0  # it is open still
    assert m.call("pread64", fd, m.task.mm.place(bytes(8)), 8, 0) == 2


def test_a_file_that_is_open_is_opened_again_without_a_name(m: Machine, top: Path) -> None:
    fd = m.call("open", "/mnt/f", O.RDONLY)
    assert m.call("unlink", "/mnt/f") == 0 and not (top / "f").exists()
    file = m.task.files.get(fd)
    again = file.inode.open(file.path, O.RDONLY, None)  # as execveat and /proc/self/fd do
    try:
        assert again.pread(8, 0) == b"host"
    finally:
        again.put()


def test_names(m: Machine, top: Path) -> None:
    assert m.call("mkdir", "/mnt/made", 0o755) == 0 and (top / "made").is_dir()
    assert m.call("rename", "/mnt/f", "/mnt/made/g") == 0 and (top / "made/g").read_bytes() == b"host"
    assert m.call("rmdir", "/mnt/made") == -errno.ENOTEMPTY
    cwd = m.call("chdir", "/mnt/made")
    assert m.call("rename", "/mnt/made", "/mnt/d/moved") == 0
    fd = m.call("open", "g", O.RDONLY)  # where we stand has moved
    assert cwd == 0 and m.read(fd) == b"host"
    assert m.call("link", "g", "/mnt/h") == 0 and (top / "h").stat().st_nlink == 2
    assert m.call("symlink", "../../..", "/mnt/up") == 0 and os.readlink(top / "up") == "../../.."
    assert m.call("mknod", "/mnt/fifo", stat.S_IFIFO | 0o600, 0) == 0 and (top / "fifo").is_fifo()
    assert m.call("mknod", "/mnt/null", stat.S_IFCHR | 0o600, 0x103) == -errno.EPERM
    other = m.call("open", "/mnt/other", O.WRONLY | O.CREAT, 0o600)
    assert other >= 0
    assert m.call("renameat2", -100, "/mnt/h", -100, "/mnt/other", int(RenameFlags.NOREPLACE)) == -errno.EEXIST
    assert m.call("renameat2", -100, "/mnt/h", -100, "/mnt/other", int(RenameFlags.EXCHANGE)) == 0
    assert (top / "other").read_bytes() == b"host" and (top / "h").read_bytes() == b""
    assert names(m, "/mnt") == [".", "..", "d", "fifo", "h", "other", "up"]
    assert m.call("rename", "/mnt/h", "/tmp/h") == -errno.EXDEV
    assert m.call("rmdir", "/mnt") == -errno.EBUSY


def test_attributes(m: Machine, top: Path) -> None:
    assert m.call("chmod", "/mnt/f", 0o6751) == 0
    assert stat.S_IMODE((top / "f").stat().st_mode) == 0o751  # never set-user-ID, on the host
    times = (5).to_bytes(8, "little") + bytes(8) + (6).to_bytes(8, "little") + (7).to_bytes(8, "little")
    assert m.call("utimensat", -100, "/mnt/f", times, 0) == 0
    assert ((top / "f").stat().st_atime_ns, (top / "f").stat().st_mtime_ns) == (5_000_000_000, 6_000_000_007)
    fd = m.call("open", "/mnt/f", O.RDWR)
    assert m.call("fallocate", fd, 0, 0, 100) == 0 and (top / "f").stat().st_size == 100
    punch = int(FallocateFlags.PUNCH_HOLE | FallocateFlags.KEEP_SIZE)
    assert m.call("fallocate", fd, punch, 0, 10) == -errno.EOPNOTSUPP
    assert " /mnt hostfs rw,nosuid,nodev,relatime 0 0" in m.vfs.mounts()


def test_what_the_host_does_is_seen(m: Machine, top: Path) -> None:
    assert m.text("/mnt/f") == "host"
    (top / "f").write_bytes(b"changed there")
    (top / "there").write_bytes(b"")
    assert m.text("/mnt/f") == "changed there" and "there" in names(m, "/mnt")
    fd = m.call("open", "/mnt/f", O.WRONLY | O.APPEND)
    with (top / "f").open("ab") as file:
        file.write(b"+")
    assert m.write(fd, b"-") == 1 and (top / "f").read_bytes() == b"changed there+-"
    (top / "f").unlink()
    assert m.call("open", "/mnt/f", O.RDONLY) == -errno.ENOENT


def test_a_fifo_is_one_of_the_machine(m: Machine, top: Path) -> None:
    os.mkfifo(top / "fifo")
    reader = m.call("open", "/mnt/fifo", O.RDONLY | O.NONBLOCK)
    writer = m.call("open", "/mnt/fifo", O.WRONLY | O.NONBLOCK)
    assert m.write(writer, b"through") == 7 and m.read(reader) == b"through"
    with pytest.raises(OSError, match="No such device"):
        os.open(top / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_no_link_leads_out(m: Machine, top: Path) -> None:
    """A link of the host is resolved by the machine: it has no such file, or another."""
    (top / "leaf").symlink_to(top.parent / "secret")
    (top / "out").symlink_to("..")
    assert m.call("open", "/mnt/leaf", O.WRONLY | O.TRUNC) == -errno.ENOENT
    assert m.call("open", "/mnt/out/secret", O.WRONLY) == -errno.ENOENT
    assert m.call("open", "/mnt/out/made", O.WRONLY | O.CREAT, 0o600) >= 0
    assert m.text("/made") == "" and not (top.parent / "made").exists()
    assert m.call("fchmodat2", -100, "/mnt/leaf", 0o777, 0x100) == -errno.EOPNOTSUPP
    # a directory becomes a link under the machine's feet
    assert m.call("chdir", "/mnt/d") == 0
    (top / "d").rmdir()
    (top / "d").symlink_to("..")
    for call in (("open", "x", O.WRONLY | O.CREAT, 0o600), ("mkdir", "x", 0o700), ("symlink", "a", "x")):
        assert m.call(*call) in (-errno.ENOENT, -errno.ELOOP, -errno.ENOTDIR, -errno.ESTALE)
    assert m.call("unlink", "secret") in (-errno.ENOENT, -errno.ELOOP, -errno.ENOTDIR)
    assert sorted(path.name for path in top.parent.iterdir()) == ["secret", "top"]


def test_guests_cannot_take_every_descriptor_of_the_host(top: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()
    in_use = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 150, hard))
    try:
        m = Machine()
        HostFiles(m.vfs, m.log_once).bind(Bind(str(top), "/mnt", writable=True))
        results = [m.call("open", "/mnt/f", O.RDONLY) for _ in range(in_use + 150)]
        assert results[0] >= 0 and results[-1] == -errno.ENFILE
        assert m.call("mkdir", "/mnt/still", 0o755) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_times_that_no_file_system_has(m: Machine, top: Path) -> None:
    for seconds in (1 << 62, (1 << 64) - (1 << 62)):
        times = seconds.to_bytes(8, "little") + bytes(8)
        assert m.call("utimensat", -100, "/mnt/f", times * 2, 0) == 0


def test_descriptors_end_with_the_machine(top: Path) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    m = Machine(root=str(top))
    HostFiles(m.vfs, m.log_once).bind(Bind(str(top), "/mnt", writable=True))
    assert m.call("open", "/mnt/f", O.RDWR) >= 0 and m.text("/f") == "host"
    assert len(os.listdir("/proc/self/fd")) >= before + 3
    del m
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
