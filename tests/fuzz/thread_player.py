"""Random calls of threads: those of :mod:`tests.fuzz.player` in between, and here what sleeps does sleep, and
the scheduler runs from time to time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import GeneratorType

from emu.kernel.fork import CloneFlags
from emu.kernel.task import Task, TaskState
from emu.linux.errors import LinuxError
from tests.booted import Booted
from tests.fuzz.player import KIB, SCRATCH, Player

_SHARED = CloneFlags.VM | CloneFlags.FS | CloneFlags.FILES | CloneFlags.SIGHAND
_THREAD = _SHARED | CloneFlags.THREAD
#: What the child has in common with its parent, and the signal of its end.
_BASES = (
    *(_THREAD,) * 5, _SHARED | 17, CloneFlags.VM | 17, CloneFlags.FILES | 17, CloneFlags.VM | CloneFlags.FILES | 10,
    CloneFlags.VM | CloneFlags.SIGHAND | CloneFlags.THREAD, CloneFlags.CLEAR_SIGHAND | 17, CloneFlags.THREAD, 65,
)  # fmt: skip
_EXTRAS = (
    CloneFlags.SETTLS, CloneFlags.PARENT_SETTID, CloneFlags.CHILD_CLEARTID, CloneFlags.CHILD_SETTID,
    CloneFlags.VFORK,
)  # fmt: skip
_MANY = 14


class ThreadPlayer(Player):
    """Makes one call after the other, as a seed says, by threads."""

    def __init__(self, booted: Booted, seed: int) -> None:
        self.turns = 0
        super().__init__(booted, seed)

    def as_process(self, task: Task, deed: Callable[[], object]) -> None:
        """As the scheduler would: a signal may be the process's."""
        super().as_process(task, deed)
        if task.state == TaskState.RUNNABLE and task.signals.shared:
            super().as_process(task, lambda: self.kernel.signals.deliver(task))

    def call(self, task: Task, number: int, *arguments: int) -> None:
        """One call; one that sleeps goes on when the scheduler runs."""
        call = self.kernel.entry.lookup(number)
        assert call is not None
        self.last = (task.pid, call.name, *arguments)
        a, b, c, d, e, f = ([a & (1 << 64) - 1 for a in arguments] + [0] * 6)[:6]
        registers = (a, b, c, d, e, f)
        result = self.kernel.entry.entry_of(number)[0](self.kernel, task, registers)
        if isinstance(result, GeneratorType):
            scheduler = self.kernel.scheduler
            task.sleeping, task.syscall = result, (number, registers)
            scheduler.queues.take_off(task)
            self.kernel.entry._advance(task, interrupted=False)
            if task.state == TaskState.RUNNABLE:
                scheduler.queues.enqueue(task)

    def ready(self) -> list[Task]:
        """Threads that neither sleep nor have been woken in a call."""
        tasks = self.kernel.tasks.values()
        return [task for task in tasks if task.state == TaskState.RUNNABLE and task.sleeping is None]

    def step(self) -> None:
        tasks, chance = [task for task in self.kernel.tasks.values() if task.alive], self.random
        ready = self.ready()
        if len(ready) < 3 and len(tasks) < 6:
            self.start()
        elif not ready or chance.random() < 0.06:
            self.run(chance.choice(tasks))
        elif chance.random() < 0.6:
            task = chance.choice(ready)
            new = len(tasks) < _MANY and chance.random() < 0.4
            self.as_process(task, lambda: self.clone(task) if new else self.threads(task))
        else:
            super().step()

    def run(self, task: Task) -> None:
        """Some turns, after a signal to a task that may be asleep."""
        self.last = ("run", task.pid, task.syscall)
        self.kernel.signals.send(task, self.random.choice((10, 17, 9)))
        end = self.turns + 6
        self.booted.run(lambda: self._counted() > end, timeout_s=20)

    def _counted(self) -> int:
        self.turns += 1
        return self.turns

    # -- what is done ----------------------------------------------------------------------------------------------

    def word(self) -> int:
        """Where a futex is."""
        return SCRATCH + 0x8000 + 4 * self.random.randrange(8)

    def somewhere(self, task: Task) -> int:
        return self.random.choice((self.word(), self.word(), self.mapping(task)[0], 0, 1, (1 << 64) - 4))

    def clone(self, task: Task) -> None:
        chance, tid, tls = self.random, self.somewhere(task), self.random.choice((*(SCRATCH, 0) * 3, 1 << 63))
        flags = chance.choice(_BASES) | sum(flag for flag in _EXTRAS if chance.random() < 0.3)
        stack = chance.choice((0, SCRATCH + 0xF000, self.mapping(task)[0]))
        signal, size = flags & CloneFlags.SIGNAL, 4 * KIB if stack else 0
        words = (flags & ~CloneFlags.SIGNAL, 0, tid, tid, signal, stack, size, tls, 0, 0, 0)
        calls = (
            (56, flags, stack, tid, self.word(), tls),
            (56, flags, stack, tid, self.word(), tls),
            (435, self.store(task, struct.pack("<11Q", *words)), chance.choice((64, 80, 88))),
            (57 + chance.randrange(2),),
        )
        self.call(task, *chance.choice(calls))

    def robust_list(self, task: Task) -> int:
        """A list of locks, as broken as can be."""
        chance, head = self.random, SCRATCH + 0x9000 + 64 * self.random.randrange(8)
        after = chance.choice((head, head + 64, head + 65, 0, 1, 1 << 63, (1 << 64) - 1, (1 << 47) - 8))
        offset = chance.choice((0, 4, -8, 1, -(1 << 63), (1 << 63) - 1, self.word() - head))
        pending = chance.choice((0, head, head + 1, self.word(), 1 << 63, (1 << 64) - 4))
        try:
            task.mm.write(head, struct.pack("<QqQ", after, offset, pending))
            task.mm.write_u64(head + 64, chance.choice((head, after)))
            task.mm.write_u32(self.word(), task.pid | chance.choice((0, 1 << 31, 1 << 30)))
        except LinuxError:
            pass
        return head

    def threads(self, task: Task) -> None:
        """A call on threads, or one that ends or replaces them."""
        chance, word, other = self.random, self.word(), self.random.choice(list(self.kernel.tasks.values()))
        mate = chance.choice(list(task.group.threads.values()))
        try:
            value = task.mm.read_u32(word)
        except LinuxError:
            value = 0
        private, signal = chance.choice((0, 128)), chance.choice((0, 10, 17, 17, 17, 18, 9))
        timeout = self.store(task, struct.pack("<qq", 0, chance.choice((1, 1000, 10**8))))
        mask = self.store(task, struct.pack("<Q", chance.choice((0, 1 << 9, chance.getrandbits(64)))))
        action = self.store(task, struct.pack("<4Q", chance.choice((0, 1, 0x400000)), 0x4000000, 0, 0))
        calls: tuple[tuple[int, ...], ...] = (
            (202, word, private, value, 0),
            (202, word, private, value, timeout),
            (202, self.mapping(task)[0] & ~3, chance.choice((0, 1)), 0, 0),
            (202, word, 1 | private, chance.choice((1, 1 << 30))),
            (202, word, chance.choice((3, 4)) | private, 1, 3, self.word(), value),
            (202, word, 5 | private, 1, 1, self.word(), chance.getrandbits(32)),
            (273, self.robust_list(task), 24),
            (274, other.pid, word & -8, word & -8),
            (218, self.somewhere(task)),
            (62, chance.choice((other.pid, -other.pgid)), chance.choice((0, 17, signal))),
            (234, mate.tgid, mate.pid, signal),
            (200, other.pid, chance.choice((0, 17, signal))),
            (13, chance.choice((10, 17)), action, 0, 8),
            (14, chance.choice((0, 1, 2)), mask, 0, 8),
            (128, mask, 0, timeout, 8),
            (130, mask, 8),
            (34,),
            (61, chance.choice((-1, 0, other.pid)), 0, chance.choice((0, 1))),
            (203, other.pid, 8, self.store(task, struct.pack("<Q", chance.choice((1, 2, 3, 15))))),
            (9, SCRATCH, 64 * KIB, 3, 0x32, -1, 0),
            (2, self.store(task, f"/proc/{other.tgid}/task/{other.pid}/status\0".encode()), 0, 0),
        )
        ends = ((60, 1), (60, 2), (231, 3), (59, self.store(task, b"/bin/spin\0"), 0, 0))
        self.call(task, *chance.choice(ends if chance.random() < 0.1 else calls))
