"""Devices, /proc and /sys."""

from __future__ import annotations

import errno
from types import SimpleNamespace

from emu.fs.dentry import d_path
from emu.linux.fileflags import OpenFlags as O
from emu.linux.version import RELEASE
from tests.fs.machine import Machine, fails, names


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


def test_buffers_for_files_of_proc_are_of_1024_bytes(machine: Machine) -> None:
    sizes = [machine.vfs.walker(None).resolve(path).inode.getattr().blksize for path in ("/proc/stat", "/sys", "/dev")]
    assert sizes == [1024, 4096, 4096]


def test_zero_mapping() -> None:
    from emu.linux.mman import Prot
    from emu.mm.commit import Commit
    from emu.mm.flags import VmFlags
    from emu.mm.vma import Vma

    machine = Machine()
    file = machine.vfs.open("/dev/zero", O.RDWR)
    shared = Vma(0x100000, 0x104000, Prot.READ, VmFlags.SHARED, file=file, pgoff=7)
    mm = SimpleNamespace(
        frames=machine.frames,
        context=SimpleNamespace(
            commit=Commit(machine.frames.total), shmem_inodes=0, thp=machine.thp, swap=machine.mm_context.swap
        ),
    )
    file.mmap(mm, shared)  # type: ignore[arg-type]
    assert shared.file is None and shared.page_cache is not None and shared.page_cache.size == 0x4000
    private = Vma(0x100000, 0x104000, Prot.READ, file=file)
    file.mmap(mm, private)  # type: ignore[arg-type]
    assert private.page_cache is None


def test_proc_of_a_process(machine: Machine) -> None:
    assert machine.text("/proc/100/comm") == "test\n"
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
    assert d_path(held) == "/proc/100"


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
    assert names(machine, "/sys/fs") == [".", "..", "module"]
