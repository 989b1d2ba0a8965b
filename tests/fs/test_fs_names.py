"""Path lookup, and the calls that make, remove, link and rename names."""

from __future__ import annotations

import errno

import pytest

from emu.fs.dentry import d_path
from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import Machine, fails


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.task.fs.umask = 0
    return machine


def touch(machine: Machine, name: str, data: bytes = b"", mode: int = 0o644) -> None:
    machine.vfs.write_file(name, data, mode)


def where(machine: Machine, name: str) -> str:
    return d_path(machine.vfs.walker(machine.task).resolve(name))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/", "/"),
        ("//tmp///d/", "/tmp/d"),
        ("/tmp/d/../d/./f", "/tmp/d/f"),
        ("/..", "/"),
        ("/proc/..", "/"),
        ("/tmp/link/f", "/tmp/d/f"),
        ("/tmp/rel", "/tmp/d/f"),
        ("/sys/fs/..", "/sys"),
        ("/sys/../tmp", "/tmp"),
    ],
)
def test_lookup_finds(machine: Machine, name: str, place: str) -> None:
    machine.vfs.mkdir("/tmp/d")
    touch(machine, "/tmp/d/f")
    machine.vfs.symlink("/tmp/d", "/tmp/link")
    machine.vfs.symlink("d/f", "/tmp/rel")
    assert where(machine, name) == place


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("/tmp/none", errno.ENOENT),
        ("/none/x", errno.ENOENT),
        ("/tmp/f/x", errno.ENOTDIR),
        ("/tmp/f/", errno.ENOTDIR),
        ("/tmp/f/.", errno.ENOTDIR),
        ("/tmp/f/..", errno.ENOTDIR),
        ("/tmp/loop", errno.ELOOP),
        ("/tmp/dangling", errno.ENOENT),
        ("/tmp/" + "n" * 256, errno.ENAMETOOLONG),
        ("/tmp/" + "ü" * 128, errno.ENAMETOOLONG),
        ("/" + "x/" * 2100, errno.ENAMETOOLONG),
        ("", errno.ENOENT),
    ],
)
def test_lookup_fails(machine: Machine, name: str, error: int) -> None:
    touch(machine, "/tmp/f")
    machine.vfs.symlink("loop", "/tmp/loop")
    machine.vfs.symlink("/nowhere", "/tmp/dangling")
    assert machine.call("stat", name, bytes(144)) == -error


def test_symlink_chain_of_40_works_and_41_does_not(machine: Machine) -> None:
    touch(machine, "/tmp/l0")
    for number in range(1, 42):
        machine.vfs.symlink(f"l{number - 1}", f"/tmp/l{number}")
    assert machine.call("access", "/tmp/l40", 0) == 0
    assert machine.call("access", "/tmp/l41", 0) == -errno.ELOOP


def test_undecodable_names_come_back(machine: Machine) -> None:
    raw = b"/tmp/\xff\xfe"
    fd = machine.call("open", raw + b"\0", O.CREAT | O.WRONLY, 0o600)
    assert fd >= 0
    machine.call("close", fd)
    directory = machine.call("open", "/tmp", O.DIRECTORY)
    buffer = machine.task.mm.place(bytes(1000))
    length = machine.call("getdents64", directory, buffer, 1000)
    assert b"\xff\xfe" in machine.task.mm.read(buffer, length)


def test_long_name_is_fine(machine: Machine) -> None:
    assert machine.call("mkdir", "/tmp/" + "n" * 255, 0o755) == 0


def test_permissions_by_class(machine: Machine) -> None:
    machine.vfs.mkdir("/tmp/secret", 0o700)
    touch(machine, "/tmp/secret/f")
    touch(machine, "/tmp/owner", mode=0o600)
    touch(machine, "/tmp/read", mode=0o644)
    user = machine.new_task(uid=1000)
    assert machine.call("access", "/tmp/secret/f", 0, task=user) == -errno.EACCES
    assert machine.call("open", "/tmp/owner", O.RDONLY, task=user) == -errno.EACCES
    assert machine.call("open", "/tmp/read", O.RDONLY, task=user) >= 0
    assert machine.call("open", "/tmp/read", O.RDWR, task=user) == -errno.EACCES
    assert machine.call("open", "/etc/new", O.CREAT | O.RDWR, 0o644, task=user) == -errno.EACCES
    machine.call("chown", "/tmp/owner", 5, 1000)
    machine.call("chmod", "/tmp/owner", 0o640)
    assert machine.call("open", "/tmp/owner", O.RDONLY, task=user) >= 0
    assert machine.call("access", "/tmp/read", 1) == -errno.EACCES, "root executes only what somebody may execute"


