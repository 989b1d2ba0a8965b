"""Mounts, their options, and what a module's file system gets by default."""

from __future__ import annotations

import errno
import stat

import pytest

from emu.fs.file import File
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import SimpleDirectory
from emu.fs.resources import Resources
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock, parse_options, parse_size
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import Machine, fails


class PlainFs(FileSystemType):
    """A module's file system that leaves nearly everything to the defaults."""

    name = "plainfs"

    def __init__(self) -> None:
        self.released: list[SuperBlock] = []

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        parse_options(options, frozenset({"level"}))
        return PlainSuper(resources, self)


class PlainSuper(SuperBlock):
    magic = 0x1234

    def __init__(self, resources: Resources, fstype: PlainFs) -> None:
        super().__init__(resources, fstype)
        self.root = PlainDirectory(self, 0o777)

    def statfs(self) -> StatFs:
        return StatFs(self.magic)

    def show_options(self) -> str:
        return ",level=pmd"

    def put_super(self) -> None:
        self.fstype.released.append(self)  # type: ignore[attr-defined]


class PlainDirectory(SimpleDirectory):
    def create(self, name: str, owner: NewOwner) -> Inode:
        inode = Inode(self.sb, stat.S_IFREG | owner.mode, owner.uid, owner.gid)
        self.add(name, inode)
        return inode

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        inode = PlainDirectory(self.sb, *owner)
        self.add(name, inode)
        return inode


@pytest.fixture
def plain(machine: Machine) -> PlainFs:
    fstype = PlainFs()
    machine.vfs.register_filesystem(fstype)
    machine.vfs.sysfs.create_mount_point("fs/plain")
    return fstype


def test_module_mount(machine: Machine, plain: PlainFs) -> None:
    assert "nodev\tplainfs\n" in machine.text("/proc/filesystems")
    where = machine.vfs.walker(None).resolve("/sys/fs/plain")
    assert where.inode.mode == 0o40555
    assert machine.call("mount", "plainfs", "/sys/fs/plain", "plainfs", 0, "size=1G") == -errno.EINVAL
    assert machine.call("mount", "none", "/sys/fs/plain", "nosuchfs", 0, 0) == -errno.ENODEV
    assert machine.call("mount", "none", "/etc/passwd", "plainfs", 0, 0) == -errno.ENOTDIR
    user = machine.new_task(uid=1000)
    assert machine.call("mount", "none", "/tmp", "plainfs", 0, 0, task=user) == -errno.EPERM
    assert machine.call("mount", "plainfs", "/sys/fs/plain", "plainfs", 0, 0) == 0
    assert "plainfs /sys/fs/plain plainfs rw,relatime,level=pmd 0 0\n" in machine.text("/proc/100/mounts")
    root = machine.vfs.walker(None).resolve("/sys/fs/plain").inode.getattr()
    assert (root.mode, root.nlink, root.ino, root.size) == (0o40777, 2, 1, 0)


def test_two_instances(machine: Machine, plain: PlainFs) -> None:
    machine.vfs.mount("plainfs", "/sys/fs/plain")
    machine.vfs.mount("plainfs", "/tmp")
    machine.call("open", "/tmp/x", O.CREAT, 0o600)
    assert machine.call("access", "/sys/fs/plain/x", 0) == -errno.ENOENT
    a, b = (machine.vfs.walker(None).resolve(name).inode.sb.dev for name in ("/tmp", "/sys/fs/plain"))
    assert a != b


def test_defaults_of_a_plain_file(machine: Machine, plain: PlainFs) -> None:
    machine.vfs.mount("plainfs", "/sys/fs/plain")
    fd = machine.call("open", "/sys/fs/plain/f", O.CREAT | O.RDWR, 0o666)
    assert fd == 0
    buffer = machine.task.mm.place(bytes(64))
    results = {
        "read": (0, buffer, 1), "write": (0, buffer, 1), "pread64": (0, buffer, 1, 0), "ftruncate": (0, 4096),
    }  # fmt: skip
    for call, arguments in results.items():
        assert machine.call(call, *arguments) == -errno.EINVAL, call
    assert machine.call("fallocate", 0, 0, 0, 1) == -errno.EOPNOTSUPP
    assert machine.call("ioctl", 0, 0x1234, 0) == -errno.ENOTTY
    assert machine.call("fsync", 0) == 0
    assert machine.call("open", "/sys/fs/plain/f", O.RDWR | O.DIRECT) == -errno.EINVAL
    assert machine.call("open", "/sys/fs/plain", O.TMPFILE | O.RDWR, 0o600) == -errno.EOPNOTSUPP
    assert machine.call("symlink", "x", "/sys/fs/plain/s") == -errno.EPERM
    assert machine.call("mknod", "/sys/fs/plain/p", 0o10600, 0) == -errno.EPERM
    assert machine.call("mknod", "/sys/fs/plain/r", 0o100600, 0) == 0
    assert machine.call("link", "/sys/fs/plain/f", "/sys/fs/plain/g") == 0
    assert machine.call("renameat2", -100, "/sys/fs/plain/f", -100, "/sys/fs/plain/h", 4) == -errno.EINVAL
    assert machine.call("rename", "/sys/fs/plain/f", "/tmp/f") == -errno.EXDEV
    assert machine.call("setxattr", "/sys/fs/plain/g", "user.a", buffer, 1, 0) == -errno.EOPNOTSUPP
    assert machine.call("listxattr", "/sys/fs/plain/g", buffer, 64) == 0
    assert machine.call("chmod", "/sys/fs/plain/g", 0o600) == 0
    assert machine.call("utimensat", -100, "/sys/fs/plain/g", 0, 0) == 0
    path = machine.vfs.walker(None).resolve("/sys/fs/plain/g")
    file = File(path, O.RDWR)
    assert fails(errno.ENODEV, lambda: file.mmap(None, None))  # type: ignore[arg-type]
    assert file.get_unmapped_area(None, 0, 4096, 0, 0) is None  # type: ignore[arg-type]


