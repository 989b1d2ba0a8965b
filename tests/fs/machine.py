"""A machine without a CPU for the file system tests: a real VFS and real frames, tasks with a flat memory."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from emu import boot
from emu.fs.dentry import Path
from emu.fs.fdtable import FdTable
from emu.fs.hostroot import HostFiles
from emu.fs.resources import Resources
from emu.fs.vfs import Vfs
from emu.kernel.aiolimits import AioLimits
from emu.kernel.namespaces import Namespaces
from emu.kernel.pid import Pids
from emu.kernel.usage import Usage
from emu.linux.caller import Credentials, FsContext
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.fileflags import OpenFlags as O
from emu.linux.namespace import LateNamespace, Namespace
from emu.linux.stop import Stop
from emu.linux.syscall import Syscall, compile_entry
from emu.mm.commit import Commit
from emu.mm.frames import FrameAllocator
from emu.mm.hugetlb import HugePagePool
from emu.mm.khugepaged import Khugepaged
from emu.mm.swapcache import Swap
from emu.mm.thp import TransparentHugePages
from emu.mm.watermarks import Watermarks
from emu.proc import system as proc_system
from emu.syscalls import attributes, directories, fcntl, fdctl, files, mounts, naming, openclose, poll, xattr
from mmu.memory import PhysicalMemory

PAGE = 4096
MODULES = (attributes, directories, fcntl, fdctl, files, mounts, naming, openclose, poll, xattr)
TABLE: dict[str, Syscall] = {call.name: call for module in MODULES for call in module.TABLE}


class FlatMemory:
    """User memory from 0x10000 on, with pages that may be taken away."""

    BASE = 0x10000
    task_size = (1 << 47) - PAGE
    stop = Stop()
    dumpable: int = 1

    def __init__(self, size: int = 1 << 20) -> None:
        self.bytes = bytearray(size)
        self.missing: set[int] = set()
        self._next = self.BASE + PAGE

    def _check(self, address: int, length: int) -> int:
        if address < self.BASE or address + length > self.BASE + len(self.bytes):
            raise LinuxError(errno.EFAULT)
        for page in range(address // PAGE, (address + max(length, 1) - 1) // PAGE + 1):
            if page in self.missing:
                raise LinuxError(errno.EFAULT)
        return address - self.BASE

    def read(self, address: int, length: int) -> bytes:
        at = self._check(address, length)
        return bytes(self.bytes[at : at + length])

    def write(self, address: int, data: bytes) -> None:
        at = self._check(address, len(data))
        self.bytes[at : at + len(data)] = data

    def read_cstring(self, address: int, limit: int = 4096) -> bytes:
        at = self._check(address, 1)
        end = self.bytes.find(0, at, at + limit)
        if end < 0:
            raise LinuxError(errno.ENAMETOOLONG)
        return bytes(self.bytes[at:end])

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(4, "little"))

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(8, "little"))

    def place(self, data: bytes) -> int:
        """Put ``data`` somewhere new and return its address."""
        address = self._next
        self._next += (len(data) + 15) & ~15
        if self._next > self.BASE + len(self.bytes):
            address, self._next = self.BASE + PAGE, self.BASE + PAGE + ((len(data) + 15) & ~15)
        self.write(address, data)
        return address


class FakeSignals:
    """Records the signals that were sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send(self, task: Any, signo: int, info: Any = None) -> None:
        self.sent.append(int(signo))


@dataclass
class FakeSignalState:
    blocked: int = 0
    saved_mask: int | None = None
    pending: int = 0

    def deliverable(self) -> bool:
        return bool(self.pending & ~self.blocked)


@dataclass(eq=False)
class FakeTask:
    pid: int
    files: FdTable
    fs: FsContext[Path]
    mm: FlatMemory = field(default_factory=FlatMemory)
    credentials: Credentials = field(default_factory=Credentials)
    personality: int = 0
    usage: Usage = field(default_factory=Usage)
    signals: FakeSignalState = field(default_factory=FakeSignalState)
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    comm: str = "test"
    argv: tuple[bytes, ...] = (b"test", b"-x")
    exe: Any = None
    alive: bool = True
    ppid: int = 1
    #: Its namespaces; it is in the initial PID namespace.
    ns: Any = None
    pid_ns: None = None

    def sees(self, pid: int) -> int:
        return pid

    def means(self, pid: int) -> int:
        return pid

    @property
    def tgid(self) -> int:
        return self.pid

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.fs.cwd, self.fs.root) if self.alive else ()


def _nothing() -> Any:
    """What there is in a namespace that no test asks for."""


class FakeClock:
    def __init__(self) -> None:
        self.ns = 1000

    def now_ns(self) -> int:
        self.ns += 1
        return self.ns

    def charge(self, ns: int) -> None:
        self.ns += ns

    def realtime_ns(self) -> int:
        return 1_700_000_000_000_000_000 + self.now_ns()