def test_access_asks_for_the_real_user(machine: Machine) -> None:
    touch(machine, "/tmp/f", mode=0o600)
    machine.task.credentials.uid = 1000
    assert machine.call("access", "/tmp/f", 4) == -errno.EACCES
    assert machine.call("faccessat2", -100, "/tmp/f", 4, 0x200) == 0


def test_sticky_directory(machine: Machine) -> None:
    touch(machine, "/tmp/roots", mode=0o666)
    user = machine.new_task(uid=1000)
    assert machine.call("unlink", "/tmp/roots", task=user) == -errno.EPERM
    assert machine.call("rename", "/tmp/roots", "/tmp/mine", task=user) == -errno.EPERM
    assert machine.call("open", "/tmp/own", O.CREAT | O.WRONLY, 0o600, task=user) >= 0
    assert machine.call("unlink", "/tmp/own", task=user) == 0


def test_mkdir_rmdir(machine: Machine) -> None:
    machine.task.fs.umask = 0o022
    assert machine.call("mkdir", "/tmp/d", 0o777) == 0
    assert machine.vfs.walker(None).resolve("/tmp/d").inode.mode == 0o40755
    assert machine.call("mkdir", "/tmp/d/", 0o777) == -errno.EEXIST
    assert machine.call("mkdir", "/tmp/e/", 0o777) == 0
    assert machine.call("mkdir", "/", 0o777) == -errno.EEXIST
    touch(machine, "/tmp/d/f")
    assert machine.call("rmdir", "/tmp/d") == -errno.ENOTEMPTY
    assert machine.call("rmdir", "/tmp/d/f") == -errno.ENOTDIR
    assert machine.call("rmdir", "/tmp/d/.") == -errno.EINVAL
    assert machine.call("rmdir", "/tmp/d/..") == -errno.ENOTEMPTY
    assert machine.call("rmdir", "/proc") == -errno.EBUSY
    assert machine.call("unlink", "/tmp/d") == -errno.EISDIR
    assert machine.call("unlinkat", -100, "/tmp/e", 0x200) == 0


def test_nlink_of_directories(machine: Machine) -> None:
    inode = machine.vfs.walker(None).resolve("/tmp").inode
    before = inode.nlink
    machine.call("mkdir", "/tmp/d", 0o755)
    assert inode.nlink == before + 1
    machine.call("rename", "/tmp/d", "/d")
    assert inode.nlink == before
    machine.call("rmdir", "/d")
    assert inode.nlink == before


def test_removed_working_directory(machine: Machine) -> None:
    machine.call("mkdir", "/tmp/d", 0o755)
    machine.call("chdir", "/tmp/d")
    assert machine.call("rmdir", "/tmp/d") == 0
    assert machine.call("getcwd", bytes(100), 100) == -errno.ENOENT
    assert machine.call("open", "x", O.CREAT | O.WRONLY, 0o600) == -errno.ENOENT
    assert machine.call("chdir", "..") == 0
    assert where(machine, ".") == "/tmp"


def test_getcwd(machine: Machine) -> None:
    buffer = machine.task.mm.place(bytes(64))
    assert machine.call("getcwd", buffer, 64) == 2
    machine.call("chdir", "/sys/fs")
    assert machine.call("getcwd", buffer, 8) == 8
    assert machine.task.mm.read(buffer, 8) == b"/sys/fs\0"
    assert machine.call("getcwd", buffer, 7) == -errno.ERANGE


def test_chroot_confines(machine: Machine) -> None:
    machine.vfs.mkdir("/tmp/jail/in")
    assert machine.call("chroot", "/tmp/jail") == 0
    machine.call("chdir", "/")
    assert machine.call("access", "/in", 0) == 0
    assert machine.call("access", "/../../proc", 0) == -errno.ENOENT
    assert machine.call("access", "../proc", 0) == -errno.ENOENT


