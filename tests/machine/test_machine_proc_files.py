"""Files of /proc/PID that tools read: stat, environ, auxv, mountinfo; and /proc/loadavg."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import guests
from tests.booted import Booted
from tests.machine.native_host import skip_before

MakeMachine = Callable[..., Booted]


def test_stat(machine: MakeMachine) -> None:
    m = machine()
    task = m.spawn(guests.path("calls"), ["on 10 1; @fork c; @pause; end; @mark 1; touch 0 0"], {"A": "b"})
    m.run_until_mark(task, 1)
    head, _, rest = m.kernel.vfs.read_file(f"/proc/{task.pid}/stat").decode().partition(") ")
    fields = ["", *head.split(" (", 1), *rest.split()]
    assert fields[1:8] == [str(task.pid), "calls", "S", "1", str(task.pid), str(task.pid), "0"]
    assert len(fields) - 1 == 52 and rest.endswith("\n")
    mm = task.mm
    assert int(fields[10]) == task.usage.min_flt > 0
    assert [int(fields[number]) for number in (20, 23, 24)] == [1, mm.total_bytes, mm.rss_anon + mm.rss_cache]
    assert int(fields[33]) >> 9 & 1 == 1  # SIGUSR1 is ignored
    assert [int(fields[number]) for number in (48, 49, 50)] == [mm.arg_start, mm.arg_end, mm.env_start]
    child = m.kernel.vfs.read_file(f"/proc/{task.pid + 1}/stat").decode().split()
    assert child[3] == str(task.pid) and int(child[21]) >= 0
    m.kill_all()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the host has no /proc")
def test_stat_has_as_many_fields_as_on_the_host(machine: MakeMachine) -> None:
    m = machine()
    task = m.spawn(guests.path("calls"), ["pause"])
    ours = m.kernel.vfs.read_file(f"/proc/{task.pid}/stat").decode()
    theirs = Path("/proc/self/stat").read_text()
    assert len(ours.rpartition(")")[2].split()) == len(theirs.rpartition(")")[2].split())
    m.kill_all()


def test_environment_and_auxiliary_vector(machine: MakeMachine) -> None:
    m = machine()
    task = m.spawn(guests.path("calls"), ["pause"], {"A": "b", "LONG": "x" * 5000})
    read = m.kernel.vfs.read_file
    assert read(f"/proc/{task.pid}/environ") == b"A=b\0LONG=" + b"x" * 5000 + b"\0"
    assert read(f"/proc/{task.pid}/auxv") == task.mm.auxv != b""
    assert read(f"/proc/{task.pid}/cgroup") == b"0::/\n"
    m.kill_all()


def test_mountinfo_and_loadavg(machine: MakeMachine, tmp_path: Path) -> None:
    m = machine(root=str(tmp_path))
    task = m.spawn(guests.path("calls"), ["pause"])
    lines = [line.split() for line in m.kernel.vfs.read_file(f"/proc/{task.pid}/mountinfo").decode().splitlines()]
    root, dev, shm = lines[:3]
    assert root[3:7] == ["/", "/", "rw,relatime", "-"] and root[7:9] == ["overlay", "overlay"]
    assert root[9] == f"rw,lowerdir={tmp_path},upperdir=tmpfs,workdir=tmpfs"
    assert (dev[1], shm[1]) == (root[0], dev[0])  # each with the number of the mount that it is in
    assert len({line[0] for line in lines}) == len(lines)
    assert m.kernel.vfs.read_file("/proc/loadavg") == b"1.00 1.00 1.00 1/2 %d\n" % task.pid
    m.kill_all()


def _names(text: str, separator: str = ":") -> list[str]:
    return [line.partition(separator)[0][:25] for line in text.splitlines()]


#: Lines of the host that this machine has no figure for, or whose presence depends on the host's CPU.
_NOT_HERE = {
    "/proc/self/status": {"x86_Thread_features", "x86_Thread_features_locked"},
    "/proc/meminfo": {"CmaTotal", "CmaFree", "Unaccepted", "HardwareCorrupted", "GPUActive", "GPUReclaim"},
    "/proc/self/smaps_rollup": set(),
    "/proc/self/io": set(),
    "/proc/self/limits": set(),
}  # fmt: skip


@pytest.mark.parametrize("path", _NOT_HERE)
def test_a_file_has_the_lines_that_it_has_on_the_host(machine: MakeMachine, path: str) -> None:
    skip_before((6, 18))
    m = machine()
    task = m.spawn(guests.path("calls"), ["pause"])
    ours = m.kernel.vfs.read_file(path.replace("self", str(task.pid))).decode()
    theirs = [name for name in _names(Path(path).read_text()) if name not in _NOT_HERE[path]]
    if path.endswith("smaps_rollup"):
        theirs[0] = _names(ours)[0]  # the addresses
    assert _names(ours) == theirs
    m.kill_all()


def test_smaps_has_the_fields_that_it_has_on_the_host(machine: MakeMachine) -> None:
    skip_before((6, 18))
    m = machine()
    task = m.spawn(guests.path("calls"), ["pause"])
    ours = m.kernel.vfs.read_file(f"/proc/{task.pid}/smaps").decode()
    theirs = _names(Path("/proc/self/smaps").read_text())
    end = theirs.index("VmFlags") + 1
    assert _names(ours)[1 : ours.splitlines().index(next(x for x in ours.splitlines() if x[:7] == "VmFlags")) + 1] == [
        name for name in theirs[1:end] if name != "ProtectionKey"
    ]
    m.kill_all()


def test_what_calls_read_and_write_is_counted(machine: MakeMachine) -> None:
    m = machine()
    script = '@f = open "/x" O_RDWR|O_CREAT 0600; write f "hello" 5; @b = bytes 9; pread f b 9 0; read f b 9; @fork c; '
    task = m.spawn(guests.path("calls"), [script + "write f b 3; end; wait c; @mark 1; @pause"])
    m.run_until_mark(task, 1)
    figures = dict(line.split(": ") for line in m.kernel.vfs.read_file(f"/proc/{task.pid}/io").decode().splitlines())
    assert (figures["rchar"], figures["syscr"]) == ("5", "2")
    assert int(figures["wchar"]) >= 5 and figures["read_bytes"] == "0"
    m.kill_all()


def test_the_most_memory_that_was_resident(machine: MakeMachine) -> None:
    m = machine()
    script = "p = mmap 0 8M RW PRIVATE -1 0; @touch p 8M; munmap p 8M; @mark 1; @pause"
    task = m.spawn(guests.path("calls"), [script])
    m.run_until_mark(task, 1)
    status = dict(
        line.split(":\t") for line in m.kernel.vfs.read_file(f"/proc/{task.pid}/status").decode().splitlines()
    )
    rss, peak, now = (int(status[name].split()[0]) for name in ("VmHWM", "VmPeak", "VmRSS"))
    assert rss >= 8192 > now and peak >= 8192 + now
    assert int(status["RssAnon"].split()[0]) + int(status["RssFile"].split()[0]) <= now
    m.kill_all()
    assert task.group.usage().max_rss << 2 == rss


def test_locks_of_files(machine: MakeMachine) -> None:
    m = machine()
    script = """
        @f = open "/x" O_RDWR|O_CREAT 0600; @l = words 1 5 10 0; fcntl f 6 l; @o = words 0 0 0 0; fcntl f 37 o
        syscall 73 f 2; @g = open "/y" O_RDONLY|O_CREAT 0600; fcntl g 1024 1; @mark 1; @pause"""
    task = m.spawn(guests.path("calls"), [script])
    m.run_until_mark(task, 1)
    lines = [line.split() for line in m.kernel.vfs.read_file("/proc/locks").decode().splitlines()]
    assert [line[1:4] for line in lines] == [
        ["POSIX", "ADVISORY", "WRITE"], ["FLOCK", "ADVISORY", "WRITE"], ["LEASE", "ACTIVE", "WRITE"],
    ]  # fmt: skip
    assert all(line[4] in (str(task.pid),) for line in lines) and lines[-1][-2:] == ["0", "EOF"]
    m.kill_all()


def test_config_gz_is_true_of_the_machine(machine: MakeMachine) -> None:
    m = machine(cpus=2)
    text = gzip.decompress(m.kernel.vfs.read_file("/proc/config.gz")).decode()
    lines = text.splitlines()
    assert {"CONFIG_SMP=y", "CONFIG_POSIX_MQUEUE=y", "CONFIG_TMPFS_XATTR=y", "CONFIG_NR_CPUS=2"} <= set(lines)
    assert "CONFIG_IO_URING=y" in lines
    assert len({line.strip("# ").partition(" ")[0].partition("=")[0] for line in lines[3:]}) == len(lines[3:])
    assert m.kernel.vfs.read_file("/proc/config.gz") == m.kernel.vfs.read_file("/proc/config.gz")


def test_figures_of_memory_agree(machine: MakeMachine) -> None:
    m = machine()
    read = m.kernel.vfs.read_file
    orders = [int(count) for count in read("/proc/buddyinfo").split()[4:]]
    free = int(read("/proc/vmstat").split()[1])
    assert free == m.kernel.frames.free == sum(count << order for order, count in enumerate(orders))
    flags = struct.unpack("<64Q", m.kernel.vfs.open("/proc/kpageflags").read(512))
    assert flags[0] == 1 << 32 and len(read("/proc/zoneinfo").splitlines()) > 30
    counts = m.kernel.vfs.open("/proc/kpagecount").read(512)
    assert len(counts) == 512


def test_namespaces_of_a_process(machine: MakeMachine) -> None:
    script = """
        @b = bytes 64; syscall 89 "/proc/self/ns/mnt" b 64; text b; f = open "/proc/self/ns/uts" 0
        syscall 89 "/proc/self/fd/3" b 64; text b; @d = open "/proc/self/ns" 0; open "/proc/self/ns/none" 0
        @b = bytes 64; syscall 89 "/proc/self/ns/pid_for_children" b 64; text b"""
    lines = machine().calls(script)
    assert lines == [
        "syscall = 16", "text = mnt:[4026531832]", "f = 3", "syscall = 16", "text = uts:[4026531838]", "open = ENOENT",
        "syscall = 16", "text = pid:[4026531836]",
    ]  # fmt: skip


def test_what_sys_says_of_cpus_the_node_and_huge_pages(machine: MakeMachine) -> None:
    m = machine(cpus=2)

    def read(name: str) -> str:
        return m.kernel.vfs.read_file(f"/sys/{name}").decode().strip()

    cpu = "devices/system/cpu"
    assert (read(f"{cpu}/online"), read(f"{cpu}/offline"), read(f"{cpu}/kernel_max")) == ("0-1", "", "255")
    topology = {
        name: read(f"{cpu}/cpu1/topology/{name}") for name in ("core_id", "core_siblings_list", "thread_siblings")
    }
    assert topology == {"core_id": "1", "core_siblings_list": "0-1", "thread_siblings": "2"}
    assert read(f"{cpu}/cpu0/cache/index0/type") == "Data" and read(f"{cpu}/cpu0/cache/index0/size").endswith("K")
    assert (read("devices/system/node/online"), read("devices/system/node/node0/cpulist")) == ("0", "0-1")
    assert read("devices/system/node/node0/meminfo").splitlines()[0].split()[:3] == ["Node", "0", "MemTotal:"]
    pages = "kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    m.kernel.vfs.write_file(f"/sys/{pages}", b"2")
    assert read(pages) == "2" == read("devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages")
    m.kernel.vfs.write_file(f"/sys/{pages}", b"0")