class Machine:
    """What the file system needs of a kernel, and a way to make system calls by name."""

    def __init__(self, memory: int = 16 << 20, root: str | None = None) -> None:
        self.frames = FrameAllocator(PhysicalMemory(memory), lambda frame: None, lambda frames: None)
        self.huge_pages = HugePagePool(self.frames)
        #: What a mapping of /dev/zero asks of an address space.
        self.oom = SimpleNamespace(panic_on_oom=0, kill_allocating_task=0, dump_tasks=1, kills=0)
        self.thp, self.khugepaged = TransparentHugePages(), Khugepaged()
        self.context = SimpleNamespace(
            commit=Commit(self.frames.total),
            levels=4,
            max_map_count=65530,
            thp=self.thp,
            address_spaces={},
            swap=Swap(self.frames),
            watermarks=Watermarks(self.frames.total),
        )
        self.total_bytes = 0
        self.mm_context = self.context
        self.khugepaged = Khugepaged()
        self.stop = Stop()
        self.clock = FakeClock()
        self.random = random.Random(1)
        self.tasks: dict[int, Any] = {}
        self.pids = Pids(self.tasks, lambda: self.namespaces.others)
        self.signals = FakeSignals()
        self.logged: list[str] = []
        resources = Resources(self.frames, self.huge_pages, self.clock, self.random, self.thp)  # type: ignore[arg-type]
        self.vfs = Vfs(resources, lambda: [place for task in self.tasks.values() for place in task.places])
        self.namespaces = Namespaces(
            "unimmu", self.tasks, vfs=self.vfs, ipc=lambda user: LateNamespace("ipc", _nothing, user),
            net=lambda user: LateNamespace("net", _nothing, user), pid_in_use=lambda pid: False, begin=lambda: None,
            cgroup=lambda task, user: Namespace("cgroup", user), tell=self.log_once,
        )  # fmt: skip
        self.current = None
        self.ns = self.namespaces.initial
        self.cpus, self.randomize_va_space, self.aio = 2, 0, AioLimits()
        boot.file_systems(self)  # type: ignore[arg-type]
        if root is not None:
            self.host_files = HostFiles(self.vfs, self.log_once)
            self.host_files.mount_root(root)
        for init in (boot.tree if root is None else boot.tree_over_root, proc_system.init):
            init(self)  # type: ignore[arg-type]
        self.task = self.new_task()

    def log_once(self, message: str) -> None:
        """What a user would be told."""
        self.logged.append(message)

    def find_task(self, pid: int) -> Any:
        return self.tasks.get(pid)

    def with_init(self) -> list[Any]:
        return list(self.tasks.values())

    def new_task(self, uid: int = 0) -> FakeTask:
        root = self.vfs.root
        task = FakeTask(100 + len(self.tasks), FdTable(self.frames.kmem), FsContext(root, root), ns=self.ns)
        task.credentials = Credentials(uid, uid, uid, uid)
        self.tasks[task.pid] = task
        return task

    def start(self, name: str, *arguments: Any, task: FakeTask | None = None) -> Any:
        """Begin a system call: its result, -errno, or the generator that it sleeps in.

        ``str`` and ``bytes`` arguments are put into the task's memory, a string with its NUL.
        """
        task = task or self.task
        call = TABLE[name]
        raw = [self._raw(task, argument) for argument in arguments]
        a, b, c, d, e, f = raw + [0] * (6 - len(raw))
        try:
            return compile_entry(call)(self, task, (a, b, c, d, e, f))
        except LinuxError as error:
            return -error.errno

    def call(self, name: str, *arguments: Any, task: FakeTask | None = None) -> int:
        """A system call to its end: a result or -errno. One that would sleep for ever is an error of the test."""
        result = self.start(name, *arguments, task=task)
        if isinstance(result, int):
            return result
        done, value = self.step(result)
        if not done:
            raise AssertionError(f"{name} sleeps: {value}")
        return int(value)

    @staticmethod
    def step(sleeping: Generator[Any, None, int], interrupt: bool = False) -> tuple[bool, Any]:
        """Run a sleeping call once: (True, result) or (False, what it waits for)."""
        try:
            return False, sleeping.throw(Interrupted()) if interrupt else next(sleeping)
        except StopIteration as stop:
            return True, stop.value
        except LinuxError as error:
            return True, -error.errno

    def write(self, fd: int, data: bytes) -> int:
        return self.call("write", fd, data, len(data))

    def read(self, fd: int, count: int = 4096) -> bytes:
        address = self.task.mm.place(bytes(count))
        result = self.call("read", fd, address, count)
        if result < 0:
            raise LinuxError(-result)
        return self.task.mm.read(address, result)

    def text(self, name: str) -> str:
        return self.vfs.read_file(name).decode()

    @staticmethod
    def _raw(task: FakeTask, argument: Any) -> int:
        if isinstance(argument, str):
            argument = argument.encode("utf-8", "surrogateescape") + b"\0"
        if isinstance(argument, bytes):
            return task.mm.place(argument)
        return int(argument) & 0xFFFFFFFFFFFFFFFF


def fails(code: int, action: Callable[[], Any]) -> bool:
    """Whether ``action`` raises LinuxError(code)."""
    try:
        action()
    except LinuxError as error:
        return error.errno == code
    return False


def names(machine: Machine, name: str, size: int = 4096) -> list[str]:
    """A listing by getdents64."""
    return [entry[1] for entry in listing(machine, name, size)]


def listing(machine: Machine, name: str, size: int = 4096) -> list[tuple[int, str, int]]:
    """(inode number, name, kind) of each entry, by getdents64 with a buffer of so many bytes."""
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
    """The entries in a buffer of getdents64."""
    while raw:
        ino, _, length, kind = struct.unpack_from("<QqHB", raw)
        assert length % 8 == 0
        yield ino, raw[19:length].split(b"\0")[0].decode(), kind
        raw = raw[length:]
