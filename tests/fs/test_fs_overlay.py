"""The overlay over a directory of the host: what is changed is changed in the machine only, as overlayfs does it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu.fs.overlay import OVERLAYFS_MAGIC, OverlaySuperBlock
from emu.linux.fileflags import FallocateFlags, RenameFlags
from emu.linux.fileflags import OpenFlags as O
from emu.mm.pageflags import FrameKind
from tests.fs.machine import Machine, listing, names

PAGE = 4096


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every file below a directory, except times of access."""
    found: dict[str, tuple[object, ...]] = {}
    for name in sorted([top, *top.rglob("*")]):
        s = name.lstat()
        content = name.read_bytes() if stat.S_ISREG(s.st_mode) else os.readlink(name) if name.is_symlink() else ""
        found[str(name)] = (s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_mtime_ns, s.st_ctime_ns, content)
    return found


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """``d/file``, ``d/sub/inner``, ``link``, two names of one file, an empty directory."""
    top = tmp_path / "top"
    (top / "d/sub").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "d/file").write_bytes(b"lower")
    (top / "d/private").write_bytes(b"private")
    (top / "d/private").chmod(0o600)
    (top / "d/sub/inner").write_bytes(b"inner")
    (top / "big").write_bytes(bytes(range(256)) * 256 * 4)
    (top / "link").symlink_to("d/file")
    (top / "one").write_bytes(b"same")
    os.link(top / "one", top / "two")
    return top


@pytest.fixture
def m(top: Path) -> Machine:
    return Machine(root=str(top))


@pytest.fixture(autouse=True)
def nothing_changes_on_the_host(top: Path) -> Iterator[None]:
    before = snapshot(top)
    yield
    assert snapshot(top) == before


def sb_of(m: Machine) -> OverlaySuperBlock:
    sb = m.vfs.root.mount.sb
    assert isinstance(sb, OverlaySuperBlock)
    return sb


def forget(m: Machine) -> None:
    """As if very many other names had been looked up."""
    recent = sb_of(m).recent
    assert recent is not None
    recent.clear()


def write(m: Machine, name: str, data: bytes, flags: int = O.WRONLY) -> None:
    fd = m.call("open", name, flags, 0o644)
    assert fd >= 0 and m.write(fd, data) == len(data) and m.call("close", fd) == 0


def ino(m: Machine, name: str) -> int:
    return m.vfs.walker(None).resolve(name, follow=False).inode.ino


# -- looking -----------------------------------------------------------------------------------------------------------


def test_the_host_is_seen_as_it_is(m: Machine, top: Path) -> None:
    assert m.text("/d/file") == m.text("/link") == "lower"
    for name in ("d", "d/file", "link", "one", "big"):
        here, there = m.vfs.walker(None).resolve("/" + name, follow=False).inode.getattr(), (top / name).lstat()
        assert (here.mode, here.ino, here.nlink, here.uid, here.gid) == (*there[:2], *there[3:6])
        assert (here.size, here.mtime, here.blocks) == (there.st_size, there.st_mtime_ns, there.st_blocks)
    assert sb_of(m).statfs().type == OVERLAYFS_MAGIC
    assert f" / overlay rw,relatime,lowerdir={top},upperdir=tmpfs,workdir=tmpfs 0 0" in m.vfs.mounts()


