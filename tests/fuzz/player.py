"""Random but plausible system calls of several processes, straight into their handlers.

This is many times quicker than a guest that makes them, and the same must hold: no call may raise anything but a
LinuxError, and the audit finds nothing after any sequence of calls.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

from emu.kernel.task import Task
from emu.linux.argument import ADDRESS, FD, OFFSET, PID, SIZE, Argument, Buffer, Pointer
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.layout import Iovec, String, Struct
from emu.machine import LaunchError
from emu.mm.vma import Vma
from msharefs.filesystem import RegionInode
from tests.booted import GIB, MIB, Booted

KIB, TIB = 1 << 10, 1 << 40
#: Where a process keeps what its pointers point at.
SCRATCH = 0x2000_0000
PATHS = (
    "/tmp/a", "/tmp/b", "/sys/fs/mshare/a", "/sys/fs/mshare/a", "/sys/fs/mshare/b", "/dev/zero", "/proc/self/maps",
    "/proc/self/smaps", "/proc/self/pagemap", "/proc/self/mem", "/sys/kernel/debug/mshare", "/bin/spin", "/tmp/d",
)  # fmt: skip
#: Those that wait without an end, replace all registers, or end the process (which :meth:`Player.end` does).
LEFT_OUT = frozenset({15, 34, 58, 60, 231})
#: What arguments of a type are worth trying with, by its name; FLAGS for the others.
FLAGS = (0, 0, 1, 2, 3, 5, 7)
KINDS: dict[str, tuple[int, ...]] = {
    "PROT_*": (0, 1, 3, 3, 3, 5, 7, 8),
    "MAP_*": (0x01, 0x02, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x4032, 0x8032, 0x2022, 0x40031, 0x40032, 0x132),
    "O_*": (0, 2, 0o102, 0o102, 0o4002, 0o1002),
    "mode": (0o600, 0o755, 0),
    "signal": (0, 10, 17),
    "dirfd": (-100,),
    "MADV_*": (4, 9, 22, 23),
    "int": (0, 0, 1, 4, 8, 9, 10, 14, 18, 22, 23, -1),
    "id": (0, 1, 4, 0xFFFFFFFF),
}


class Player:
    """Makes one call after the other, as a seed says."""

    def __init__(self, booted: Booted, seed: int) -> None:
        self.booted, self.kernel, self.random = booted, booted.kernel, random.Random(seed)
        self.last: Any = None
        self.places = (2 * TIB, 2 * TIB + booted.unit, 8 * TIB, 512 * GIB)
        self.start()

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A process more, if there is memory for it."""
        try:
            task = self.booted.guest("spin")
        except LaunchError:
            self.booted.give_back_frames()
            return
        self.as_process(task, lambda: self.call(task, 9, SCRATCH, 64 * KIB, 3, 0x32, -1, 0))

    def as_process(self, task: Task, deed: Callable[[], object]) -> None:
        """Do something while the task is the current one, as the scheduler would load it."""
        kernel = self.kernel
        task.context.restore()
        kernel.scheduler._loaded, kernel.scheduler.current = task, task
        kernel.flusher.switch_cpu(task.cpu, task.mm, task.pid, task.pid)
        try:
            deed()
        except LinuxError:
            pass
        finally:
            if task.alive and task.signals.pending:
                kernel.signals.deliver(task)
            task.registers_replaced = kernel.scheduler.yielded = False
            if task.alive:
                task.context.save()
            kernel.scheduler.current = None

    def call(self, task: Task, number: int, *arguments: int) -> None:
        """One call; one that would sleep is interrupted."""
        call = self.kernel.entry.lookup(number)
        assert call is not None
        self.last = (task.pid, call.name, *arguments)
        a, b, c, d, e, f = ([a & (1 << 64) - 1 for a in arguments] + [0] * 6)[:6]
        result = self.kernel.entry.entry_of(number)[0](self.kernel, task, (a, b, c, d, e, f))
        if not isinstance(result, int):
            try:
                for _ in result:
                    result.throw(Interrupted())
            except StopIteration:  # it had done a part of what it should
                pass

    def end(self, task: Task) -> None:
        self.kernel.exit(task, 9)

    # -- arguments -------------------------------------------------------------------------------------------------

    def size(self) -> int:
        unit = self.booted.unit
        return self.random.choice(
            (4 * KIB, 4 * KIB, 8 * KIB, 64 * KIB, 2 * MIB, 4 * MIB, unit, unit, 2 * unit, GIB, 64 * TIB, 1, 0, 1 << 63,
             self.random.randrange(600) * 4 * KIB)
        )  # fmt: skip

    def mapping(self, task: Task) -> tuple[int, int]:
        """A part of a mapped range, or of an unmapped one."""
        chance, vmas = self.random, [vma for vma in task.mm.vmas if vma.start != SCRATCH]
        if not vmas or chance.random() < 0.2:
            return chance.choice(self.places) + chance.randrange(600) * 4 * KIB, self.size()
        vma: Vma = chance.choice(vmas)
        pages = vma.length >> 12
        first = chance.choice((0, 0, chance.randrange(pages), chance.randrange(min(pages, 600))))
        return vma.start + first * 4096, chance.choice((pages - first, 1, chance.randint(1, pages - first))) * 4096

    def argument(self, task: Task, kind: Argument) -> int:
        chance = self.random
        if isinstance(kind, Pointer) and isinstance(kind.target, String):
            return self.store(task, chance.choice(PATHS).encode() + b"\0")
        if isinstance(kind, Pointer) and isinstance(kind.target, Struct):
            return self.store(task, chance.randbytes(64))
        if kind is ADDRESS or isinstance(kind, Pointer | Buffer | Iovec):
            return chance.choice((self.mapping(task)[0], SCRATCH + chance.randrange(8000)))
        if kind in (SIZE, OFFSET):
            return self.size()
        if kind is FD:
            return chance.choice((*list(task.files)[-12:], -1))
        if kind is PID:
            return chance.choice((0, *(other.pid for other in self.booted.tasks)))
        return chance.choice(KINDS.get(kind.name, FLAGS))

    def store(self, task: Task, data: bytes) -> int:
        """Bytes at an address of the process's own, if it can still be written."""
        address = SCRATCH + 4096 * self.random.randrange(12)
        try:
            task.mm.write(address, data)
        except LinuxError:
            pass
        return address

    def descriptors(self, task: Task) -> list[int]:
        """Those of regions."""
        return [fd for fd in task.files if isinstance(task.files.get_any(fd).inode, RegionInode)] or [3]

    # -- what is done ----------------------------------------------------------------------------------------------

    def ready(self) -> list[Task]:
        """The tasks that can make a call now."""
        return self.booted.tasks

    def step(self) -> None:
        """One thing."""
        tasks = self.ready()
        if len(tasks) < 2:
            self.start()
            return
        task, chance = self.random.choice(tasks), self.random.random()
        if chance < 0.3:
            self.as_process(task, lambda: self.access(task))
        elif chance < 0.33:
            if self.random.random() < 0.6 or self.kernel.frames.free < 40:
                self.booted.give_back_frames()
                self.booted.give_back_reserve()
            else:
                self.booted.take_frames(self.random.choice((0, 2, 5, 30)))
                self.booted.take_reserve(50 << self.kernel.frames.free % 12)
        elif chance < 0.35:
            self.as_process(task, lambda: self.end(task))
        elif chance < 0.75:
            self.as_process(task, lambda: self.shaped(task))
        else:
            self.as_process(task, lambda: self.anything(task))

    def access(self, task: Task) -> None:
        address = self.mapping(task)[0] + 8 * self.random.randrange(512)
        self.last = (task.pid, "access", address)
        if self.random.random() < 0.7:
            task.mm.write_u64(address, self.random.getrandbits(64))
        else:
            task.mm.read_u64(address)

    def anything(self, task: Task) -> None:
        number = self.random.choice([n for n in range(620) if n not in LEFT_OUT and self.kernel.entry.lookup(n)])
        call = self.kernel.entry.lookup(number)
        assert call is not None
        self.call(task, number, *(self.argument(task, kind) for kind in call.arguments))

    def shaped(self, task: Task) -> None:
        """A call whose arguments fit together."""
        chance, unit = self.random, self.booted.unit
        place, fd = chance.choice(self.places), chance.choice(self.descriptors(task))
        at, size = self.mapping(task)
        offset = chance.choice((0, 0, 4 * KIB, 2 * MIB, unit - 4 * KIB))
        prot, flags = chance.choice(KINDS["PROT_*"]), chance.choice(KINDS["MAP_*"])
        some = chance.choice([*task.files] or [0])
        create = struct.pack("<QQQIII4x", offset, chance.choice((4096, 65536, 2 * MIB)), 0, prot, 0x31, 0xFFFFFFFF)
        calls: tuple[tuple[int, ...], ...] = (
            (2, self.store(task, b"/sys/fs/mshare/" + chance.choice((b"a", b"b")) + b"\0"), 0o102, 0o600),
            (77, fd, chance.choice((unit, 2 * unit))),
            (16, fd, 0x40287800, self.store(task, create)),
            (16, fd, 0x40107801, self.store(task, struct.pack("<QQ", offset, chance.choice((4096, 2 * MIB, unit))))),
            (16, fd, chance.choice((0x40187820, 0x40187821)), self.store(task, struct.pack("<QQI4x", offset, 4096, 3))),
            (9, place, chance.choice((unit, 2 * unit)), prot, 0x11, fd, 0),
            (9, place, chance.choice((64 * KIB, 4 * MIB)), 3, flags | 0x20, -1, 0),
            (9, place, chance.choice((64 * KIB, 4 * MIB)), 3, flags & ~0x20, some, 0),
            (10, at, size, prot),
            (11, at, size),
            (25, at, size, chance.choice((size, self.size())), chance.choice((0, 1, 3, 5, 7)), place),
            (28, at, size, chance.choice((4, 8, 9, 10, 11, 14, 18, 22, 23))),
            (149, at, size),
            (216, at, size, 0, 0, 0),
            (319, self.store(task, b"m\0"), chance.choice((0, 2, 4))),
            (77, some, chance.choice((2 * MIB, 5000))),
            (285, some, chance.choice((0, 1, 3)), offset, self.size()),
            (451, self.store(task, b"r\0"), place, unit, chance.choice((0o102, 2)), 0o600),
            (57,) if len(self.booted.tasks) < 6 else (39,),
            (59, self.store(task, b"/bin/spin\0"), 0, 0),
        )
        self.call(task, *chance.choice(calls))