def test_links(machine: Machine) -> None:
    touch(machine, "/tmp/a", b"data")
    assert machine.call("link", "/tmp/a", "/tmp/b") == 0
    assert machine.vfs.walker(None).resolve("/tmp/b").inode.nlink == 2
    assert machine.call("unlink", "/tmp/a") == 0
    assert machine.vfs.read_file("/tmp/b") == b"data"
    assert machine.call("link", "/tmp/b", "/tmp/b") == -errno.EEXIST
    assert machine.call("link", "/tmp", "/x") == -errno.EPERM
    assert machine.call("link", "/tmp/b", "/dev/shm/b") == -errno.EXDEV
    assert machine.call("link", "/tmp/b", "/tmp/c/") == -errno.ENOENT


def test_link_of_a_symlink_and_its_target(machine: Machine) -> None:
    touch(machine, "/tmp/a")
    machine.vfs.symlink("a", "/tmp/s")
    assert machine.call("linkat", -100, "/tmp/s", -100, "/tmp/s2", 0) == 0
    assert machine.vfs.walker(None).resolve("/tmp/s2", follow=False).inode.is_symlink
    assert machine.call("linkat", -100, "/tmp/s", -100, "/tmp/a2", 0x400) == 0
    assert machine.vfs.walker(None).resolve("/tmp/a").inode.nlink == 2


def test_readlink(machine: Machine) -> None:
    machine.vfs.symlink("some/where", "/tmp/s")
    buffer = machine.task.mm.place(bytes(32))
    assert machine.call("readlink", "/tmp/s", buffer, 32) == 10
    assert machine.task.mm.read(buffer, 10) == b"some/where"
    assert machine.call("readlink", "/tmp/s", buffer, 4) == 4
    assert machine.call("readlink", "/tmp/s", buffer, 0) == -errno.EINVAL
    assert machine.call("readlink", "/tmp", buffer, 4) == -errno.EINVAL
    fd = machine.call("open", "/tmp/s", O.PATH | O.NOFOLLOW)
    assert machine.call("readlinkat", fd, "", buffer, 32) == 10


def test_dirfd(machine: Machine) -> None:
    machine.vfs.mkdir("/tmp/d")
    fd = machine.call("open", "/tmp/d", O.DIRECTORY)
    assert machine.call("mkdirat", fd, "e", 0o755) == 0
    inner = machine.call("openat", fd, "f", O.CREAT | O.RDWR, 0o600)
    assert inner > fd
    assert machine.call("openat", inner, "g", O.CREAT | O.RDWR, 0o600) == -errno.ENOTDIR
    assert machine.call("openat", 77, "g", O.RDONLY) == -errno.EBADF
    assert machine.call("openat", 77, "/tmp/d/f", O.RDONLY) > 0, "an absolute name ignores dirfd"
    assert where(machine, "/tmp/d/e") == "/tmp/d/e"


