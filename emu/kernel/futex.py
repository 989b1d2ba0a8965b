"""Futexes: the tasks that wait at words of memory (kernel/futex/).

A word of private memory is identified by its address space and address, a word of shared memory by the object and page
behind it, so that processes find the same futex whatever address each of them maps it at.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from emu.linux.errors import Interrupted, LinuxError
from emu.linux.wait import WaitQueue
from emu.mm.gup import get_user_page
from mmu.memory import PAGE_SIZE
from mmu.record import field, record
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.clock import Clock
    from emu.mm.address_space import AddressSpace

ANY_BIT = 0xFFFF_FFFF
#: FUTEX_WAITERS, FUTEX_OWNER_DIED, FUTEX_TID_MASK, ROBUST_LIST_LIMIT.
WAITERS, OWNER_DIED, TID_MASK, _ROBUST_LIMIT = 1 << 31, 1 << 30, (1 << 30) - 1, 2048
Key = Hashable
_WRITE = Access.WRITE


def futex_key(mm: AddressSpace, address: int, *, private: bool) -> Key:
    """The key of a word.  LinuxError(EINVAL) if the word is not aligned, (EFAULT) if it is not mapped.

    The page of a shared word must be present, or is faulted in.  In a window on a region the posted kernels give EFAULT
    for a page that this process has not touched.
    """
    if address % 4:
        raise LinuxError(errno.EINVAL)
    if address + 4 > mm.task_size:
        raise LinuxError(errno.EFAULT)
    if private:
        return mm.serial, address
    read_only = False
    try:
        get_user_page(mm, address, Access.WRITE)
    except LinuxError as error:
        if error.errno != errno.EFAULT:
            raise
        read_only = True
        get_user_page(mm, address, Access.READ)  # reading is enough for the lookup
    vma = mm.vmas.find(address)
    assert vma is not None, "futex_key: the page is present but has no VMA"
    behind = vma.ops.object_at(vma, address)
    if behind is not None:
        return *behind, address % PAGE_SIZE
    if read_only:  # anonymous memory that nobody can write never changes (get_futex_key)
        raise LinuxError(errno.EFAULT)
    return mm.serial, address


@record(eq=False, repr=False)
class Waiter:
    """One waiting task; a wake with any of its bits wakes it."""

    key: Key
    bits: int
    queue: WaitQueue = field(default_factory=WaitQueue)
    woken: bool = False
    #: It waits to be given a lock, and not to be woken otherwise (FUTEX_WAIT_REQUEUE_PI).
    requeued_only: ClassVar[bool] = False


@record(eq=False, repr=False)
class PiWaiter:
    """A task that waits for a lock with priority inheritance; ``granted`` once it has it."""

    task: Task
    address: int
    queue: WaitQueue = field(default_factory=WaitQueue)
    granted: bool = False


@record(eq=False, repr=False)
class PiState:
    """Such a lock with waiters, first the one that gets it next."""

    key: Key
    owner: Task
    waiters: list[PiWaiter] = field(default_factory=list)

    def add(self, waiter: PiWaiter) -> None:
        """Behind those that are as urgent."""
        urgency = waiter.task.scheduling.priority
        at = next((i for i, w in enumerate(self.waiters) if w.task.scheduling.priority < urgency), len(self.waiters))
        self.waiters.insert(at, waiter)


class Futexes:
    """Every waiter of the machine; those of one word are in order of arrival."""

    def __init__(self, tasks: Mapping[int, Task], clock: Clock) -> None:
        self.tasks, self.clock = tasks, clock
        #: By their words.
        self.waiters: dict[Key, list[Waiter]] = {}
        #: Locks with priority inheritance that have waiters.
        self.pi: dict[Key, PiState] = {}

    def add(self, waiter: Waiter) -> None:
        """Queue a waiter at its key."""
        self.waiters.setdefault(waiter.key, []).append(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Forget a waiter, if it is still there."""
        queue = self.waiters.get(waiter.key)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self.waiters[waiter.key]

    def waits_at(self, key: Key) -> list[Waiter]:
        """The waiters of a word."""
        return self.waiters.get(key, [])

    def only_at(self, key: Key | None) -> bool:
        """Whether nobody waits, or only one task does, at this word."""
        if self.pi:
            return False
        return not self.waiters or (len(self.waiters) == 1 and len(self.waiters.get(key, ())) == 1)

    def only_word(self, serial: int) -> int:
        """The address at which a task waits for a private word of an address space, if that is the only one that waits
        for anything; else 0."""
        if len(self.waiters) != 1 or self.pi:
            return 0
        ((key, waiters),) = self.waiters.items()
        if len(waiters) != 1 or waiters[0].requeued_only or not isinstance(key, tuple) or len(key) != 2:
            return 0
        of, address = key
        return int(address) if of == serial else 0

    def wake_the_only_one(self) -> None:
        """Wake that one."""
        _, (waiter,) = self.waiters.popitem()
        waiter.woken = True
        waiter.queue.wake_all()

    def wake(self, key: Key, most: int, bits: int = ANY_BIT) -> int:
        """Wake up to ``most`` waiters of a word (at least one); returns how many.  LinuxError(EINVAL) if some wait for
        a lock.
        """
        if key in self.pi:
            raise LinuxError(errno.EINVAL)
        chosen: list[Waiter] = []
        for waiter in self.waiters.get(key, []):
            if waiter.requeued_only:
                raise LinuxError(errno.EINVAL)
            if waiter.bits & bits:
                chosen.append(waiter)
                if len(chosen) >= most:
                    break
        for waiter in chosen:
            self.discard(waiter)
            waiter.woken = True
            waiter.queue.wake_all()
        return len(chosen)

    def requeue(self, source: Key, target: Key, most: int) -> int:
        """Move up to ``most`` waiters of one word to another; returns how many.  LinuxError(EINVAL) as for wake."""
        moved = self.waiters.get(source, [])[: max(most, 0)]
        if source in self.pi or any(waiter.requeued_only for waiter in moved):
            raise LinuxError(errno.EINVAL)
        if source == target:
            return len(moved)
        for waiter in moved:
            self.discard(waiter)
            waiter.key = target
            self.add(waiter)
        return len(moved)

    def wake_word(self, mm: AddressSpace, address: int) -> None:
        """Wake one waiter of a word that the kernel has just written (CLONE_CHILD_CLEARTID)."""
        if not self.waiters and not self.pi and not address % 4:
            try:
                get_user_page(mm, address, _WRITE)  # as for a key
                return
            except LinuxError:
                pass
        try:
            self.wake(futex_key(mm, address, private=False), 1)
        except LinuxError:
            pass  # nobody can wait at an unmapped address


