"""Semaphores of System V: sets of numbers that several operations change at once or not at all (ipc/sem.c)."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.ipc.ids import IPC_NOWAIT, AnyCaller, Ids, IpcObject
from emu.ipc.limits import SEMMNI, SEMMNS, SEMMSL, SEMOPM, SEMVMX
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.mm.kmem import IPC_OBJECT, SEM_UNDO_ENTRY, SEMBUF, Kmem

if TYPE_CHECKING:
    from emu.linux.clock import Clock

SEM_UNDO = 0x1000
#: Bytes of a semaphore: its value, and who changed it.
_SEMAPHORE = 6


class Operation(NamedTuple):
    """struct sembuf."""

    number: int
    change: int
    flags: int


@dataclass(eq=False)
class _Sleeper:
    """A semop that waits; ``blocked_by`` is the operation that cannot be done yet."""

    operations: Sequence[Operation]
    tgid: int
    blocked_by: Operation
    queue: WaitQueue = field(default_factory=WaitQueue)
    #: Once it is over: None for success, or the error.
    over: bool = False
    error: int | None = None


class SemaphoreSet(IpcObject):
    """A set (struct sem_array).  Times in seconds since 1970."""

    def __init__(self, key: int, mode: int, caller: AnyCaller, number: int, now: int, kmem: Kmem) -> None:
        super().__init__(key, mode, caller)
        self._kmem = kmem
        self.charged += _SEMAPHORE * number
        self.values = array("H", bytes(2 * number))
        #: Who changed each last (sempid).
        self.pids = array("i", bytes(4 * number))
        self.otime = 0
        self.ctime = now
        self.pending: list[_Sleeper] = []
        #: What is added to each semaphore when a process ends, by process.
        self.undo: dict[int, dict[int, int]] = {}

    def status(self) -> tuple[int, ...]:
        """Its struct semid64_ds."""
        return (*self.perm(), self.otime, 0, self.ctime, 0, len(self.values), 0, 0)

    def waiting(self, number: int, *, for_zero: bool) -> int:
        """GETZCNT, or GETNCNT: how many wait for the semaphore to become 0, or larger."""
        blocked = [sleeper.blocked_by for sleeper in self.pending]
        return sum(op.number == number and (op.change == 0) == for_zero for op in blocked)

    def check_number(self, number: int) -> None:
        """LinuxError(EINVAL) if there is no such semaphore."""
        if not 0 <= number < len(self.values):
            raise LinuxError(errno.EINVAL)

    def try_all(self, operations: Sequence[Operation], tgid: int) -> Operation | None:
        """Do them all; if one cannot be done yet, do none and return it (perform_atomic_semop).  LinuxError(ERANGE,
        ENOMEM).
        """
        values, undo = {op.number: self.values[op.number] for op in operations}, dict(self.undo.get(tgid, {}))
        for op in operations:
            value = values[op.number] + op.change
            if value < 0 or (op.change == 0 and value):
                return op
            if value > SEMVMX:
                raise LinuxError(errno.ERANGE)
            if op.flags & SEM_UNDO:
                undo[op.number] = undo.get(op.number, 0) - op.change
                if not -SEMVMX - 1 <= undo[op.number] <= SEMVMX:
                    raise LinuxError(errno.ERANGE)
            values[op.number] = value
        self.count_undo(len(undo) - len(self.undo.get(tgid, ())))
        for number, value in values.items():
            self.values[number], self.pids[number] = value, tgid
        if any(op.flags & SEM_UNDO for op in operations):
            self.undo[tgid] = undo
        return None

    def count_undo(self, more: int) -> None:
        """There will be more semaphores to undo, or fewer.  LinuxError(ENOMEM)."""
        self._kmem.charge(more * SEM_UNDO_ENTRY)
        self.charged += more * SEM_UNDO_ENTRY

    def update(self, now: int) -> None:
        """Values have changed: finish, in order of arrival, whoever waits and can go on (do_smart_update)."""
        again = True
        while again:
            again = False
            for sleeper in list(self.pending):
                try:
                    blocked = self.try_all(sleeper.operations, sleeper.tgid)
                except LinuxError as error:
                    self.finish(sleeper, error.errno)
                    continue
                if blocked is not None:
                    sleeper.blocked_by = blocked
                    continue
                self.otime = now
                self.finish(sleeper, None)
                again = again or any(op.change for op in sleeper.operations)

    def finish(self, sleeper: _Sleeper, error: int | None) -> None:
        """A wait is over."""
        self.pending.remove(sleeper)
        sleeper.over, sleeper.error = True, error
        sleeper.queue.wake_all()


class SemaphoreSets(Ids[SemaphoreSet]):
    """The sets of a machine."""

    def __init__(self, clock: Clock, kmem: Kmem) -> None:
        super().__init__(SEMMNI, kmem)
        self._clock = clock
        #: The semaphores of all sets.
        self.semaphores = 0

    def _now(self) -> int:
        return self._clock.realtime_ns() // 1_000_000_000

    def _add(self, new: SemaphoreSet) -> int:
        self.semaphores += len(new.values)
        return super()._add(new)

    def remove(self, which: SemaphoreSet) -> None:
        """The set is gone, and its semaphores may be others'."""
        self.semaphores -= len(which.values)
        super().remove(which)

    def semget(self, caller: AnyCaller, key: int, number: int, flags: int) -> int:
        """semget(2)."""
        if not 0 <= number <= SEMMSL:
            raise LinuxError(errno.EINVAL)

        def make() -> SemaphoreSet:
            if not number:
                raise LinuxError(errno.EINVAL)
            if self.semaphores + number > SEMMNS:
                raise LinuxError(errno.ENOSPC)
            self.kmem.reserve(IPC_OBJECT + _SEMAPHORE * number)
            return SemaphoreSet(key, flags, caller, number, self._now(), self.kmem)

        def suits(found: SemaphoreSet) -> None:
            if number > len(found.values):
                raise LinuxError(errno.EINVAL)

        return self.get(key, flags, caller, make, suits)

    def semop(
        self, caller: AnyCaller, ident: int, operations: Sequence[Operation], timeout: int | None
    ) -> Generator[Any, None, int]:
        """semtimedop(2); the timeout in nanoseconds."""
        deadline = None if timeout is None else self._clock.now_ns() + timeout
        found = self.find(ident)
        if max(op.number for op in operations) >= len(found.values):
            raise LinuxError(errno.EFBIG)
        alters = any(op.change for op in operations)
        found.check(caller, 0o222 if alters else 0o444)
        blocked = found.try_all(operations, caller.tgid)
        if blocked is None:
            found.otime = self._now()
            if alters:
                found.update(self._now())
            return 0
        if blocked.flags & IPC_NOWAIT:
            raise LinuxError(errno.EAGAIN)
        held = self.kmem.held(SEMBUF * len(operations))
        sleeper = _Sleeper(operations, caller.tgid, blocked)
        found.pending.append(sleeper)
        try:
            with held:
                while not sleeper.over:
                    if deadline is not None and self._clock.now_ns() >= deadline:
                        raise LinuxError(errno.EAGAIN)
                    try:
                        yield sleeper.queue, deadline
                    except LinuxError:
                        if not sleeper.over:
                            raise
        finally:
            if not sleeper.over:
                found.pending.remove(sleeper)
        if sleeper.error is not None:
            raise LinuxError(sleeper.error)
        return 0

    def set_values(self, caller: AnyCaller, found: SemaphoreSet, values: dict[int, int]) -> None:
        """SETVAL and SETALL: nothing of these semaphores is undone any more.  LinuxError(ERANGE)."""
        if any(not 0 <= value <= SEMVMX for value in values.values()):
            raise LinuxError(errno.ERANGE)
        for number, value in values.items():
            found.values[number], found.pids[number] = value, caller.tgid
            for undo in found.undo.values():
                if undo.pop(number, None) is not None:
                    found.count_undo(-1)
        found.ctime = self._now()
        found.update(self._now())

    def rmid(self, found: SemaphoreSet) -> None:
        """IPC_RMID: whoever waits gets EIDRM."""
        self.remove(found)
        for sleeper in list(found.pending):
            found.finish(sleeper, errno.EIDRM)

    def changed(self, found: SemaphoreSet) -> None:
        """IPC_SET."""
        found.ctime = self._now()

    def exit(self, tgid: int) -> None:
        """A process has ended: what it did with SEM_UNDO is undone (exit_sem)."""
        for found in self:
            undo = found.undo.pop(tgid, None)
            if not undo:
                continue
            found.count_undo(-len(undo))
            for number, change in undo.items():
                if change:
                    found.values[number] = min(max(found.values[number] + change, 0), SEMVMX)
                    found.pids[number] = tgid
            found.otime = self._now()
            found.update(self._now())


def read_operations(read: Callable[[int], Sequence[tuple[int, ...]]], number: int) -> list[Operation]:
    """The operations of a call.  LinuxError(EINVAL) for none, (E2BIG) for too many."""
    if number < 1:
        raise LinuxError(errno.EINVAL)
    if number > SEMOPM:
        raise LinuxError(errno.E2BIG)
    return [Operation(*words) for words in read(number)]