class TestRename:
    @pytest.fixture(autouse=True)
    def files(self, machine: Machine) -> None:
        touch(machine, "/tmp/a", b"A")
        touch(machine, "/tmp/b", b"B")
        machine.vfs.mkdir("/tmp/d/inner")
        machine.vfs.mkdir("/tmp/e")

    @pytest.mark.parametrize(
        ("old", "new", "flags", "error"),
        [
            ("/tmp/a", "/tmp/c", 0, 0),
            ("/tmp/a", "/tmp/b", 0, 0),
            ("/tmp/a", "/tmp/a", 0, 0),
            ("/tmp/a", "/tmp/c", 1, 0),
            ("/tmp/a", "/tmp/b", 1, errno.EEXIST),
            ("/tmp/a", "/tmp/d", 2, 0),
            ("/tmp/a", "/tmp/none", 2, errno.ENOENT),
            ("/tmp/a", "/tmp/b", 3, errno.EINVAL),
            ("/tmp/a", "/tmp/c", 4, 0),
            ("/tmp/a", "/tmp/c", 8, errno.EINVAL),
            ("/tmp/none", "/tmp/c", 0, errno.ENOENT),
            ("/tmp/a", "/tmp/d", 0, errno.EISDIR),
            ("/tmp/d", "/tmp/a", 0, errno.ENOTDIR),
            ("/tmp/d", "/tmp/e", 0, 0),
            ("/tmp/e", "/tmp/d", 0, errno.ENOTEMPTY),
            ("/tmp/d", "/tmp/d/inner/x", 0, errno.EINVAL),
            ("/tmp/d/inner", "/tmp/d", 0, errno.ENOTEMPTY),
            ("/tmp/d", "/tmp/d/inner", 2, errno.EINVAL),
            ("/tmp/a", "/tmp/c/", 0, errno.ENOTDIR),
            ("/tmp/d", "/tmp/c/", 0, 0),
            ("/tmp/a", "/dev/shm/a", 0, errno.EXDEV),
            ("/tmp/.", "/tmp/c", 0, errno.EBUSY),
            ("/tmp/a", "/tmp/..", 0, errno.EBUSY),
            ("/", "/tmp/c", 0, errno.EBUSY),
            ("/sys", "/tmp/c", 0, errno.EBUSY),
        ],
    )
    def test_results(self, machine: Machine, old: str, new: str, flags: int, error: int) -> None:
        assert machine.call("renameat2", -100, old, -100, new, flags) == -error

    def test_contents_move(self, machine: Machine) -> None:
        machine.call("rename", "/tmp/a", "/tmp/b")
        assert machine.vfs.read_file("/tmp/b") == b"A"
        assert fails(errno.ENOENT, lambda: machine.vfs.read_file("/tmp/a"))

    def test_exchange_swaps(self, machine: Machine) -> None:
        held = machine.vfs.walker(None).resolve("/tmp/d")
        assert machine.call("renameat2", -100, "/tmp/a", -100, "/tmp/d", 2) == 0
        assert machine.vfs.read_file("/tmp/d") == b"A"
        assert d_path(held) == "/tmp/a"
        assert machine.vfs.walker(None).resolve("/tmp/a/inner").inode.is_directory

    def test_open_files_and_cwd_follow(self, machine: Machine) -> None:
        machine.call("chdir", "/tmp/d/inner")
        assert machine.call("rename", "/tmp/d", "/tmp/e") == 0
        assert where(machine, ".") == "/tmp/e/inner"

    def test_replaced_file_stays_readable_for_its_holder(self, machine: Machine) -> None:
        fd = machine.call("open", "/tmp/b", O.RDONLY)
        machine.call("rename", "/tmp/a", "/tmp/b")
        assert machine.read(fd) == b"B"
        buffer = machine.task.mm.place(bytes(64))
        length = machine.call("readlink", f"/proc/self/fd/{fd}", buffer, 64)
        assert machine.task.mm.read(buffer, length) == b"/tmp/b (deleted)"


def test_mknod(machine: Machine) -> None:
    assert machine.call("mknod", "/tmp/fifo", 0o10644, 0) == 0
    assert machine.call("mknod", "/tmp/plain", 0o644, 0) == 0
    assert machine.call("mknod", "/tmp/null", 0o20666, 0x103) == 0
    assert machine.call("mknod", "/tmp/dir", 0o40755, 0) == -errno.EPERM
    fd = machine.call("open", "/tmp/null", O.RDWR)
    assert machine.write(fd, b"gone") == 4
    assert machine.read(fd) == b""
    assert machine.call("mknod", "/tmp/dev", 0o20666, 0x999) == 0
    assert machine.call("open", "/tmp/dev", O.RDWR) == -errno.ENXIO
    user = machine.new_task(uid=1000)
    assert machine.call("mknod", "/tmp/dev2", 0o20666, 0x103, task=user) == -errno.EPERM


def test_umask(machine: Machine) -> None:
    assert machine.call("umask", 0o027) == 0
    machine.call("open", "/tmp/f", O.CREAT | O.WRONLY, 0o666)
    assert machine.vfs.walker(None).resolve("/tmp/f").inode.mode & 0o777 == 0o640
    assert machine.call("umask", 0) == 0o027


def test_setgid_directory_gives_its_group(machine: Machine) -> None:
    machine.call("mkdir", "/tmp/g", 0o755)
    machine.call("chown", "/tmp/g", -1, 77)
    machine.call("chmod", "/tmp/g", 0o2755)
    machine.call("mkdir", "/tmp/g/sub", 0o755)
    inode = machine.vfs.walker(None).resolve("/tmp/g/sub").inode
    assert (inode.gid, inode.mode & 0o7777) == (77, 0o2755)
