"""What lies outside of a host directory that is a root cannot be reached, whatever the directory holds and whoever
changes it meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu.fs.hosttree import HostTree
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import Machine, names

SECRET = b"outside"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """``top``, which is to be the root, beside ``secret`` and ``other/secret``."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/secret").write_bytes(SECRET)
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_bytes(b"inside")
    return top


@pytest.fixture(params=[True, False], ids=["openat2", "steps"])
def tree(world: Path, request: pytest.FixtureRequest) -> Iterator[HostTree]:
    made = HostTree(str(world), beneath=request.param)
    yield made
    made.close()


def code_of(action: Callable[[list[bytes]], object], name: str) -> int:
    """The errno with which it fails; 0 if it does not."""
    try:
        action([part.encode() for part in name.split("/")])
    except LinuxError as error:
        return error.errno
    return 0


# -- the tree itself ---------------------------------------------------------------------------------------------------


def test_names_lead_only_downwards(tree: HostTree) -> None:
    for name in (
        [b".."],
        [b"a", b"..", b"..", b"secret"],
        [b"a/../../secret"],
        [b"."],
        [b""],
        [b"/etc/passwd"],
        [b"a\0"],
    ):
        with pytest.raises(ValueError, match="is not the name of an entry"):
            tree.look(name)


def test_no_link_of_the_host_is_followed(world: Path, tree: HostTree) -> None:
    (world / "up").symlink_to("..")
    (world / "far").symlink_to(world.parent)
    (world / "leaf").symlink_to("../secret")
    for name in ("up/secret", "far/secret", "up/top/a/b/file"):
        assert code_of(tree.look, name) in (errno.ELOOP, errno.ENOTDIR)
        assert code_of(tree.open_regular, name) in (errno.ELOOP, errno.ENOTDIR)
    for name in ("up", "far"):
        assert code_of(tree.entries, name) in (errno.ELOOP, errno.ENOTDIR)
    found = tree.look([b"leaf"])
    assert stat.S_ISLNK(found.status.st_mode) and found.target == b"../secret"
    assert code_of(tree.open_regular, "leaf") == errno.ESTALE