def test_umount(machine: Machine, plain: PlainFs) -> None:
    machine.vfs.mount("plainfs", "/tmp")
    fd = machine.call("open", "/tmp/f", O.CREAT | O.RDWR, 0o600)
    assert machine.call("umount2", "/tmp/f", 0) == -errno.EINVAL
    assert machine.call("umount2", "/tmp", 0) == -errno.EBUSY
    machine.call("close", fd)
    machine.call("chdir", "/tmp")
    assert machine.call("umount2", "/tmp", 0) == -errno.EBUSY
    machine.call("chdir", "/")
    machine.vfs.mkdir("/tmp/inner")
    machine.vfs.mount("plainfs", "/tmp/inner")
    assert machine.call("umount2", "/tmp", 0) == -errno.EBUSY
    assert machine.call("umount2", "/tmp/inner", 0) == 0
    assert not machine.vfs.walker(None).resolve("/tmp").inode.entries.keys() - {"f", "inner"}  # type: ignore[attr-defined]
    assert machine.call("umount2", "/tmp", 0) == 0
    assert len(plain.released) == 2
    assert machine.call("umount2", "/", 0) == -errno.EBUSY


def test_lazy_umount(machine: Machine, plain: PlainFs) -> None:
    machine.vfs.mount("plainfs", "/tmp")
    fd = machine.call("open", "/tmp/f", O.CREAT | O.RDWR, 0o600)
    assert machine.call("umount2", "/tmp", 2) == 0
    assert machine.call("access", "/tmp/f", 0) == -errno.ENOENT
    assert machine.call("fchmod", fd, 0o644) == 0
    assert plain.released == []
    machine.call("close", fd)
    assert len(plain.released) == 1


def test_read_only_mount(machine: Machine) -> None:
    machine.vfs.mkdir("/ro")
    machine.vfs.mount("tmpfs", "/ro", flags=0)
    machine.vfs.write_file("/ro/f", b"x")
    assert machine.call("mount", "none", "/ro", 0, 32 | 1, 0) == 0
    assert machine.call("open", "/ro/f", O.RDONLY) >= 0
    for call, arguments in {
        "open": ("/ro/f", O.RDWR), "creat": ("/ro/g", 0o600), "mkdir": ("/ro/d", 0o755), "unlink": ("/ro/f",),
        "rename": ("/ro/f", "/ro/g"), "chmod": ("/ro/f", 0), "truncate": ("/ro/f", 0), "access": ("/ro/f", 2),
        "link": ("/ro/f", "/ro/g"), "symlink": ("a", "/ro/s"), "utimensat": (-100, "/ro/f", 0, 0),
    }.items():  # fmt: skip
        assert machine.call(call, *arguments) == -errno.EROFS, call
    assert " /ro tmpfs ro,relatime" in machine.vfs.mounts()
    assert machine.call("mount", "none", "/ro/f", 0, 32, 0) == -errno.EINVAL
    assert machine.call("mount", "/tmp", "/ro", 0, 4096, 0) == 0
    assert machine.vfs.mountinfo(machine.vfs.root).count(" /tmp /ro ") == 1


def test_nodev_mount(machine: Machine) -> None:
    machine.vfs.mkdir("/nd")
    machine.vfs.mount("tmpfs", "/nd", flags=4)
    machine.call("mknod", "/nd/null", 0o20666, 0x103)
    assert machine.call("open", "/nd/null", O.RDWR) == -errno.EACCES


def test_tmpfs_umount_frees_memory(machine: Machine) -> None:
    free = machine.frames.free
    machine.vfs.mkdir("/t")
    machine.vfs.mount("tmpfs", "/t")
    machine.vfs.mkdir("/t/a/b")
    machine.vfs.write_file("/t/a/b/f", b"x" * 40000)
    assert machine.frames.free < free
    machine.vfs.umount("/t")
    assert machine.frames.free == free


@pytest.mark.parametrize(("text", "size"), [("4k", 4096), ("1G", 1 << 30), ("0x10", 16), ("7", 7), ("2T", 2 << 40)])
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "4x", "-", "1.5G"])
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(LinuxError):
        parse_size(text)


def test_registering_a_name_twice_is_our_error(machine: Machine, plain: PlainFs) -> None:
    with pytest.raises(ValueError, match="plainfs"):
        machine.vfs.register_filesystem(PlainFs())
