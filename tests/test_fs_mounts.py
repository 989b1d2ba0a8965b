"""Mounts, devices, /proc, /sys, stat layouts, directory listings, and what a module's file system gets by default."""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from emu.fs.boot import RELEASE
from emu.fs.file import File
from emu.fs.flags import OpenFlags as O
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import SimpleDirectory
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock, parse_options, parse_size
from emu.kernel.errors import LinuxError
from tests.fs_machine import PAGE, Machine, fails


@pytest.fixture
def machine() -> Machine:
    return Machine()


class PlainFs(FileSystemType):
    """A module's file system that leaves nearly everything to the defaults."""

    name = "plainfs"

    def __init__(self) -> None:
        self.released: list[SuperBlock] = []

    def mount(self, kernel, options):  # type: ignore[no-untyped-def]
        parse_options(options, frozenset({"level"}))
        return PlainSuper(kernel, self)


class PlainSuper(SuperBlock):
    magic = 0x1234

    def __init__(self, kernel, fstype):  # type: ignore[no-untyped-def]
        super().__init__(kernel, fstype)
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
    assert machine.call("mount", "/tmp", "/ro", 0, 4096, 0) == -errno.ENOSYS


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


def test_devices(machine: Machine) -> None:
    devices = ("null", "zero", "full", "random", "urandom")
    opened = {name: machine.call("open", f"/dev/{name}", O.RDWR) for name in devices}
    assert machine.read(opened["null"]) == b""
    assert machine.write(opened["null"], b"x" * 100) == 100
    assert machine.read(opened["zero"], 10) == bytes(10)
    assert machine.call("pread64", opened["zero"], machine.task.mm.place(b"xxx"), 3, 999) == 3
    assert machine.write(opened["full"], b"x") == -errno.ENOSPC
    assert machine.read(opened["full"], 3) == bytes(3)
    first = machine.read(opened["urandom"], 16)
    assert len(first) == 16 and first != machine.read(opened["random"], 16)
    other = Machine()
    fd = other.call("open", "/dev/urandom", 0)
    assert other.read(fd, 16) == first, "the same seed gives the same bytes"
    assert machine.call("lseek", opened["zero"], 100, 0) == 0
    assert machine.vfs.walker(None).resolve("/dev/null").inode.getattr().rdev == 0x103


def test_zero_mapping() -> None:
    from emu.mm.commit import Commit
    from emu.mm.vma import Prot, Vma, VmFlags

    machine = Machine()
    file = machine.vfs.open("/dev/zero", O.RDWR)
    shared = Vma(0x100000, 0x104000, Prot.READ, VmFlags.SHARED, file=file, pgoff=7)
    mm = SimpleNamespace(frames=machine.frames, context=SimpleNamespace(commit=Commit(machine.frames.total)))
    file.mmap(mm, shared)  # type: ignore[arg-type]
    assert shared.file is None and shared.page_cache is not None and shared.page_cache.size == 0x4000
    private = Vma(0x100000, 0x104000, Prot.READ, file=file)
    file.mmap(mm, private)  # type: ignore[arg-type]
    assert private.page_cache is None


def test_proc_of_a_process(machine: Machine) -> None:
    assert machine.text("/proc/100/comm") == "test\n"
    assert machine.text("/proc/100/cmdline") == "test\0-x\0"
    assert machine.text("/proc/100/task/100/comm") == "test\n"
    fd = machine.call("open", "/proc/self/comm", 0)
    assert machine.read(fd, 2) == b"te"
    machine.task.comm = "other"
    assert machine.read(fd) == b"st\n", "the text of the first read"
    machine.call("lseek", fd, 0, 0)
    assert machine.read(fd) == b"other\n"
    assert fails(errno.ENOENT, lambda: machine.text("/proc/999/comm"))
    assert fails(errno.ENOENT, lambda: machine.text("/proc/0100/comm"))
    held = machine.vfs.walker(machine.task).resolve("/proc/self")
    assert machine.vfs.path_string(held) == "/proc/100"


def test_proc_fd_and_links(machine: Machine) -> None:
    machine.task.exe = machine.vfs.walker(None).resolve("/etc/passwd")
    fd = machine.call("open", "/proc/self/exe", 0)
    assert machine.read(fd, 4) == b"root"
    buffer = machine.task.mm.place(bytes(100))
    assert machine.call("readlink", "/proc/self/exe", buffer, 100) == len("/etc/passwd")
    machine.call("pipe", bytes(8))
    length = machine.call("readlink", "/proc/self/fd/1", buffer, 100)
    assert machine.task.mm.read(buffer, length).startswith(b"pipe:[")
    assert names(machine, "/proc/self/fd") == [".", "..", "0", "1", "2", "3"]
    assert machine.call("access", "/proc/self/fd/9", 0) == -errno.ENOENT
    user = machine.new_task(uid=1000)
    assert machine.call("open", "/proc/100/fd/0", 0, task=user) == -errno.EACCES


def test_proc_lists_processes(machine: Machine) -> None:
    other = machine.new_task()
    assert {"self", "mounts", "sys", "100", "101"} <= set(names(machine, "/proc"))
    del machine.tasks[other.pid]
    assert "101" not in names(machine, "/proc")


def test_proc_texts(machine: Machine) -> None:
    assert machine.text("/proc/version").startswith(f"Linux version {RELEASE}")
    assert machine.text("/proc/cpuinfo").count("processor\t:") == 2
    assert float(machine.text("/proc/uptime").split()[0]) >= 0
    assert machine.text("/proc/sys/vm/max_map_count") == "65530\n"
    machine.vfs.procfs.add_sysctl("vm/mshare_size", lambda: b"549755813888\n")
    assert machine.text("/proc/sys/vm/mshare_size") == "549755813888\n"
    assert machine.vfs.walker(None).resolve("/proc/version").inode.size == 0


def test_sysfs(machine: Machine) -> None:
    assert machine.text("/sys/devices/system/cpu/online") == "0-1\n"
    assert machine.call("mkdir", "/sys/fs/x", 0o755) == -errno.EPERM
    assert machine.call("unlink", "/sys/devices/system/cpu/online") == -errno.EPERM
    machine.vfs.sysfs.create_mount_point("fs/module")
    machine.vfs.sysfs.remove_mount_point("fs/module")
    assert names(machine, "/sys/fs") == [".", ".."]


def names(machine: Machine, name: str, size: int = 4096) -> list[str]:
    """A listing by getdents64."""
    return [entry[1] for entry in listing(machine, name, size)]


def listing(machine: Machine, name: str, size: int = 4096) -> list[tuple[int, str, int]]:
    fd = machine.call("open", name, O.DIRECTORY)
    result = []
    while True:
        address = machine.task.mm.place(bytes(size))
        length = machine.call("getdents64", fd, address, size)
        if length <= 0:
            assert length == 0
            break
        result += list(dirents(machine.task.mm.read(address, length)))
    machine.call("close", fd)
    return result


def dirents(raw: bytes) -> Iterator[tuple[int, str, int]]:
    while raw:
        ino, _, length, kind = struct.unpack_from("<QqHB", raw)
        assert length % 8 == 0
        yield ino, raw[19:length].split(b"\0")[0].decode(), kind
        raw = raw[length:]


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