def test_fifos_devices_and_sockets_are_not_opened(world: Path, tree: HostTree, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(world / "fifo")
    monkeypatch.chdir(world)  # the path may be too long for sun_path
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("fifo", "socket"):
            assert code_of(tree.open_regular, name) == errno.ESTALE
            assert not stat.S_ISREG(tree.look([name.encode()]).status.st_mode)
    if os.geteuid() == 0:
        try:
            os.mknod(world / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("this host lets nobody make a device")
        assert code_of(tree.open_regular, "null") == errno.ESTALE


def test_opening_a_fifo_is_not_even_noticed_by_its_writers(world: Path) -> None:
    os.mkfifo(world / "fifo")
    m = Machine(root=str(world))
    assert m.call("open", "/fifo", O.RDONLY | O.NONBLOCK) >= 0  # a pipe of the machine's own
    with pytest.raises(OSError, match="No such device or address") as refused:
        os.open(world / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    assert refused.value.errno == errno.ENXIO  # nobody reads the host's


def test_what_the_hosts_kernel_shows_is_not_seen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="belongs to a file system of the host's kernel"):
        HostTree("/proc")
    slash = HostTree("/")
    assert slash.entries([b"proc"]) == [] and slash.look([b"proc"]).closed
    for name in ("proc/version", "proc/self"):
        assert code_of(slash.open_regular, name) in (errno.ESTALE, errno.ENOENT, errno.ENOTDIR)
    slash.close()
    m = Machine(root="/")
    assert m.call("umount2", "/proc", 2) == 0  # root of the machine may
    assert names(m, "/proc") == [".", ".."]
    assert m.call("open", "/proc/self/environ", O.RDONLY) == m.call("open", "/proc/version", O.RDONLY) == -errno.ENOENT


def test_long_paths_are_walked_in_pieces(tree: HostTree, world: Path) -> None:
    deep, at = [b"n" * 200] * 30, os.open(world, os.O_PATH)  # longer than PATH_MAX
    for name in deep:
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open(b"end", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=at))
    os.close(at)
    assert [entry.name for entry in tree.entries(deep)] == [b"end"]
    assert stat.S_ISREG(tree.look([*deep, b"end"]).status.st_mode)


def test_names_that_are_not_utf8(world: Path) -> None:
    raw = os.fsencode(world) + b"/\xff\xfe"
    Path(os.fsdecode(raw)).write_bytes(b"odd")
    m = Machine(root=str(world))
    fd = m.call("open", b"/\xff\xfe\0", O.RDONLY)
    assert fd >= 0 and m.read(fd) == b"odd"


# -- through the machine -----------------------------------------------------------------------------------------------


def test_dots_and_links_stay_inside(world: Path) -> None:
    """A link is followed by the machine, within its root: ``..`` of the root is the root."""
    (world / "secret").write_bytes(b"inside")
    (world / "abs").symlink_to("/secret")
    (world / "rel").symlink_to("../../../../secret")
    (world / "dir").symlink_to("../..")
    (world / "a/b/up").symlink_to("../../../secret")
    (world / "hostabs").symlink_to(world.parent / "secret")
    m = Machine(root=str(world))
    for name in (
        "/abs",
        "/rel",
        "/dir/secret",
        "/a/b/up",
        "/../../secret",
        "/a/../../../secret",
        "/dir/dir/dir/secret",
    ):
        assert m.text(name) == "inside"
    assert m.call("open", "/hostabs", O.RDONLY) == -errno.ENOENT  # the machine has no such path
    m.call("chdir", "/a/b")
    fd = m.call("open", "../../../../../secret", O.RDONLY)
    assert m.read(fd) == b"inside"
    at = m.call("open", "/a", O.PATH | O.DIRECTORY)
    fd = m.call("openat", at, "../../secret", O.RDONLY)
    assert m.read(fd) == b"inside"


def test_a_chroot_inside_does_not_lead_out(world: Path) -> None:
    m = Machine(root=str(world))
    top = m.call("open", "/", O.DIRECTORY)
    assert m.call("chroot", "/a") == 0
    assert m.call("fchdir", top) == 0
    for _ in range(8):
        assert m.call("chdir", "..") == 0
    assert m.call("open", "secret", O.RDONLY) == -errno.ENOENT


def test_a_hard_link_shows_a_file_and_changes_nothing_of_it(world: Path) -> None:
    os.link(world.parent / "secret", world / "hard")
    m = Machine(root=str(world))
    fd = m.call("open", "/hard", O.RDWR)
    assert m.read(fd) == SECRET  # whoever made the link shows it
    assert m.call("pwrite64", fd, b"X" * 7, 7, 0) == 7 and m.call("fchmod", fd, 0o777) == 0
    assert m.text("/hard") == "X" * 7
    assert (world.parent / "secret").read_bytes() == SECRET
    assert (world.parent / "secret").stat().st_mode & 0o777 != 0o777


_RENAMER = """
import os, sys
top = sys.argv[1]
os.chdir(top)
print("ready", flush=True)
while True:
    os.rename("a", "was"); os.symlink("../other", "a")      # a directory becomes a link out
    os.unlink("a"); os.rename("was", "a")
    os.rename("a/b", "../other/moved"); os.rename("../other/moved", "a/b")   # it is moved out and back
    os.rename("a/b/file", "a/b/f"); os.symlink("../../../secret", "a/b/file")
    os.unlink("a/b/file"); os.mkfifo("a/b/file"); os.unlink("a/b/file"); os.rename("a/b/f", "a/b/file")
"""


@pytest.mark.parametrize("beneath", [True, False])
def test_renames_while_names_are_resolved(world: Path, beneath: bool) -> None:
    """Whatever is found is what was inside, or an error; the secret never, and never does an open wait for a FIFO."""
    tree = HostTree(str(world), beneath=beneath)
    (world.parent / "other/b").mkdir()
    (world.parent / "other/b/file").write_bytes(SECRET)
    found: set[bytes | int] = set()
    with subprocess.Popen([sys.executable, "-c", _RENAMER, str(world)], stdout=subprocess.PIPE) as renamer:
        try:
            assert renamer.stdout is not None and renamer.stdout.readline() == b"ready\n"
            for number in range(2_000_000):
                found.add(_look_and_read(tree))
                if number > 20_000 and len(found) > 1 and b"inside" in found:
                    break
        finally:
            renamer.kill()
    tree.close()
    assert b"inside" in found and len(found) > 1  # both happened at once
    assert {item for item in found if isinstance(item, bytes)} == {b"inside"}
    allowed = {errno.ENOENT, errno.ESTALE, errno.ELOOP, errno.ENOTDIR, errno.EAGAIN, errno.EXDEV}
    assert {item for item in found if isinstance(item, int)} <= allowed


def _look_and_read(tree: HostTree) -> bytes | int:
    try:
        fd = tree.open_regular([b"a", b"b", b"file"])
    except LinuxError as error:
        return error.errno
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_reading_leaves_no_trace(world: Path) -> None:
    """Not even the time of access changes, where the file is ours."""
    file = world / "a/b/file"
    os.utime(file, ns=(1_000_000_000, 2_000_000_000))
    os.utime(world / "a", ns=(1_000_000_000, 2_000_000_000))
    m = Machine(root=str(world))
    assert m.text("/a/b/file") == "inside"
    assert file.stat().st_atime_ns == 1_000_000_000