def test_listings_are_sorted_and_say_what_kind(m: Machine) -> None:
    found = {name: kind << 12 for _, name, kind in listing(m, "/")}
    assert list(found) == [".", "..", "big", "d", "dev", "empty", "link", "one", "proc", "sys", "tmp", "two"]
    assert (found["big"], found["d"], found["link"]) == (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    assert {name: number for number, name, _ in listing(m, "/d")}["file"] == ino(m, "/d/file")


def test_the_machine_has_its_own_dev_proc_sys_and_tmp(m: Machine) -> None:
    types = {line.split()[1]: line.split()[2] for line in m.vfs.mounts().splitlines()}
    assert types == {
        "/": "overlay", "/dev": "devtmpfs", "/dev/shm": "tmpfs", "/proc": "proc", "/sys": "sysfs",
        "/sys/kernel/debug": "debugfs", "/tmp": "tmpfs",
    }  # fmt: skip
    write(m, "/tmp/x", b"1", O.WRONLY | O.CREAT)


# -- contents ----------------------------------------------------------------------------------------------------------


def test_a_written_file_is_copied_up_by_pages(m: Machine, top: Path) -> None:
    number = ino(m, "/big")
    fd = m.call("open", "/big", O.RDWR)
    assert m.call("pwrite64", fd, b"xyz", 3, 5 * PAGE + 10) == 3
    expected = bytearray((top / "big").read_bytes())
    expected[5 * PAGE + 10 : 5 * PAGE + 13] = b"xyz"
    assert m.vfs.read_file("/big") == expected
    assert ino(m, "/big") == number and sb_of(m).used_blocks == 1  # one page of 64


def test_what_is_open_sees_what_is_written_later(m: Machine) -> None:
    early = m.call("open", "/d/file", O.RDONLY)
    write(m, "/d/file", b"UPPER")
    assert m.read(early) == b"UPPER" == m.vfs.read_file("/link")


@pytest.mark.parametrize("size", [0, 3, PAGE, PAGE + 1, 100 * PAGE])
def test_truncated(m: Machine, top: Path, size: int) -> None:
    """What was cut off does not come back when the file grows again."""
    was = (top / "big").read_bytes()
    assert m.call("truncate", "/big", size) == 0
    assert m.vfs.read_file("/big") == was[:size].ljust(size, b"\0")
    assert m.call("truncate", "/big", len(was) + 5) == 0
    assert m.vfs.read_file("/big") == was[:size].ljust(len(was) + 5, b"\0")


def test_holes(m: Machine, top: Path) -> None:
    fd = m.call("open", "/big", O.RDWR)
    punch = int(FallocateFlags.PUNCH_HOLE | FallocateFlags.KEEP_SIZE)
    assert m.call("fallocate", fd, punch, PAGE + 1, 3 * PAGE) == 0
    was = (top / "big").read_bytes()
    assert m.vfs.read_file("/big") == was[: PAGE + 1] + bytes(3 * PAGE) + was[4 * PAGE + 1 :]
    fd = m.call("open", "/one", O.RDONLY)
    assert m.call("lseek", fd, 1, 3) == 1 and m.call("lseek", fd, 1, 4) == 4  # SEEK_DATA, SEEK_HOLE


def test_o_trunc_appending_and_o_excl(m: Machine) -> None:
    write(m, "/d/file", b"new", O.WRONLY | O.TRUNC)
    write(m, "/d/file", b"+", O.WRONLY | O.APPEND)
    assert m.text("/d/file") == "new+"
    assert m.call("open", "/d/file", O.WRONLY | O.CREAT | O.EXCL) == -errno.EEXIST


def test_the_upper_layer_is_as_large_as_half_of_memory(top: Path) -> None:
    m = Machine(1 << 20, root=str(top))
    fd = m.call("open", "/new", O.WRONLY | O.CREAT, 0o644)
    written = 0
    while (n := m.write(fd, bytes(8 * PAGE))) > 0:
        written += n
    assert n == -errno.ENOSPC and 100 * PAGE < written <= 128 * PAGE
    assert m.vfs.read_file("/big") == (top / "big").read_bytes()  # with the memory that is left


def test_clean_pages_are_dropped_when_memory_is_needed(top: Path) -> None:
    m = Machine(1 << 20, root=str(top))  # 256 frames; the file has 64
    for _ in range(3):
        assert m.vfs.read_file("/big") == (top / "big").read_bytes()
    assert m.frames.used[FrameKind.CACHE] >= 64
    taken = [m.frames.alloc(FrameKind.ANON) for _ in range(240)]
    assert m.frames.used[FrameKind.CACHE] < 64
    for frame in taken:
        m.frames.put(frame)
    assert m.vfs.read_file("/big") == (top / "big").read_bytes()


def test_written_pages_are_never_dropped(top: Path) -> None:
    m = Machine(1 << 20, root=str(top))
    fd = m.call("open", "/big", O.RDWR)
    for page in range(0, 64, 2):
        m.call("pwrite64", fd, b"mine", 4, page * PAGE)
    taken = []
    while m.frames.has_room(1):
        taken.append(m.frames.alloc(FrameKind.ANON))
    for frame in taken:
        m.frames.put(frame)
    data = m.vfs.read_file("/big")
    assert [data[page * PAGE :][:4] == b"mine" for page in range(64)] == [True, False] * 32


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_whiteout_hides_a_lower_name(m: Machine) -> None:
    assert m.call("unlink", "/d/file") == 0
    assert m.call("open", "/d/file", O.RDONLY) == m.call("open", "/link", O.RDONLY) == -errno.ENOENT
    assert names(m, "/d") == [".", "..", "private", "sub"]
    write(m, "/d/file", b"again", O.WRONLY | O.CREAT)
    assert m.text("/d/file") == "again" and names(m, "/d") == [".", "..", "file", "private", "sub"]
    assert m.call("unlink", "/d/file") == 0
    assert m.call("open", "/d/file", O.RDONLY) == -errno.ENOENT  # the lower one does not come back


def test_an_unlinked_file_can_be_read_on(m: Machine) -> None:
    fd = m.call("open", "/big", O.RDONLY)
    assert m.call("unlink", "/big") == 0
    assert m.read(fd, 4) == b"\0\1\2\3"


def test_a_directory_made_anew_is_opaque(m: Machine) -> None:
    assert m.call("rmdir", "/d") == -errno.ENOTEMPTY
    for name in ("/d/file", "/d/private", "/d/sub/inner"):
        assert m.call("unlink", name) == 0
    assert m.call("rmdir", "/d/sub") == m.call("rmdir", "/d") == 0
    assert m.call("mkdir", "/d", 0o755) == 0
    assert names(m, "/d") == [".", ".."]
    assert m.call("open", "/d/file", O.RDONLY) == -errno.ENOENT


def test_a_merged_directory(m: Machine) -> None:
    write(m, "/d/new", b"n", O.WRONLY | O.CREAT)
    assert names(m, "/d") == [".", "..", "file", "new", "private", "sub"]
    assert m.vfs.walker(None).resolve("/d").inode.nlink == 1
    assert m.call("rmdir", "/d") == -errno.ENOTEMPTY


def test_a_lower_directory_cannot_be_renamed(m: Machine) -> None:
    assert m.call("rename", "/d", "/e") == m.call("rename", "/empty", "/e") == -errno.EXDEV
    assert m.call("mkdir", "/made", 0o755) == 0
    exchange = int(RenameFlags.EXCHANGE)
    assert m.call("renameat2", -100, "/made", -100, "/d", exchange) == -errno.EXDEV
    assert m.call("rename", "/made", "/moved") == 0
    assert m.call("rename", "/moved", "/empty") == 0  # it takes the place of a lower one
    assert m.call("rename", "/empty", "/d") == -errno.ENOTEMPTY
    assert m.call("rename", "/d/file", "/tmp/file") == -errno.EXDEV


def test_files_are_renamed(m: Machine, top: Path) -> None:
    number = ino(m, "/d/file")
    assert m.call("rename", "/d/file", "/d/sub/renamed") == 0
    assert m.text("/d/sub/renamed") == "lower" and ino(m, "/d/sub/renamed") == number
    assert m.call("open", "/d/file", O.RDONLY) == -errno.ENOENT
    assert m.call("rename", "/big", "/one") == 0
    assert m.vfs.read_file("/one") == (top / "big").read_bytes() and m.text("/two") == "same"
    assert m.vfs.walker(None).resolve("/two").inode.nlink == 1
    assert m.call("renameat2", -100, "/two", -100, "/one", int(RenameFlags.EXCHANGE)) == 0
    assert m.text("/one") == "same" and m.vfs.read_file("/two") == (top / "big").read_bytes()
    assert m.call("rename", "/link", "/d/link") == 0
    assert m.call("open", "/d/link", O.RDONLY) == -errno.ENOENT  # d/d/file


def test_hard_links_stay_linked(m: Machine) -> None:
    write(m, "/one", b"SAME")
    assert m.text("/two") == "SAME" and ino(m, "/one") == ino(m, "/two")
    assert m.call("unlink", "/one") == 0
    assert m.text("/two") == "SAME" and m.vfs.walker(None).resolve("/two").inode.nlink == 1
    assert m.call("link", "/d/file", "/three") == 0
    write(m, "/three", b"THREE")
    assert m.text("/d/file") == "THREE"
    assert m.vfs.walker(None).resolve("/d/file").inode.nlink == 2


# -- attributes --------------------------------------------------------------------------------------------------------


def test_attributes_are_copied_up(m: Machine) -> None:
    for name in ("/d/file", "/d", "/"):
        assert m.call("chmod", name, 0o700) == m.call("chown", name, 5, 6) == 0
    assert m.call("lchown", "/link", 7, 8) == 0
    forget(m)  # whatever else is looked at: what was changed stays
    for name in ("/d/file", "/d", "/"):
        inode = m.vfs.walker(None).resolve(name).inode
        assert (inode.mode & 0o777, inode.uid, inode.gid) == (0o700, 5, 6)
    assert m.vfs.walker(None).resolve("/link", follow=False).inode.uid == 7


def test_objects_that_nobody_uses_are_forgotten(top: Path) -> None:
    m = Machine(root=str(top))
    first = m.vfs.walker(None).resolve("/d/sub/inner").inode
    assert m.vfs.walker(None).resolve("/d/sub/inner").inode is first
    number = first.ino
    del first
    assert number in sb_of(m)._known
    forget(m)
    assert number not in sb_of(m)._known
    assert m.text("/d/sub/inner") == "inner"


def test_users_rights_are_those_of_the_modes(m: Machine, top: Path) -> None:
    owner = (top / "d/private").stat().st_uid
    other, same = m.new_task(uid=owner + 1), m.new_task(uid=owner)
    assert m.call("open", "/d/private", O.RDONLY, task=other) == -errno.EACCES
    assert m.call("open", "/d/private", O.RDWR, task=same) >= 0
    assert m.call("open", "/d/x", O.WRONLY | O.CREAT, task=other) == -errno.EACCES


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read a file")
def test_what_we_may_not_read_the_machine_may_not(m: Machine, top: Path) -> None:
    """Not even its root, who may change attributes, remove the file, and write a new one."""
    assert m.call("chmod", "/big", 0o600) == 0
    os.seteuid(65534)
    try:
        assert m.call("open", "/d/private", O.RDONLY) == m.call("open", "/d/private", O.RDWR) == -errno.EACCES
        assert m.call("chmod", "/d/private", 0o644) == 0
        assert m.call("open", "/d/private", O.RDONLY) == -errno.EACCES
        assert m.call("truncate", "/d/private", 3) == 0  # zeros would be a lie
        assert m.call("open", "/d/private", O.RDONLY) == -errno.EACCES
        write(m, "/d/private", b"mine", O.WRONLY | O.TRUNC)
        assert m.text("/d/private") == "mine" and m.call("unlink", "/d/private") == 0
    finally:
        os.seteuid(0)


def test_a_fifo_of_the_host_is_one_of_the_machine(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    m = Machine(root=str(tmp_path))
    reader = m.call("open", "/fifo", O.RDONLY | O.NONBLOCK)
    writer = m.call("open", "/fifo", O.WRONLY | O.NONBLOCK)
    assert m.write(writer, b"through") == 7 and m.read(reader) == b"through"


# -- the host changes meanwhile ----------------------------------------------------------------------------------------


def test_a_file_is_as_the_host_has_it_when_it_is_opened(tmp_path: Path) -> None:
    """As NFS has it (close-to-open); what is already changed here stays."""
    root = tmp_path / "live"
    root.mkdir()
    (root / "f").write_bytes(b"first")
    m = Machine(root=str(root))
    assert m.text("/f") == "first"
    (root / "f").write_bytes(b"second, longer")
    assert m.text("/f") == "second, longer"
    (root / "new").write_bytes(b"replaced")
    os.rename(root / "new", root / "f")
    assert m.text("/f") == "replaced"
    write(m, "/f", b"MINE")
    (root / "f").write_bytes(b"too late")
    fd = m.call("open", "/f", O.RDONLY)
    assert m.read(fd, 4) == b"MINE"


def test_a_file_that_changes_while_it_is_read_is_stale(tmp_path: Path) -> None:
    root = tmp_path / "live"
    root.mkdir()
    (root / "f").write_bytes(bytes(1 << 20))
    m = Machine(root=str(root))
    fd = m.call("open", "/f", O.RDONLY)
    assert m.read(fd, 10) == bytes(10)
    (root / "f").write_bytes(b"short")
    address = m.task.mm.place(bytes(8))
    assert m.call("pread64", fd, address, 8, 1 << 19) == -errno.ESTALE
    assert m.logged == [f"{root}/f: was changed on the host while it was read here"]


def test_inode_numbers_are_unique_and_stay(m: Machine, top: Path) -> None:
    """Also those of several file systems, and of those that use all 64 bits."""
    lower, status = sb_of(m).lower, (top / "one").stat()
    found = []
    for dev, number in ((status.st_dev, 7), (99, 7), (99, 7 << 50), (status.st_dev, 7 << 50), (99, (7 << 50) + 1)):
        changed = list(status)
        changed[1], changed[2] = number, dev
        found.append(lower.ino_of(os.stat_result(changed)))
    assert len(set(found)) == 5 and found[0] == 7
    again = list(status)
    again[1], again[2] = 7 << 50, 99
    assert lower.ino_of(os.stat_result(again)) == found[2]
    assert m.call("open", "/made", O.WRONLY | O.CREAT, 0o600) >= 0
    assert ino(m, "/made") not in found


def test_a_place_with_odd_characters(tmp_path: Path) -> None:
    odd = tmp_path / "a b,c\\d"
    odd.mkdir()
    m = Machine(root=str(odd))
    assert f"lowerdir={tmp_path}/a\\040b\\054c\\134d,upperdir" in m.vfs.mounts()


def test_extended_attributes_are_kept_in_the_upper_layer(m: Machine) -> None:
    buffer = m.task.mm.place(bytes(64))
    for name in ("/d/file", "/d", "/link"):
        assert m.call("lsetxattr", name, "trusted.a", b"value", 5, 0) == 0
        assert m.call("lgetxattr", name, "trusted.a", buffer, 64) == 5
    assert m.call("lsetxattr", "/d/file", "user.a", b"value", 5, 0) == 0
    assert m.call("rename", "/d/file", "/d/new") == 0
    assert m.call("listxattr", "/d/new", buffer, 64) == len(b"user.a\0trusted.a\0")
    assert m.call("removexattr", "/d/new", "user.a") == 0
    assert m.call("unlink", "/d/new") == 0
    assert m.call("getxattr", "/link", "trusted.a", buffer, 64) == -errno.ENOENT


def test_attributes_of_users_take_the_space_of_inodes(machine: Machine) -> None:
    machine.call("mkdir", "/small", 0o755)
    assert machine.call("mount", "x", "/small", "tmpfs", 0, "nr_inodes=3") == 0
    assert machine.call("mknod", "/small/f", 0o100644, 0) == 0
    value = machine.task.mm.place(bytes(1000))
    assert machine.call("setxattr", "/small/f", "user.a", value, 1000, 0) == -errno.ENOSPC
    assert machine.call("setxattr", "/small/f", "user.a", value, 900, 0) == 0
    assert machine.call("mknod", "/small/g", 0o100644, 0) == -errno.ENOSPC
    assert machine.call("setxattr", "/small/f", "trusted.a", value, 1000, 0) == 0
    assert machine.call("removexattr", "/small/f", "user.a") == 0
    assert machine.call("mknod", "/small/g", 0o100644, 0) == 0


def test_a_link_takes_what_it_takes_on_the_host(top: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "long").symlink_to("x" * 100)  # does not fit into an inode of ext4: it takes a block
    machine = Machine(root=str(other))
    link = machine.vfs.walker(None).resolve("/long", follow=False).inode
    assert link.getattr().blocks == (other / "long").lstat().st_blocks
    assert machine.call("lchown", "/long", 5, 5) == 0
    assert link.getattr().blocks == 0