def exit_robust_list(futexes: Futexes, task: Task) -> None:
    """A task ends: each futex that it holds, by its registered robust list, is marked, and one waiter is woken
    (kernel/futex/core.c).
    """
    try:
        head = task.robust_list
        entry, offset, pending = struct.unpack("<QqQ", task.mm.read(head, 24))
        for _ in range(_ROBUST_LIMIT):
            if entry & ~1 == head:
                break
            following = task.mm.read_u64(entry & ~1)
            if entry & ~1 != pending & ~1:
                _owner_died(futexes, task, (entry & ~1) + offset, bool(entry & 1), pending=False)
            entry = following
        if pending & ~1:
            _owner_died(futexes, task, (pending & ~1) + offset, bool(pending & 1), pending=True)
    except LinuxError:
        pass  # as the kernel does: a list that cannot be read ends there


def _owner_died(futexes: Futexes, task: Task, address: int, inheriting: bool, *, pending: bool) -> None:
    if address % 4:
        raise LinuxError(errno.EINVAL)
    word = task.mm.read_u32(address)
    if pending and not inheriting and not word:
        futexes.wake_word(task.mm, address)
    elif word & TID_MASK == task.vpid:
        task.mm.write_u32(address, word & WAITERS | OWNER_DIED)
        if word & WAITERS and not inheriting:
            futexes.wake_word(task.mm, address)


def futex_wait(
    futexes: Futexes, clock: Clock, waiter: Waiter, deadline: int | None, *, time_of_day: bool = False
) -> Generator[Any, None, int]:
    """Sleep until woken: 0; LinuxError(ETIMEDOUT) at the deadline (ns of the monotonic clock, or a ``time_of_day``:
    then who sets the clock moves it), (EINTR) for a signal.
    """
    futexes.add(waiter)
    queues = (waiter.queue, clock.was_set) if time_of_day else waiter.queue
    try:
        while not waiter.woken:
            if deadline is None:
                wanted: object = queues
            else:
                due = deadline - clock.realtime_offset if time_of_day else deadline
                if clock.now_ns() >= due:
                    raise LinuxError(errno.ETIMEDOUT)
                wanted = queues, due
            try:
                yield wanted
            except Interrupted:
                if not waiter.woken:
                    raise
        return 0
    finally:
        futexes.discard(waiter)
