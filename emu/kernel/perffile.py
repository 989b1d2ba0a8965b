"""The descriptor of a performance event: what is read from it, and what can be asked of it (kernel/events/core.c)."""

from __future__ import annotations

import errno
import struct
from enum import IntFlag
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.kernel.perf import Counter, Kind, perf_of
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.mm.kmem import PERF_COUNTER

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.linux.wait import WaitQueue
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_U64 = struct.Struct("<Q")
_ENABLE, _DISABLE, _REFRESH, _RESET, _SET_OUTPUT = 0x2400, 0x2401, 0x2402, 0x2403, 0x2405
_PERIOD, _SET_FILTER, _ID, _SET_BPF, _PAUSE_OUTPUT, _QUERY_BPF, _MODIFY = (
    0x40082404, 0x40082406, 0x80082407, 0x40042408, 0x40042409, 0xC008240A, 0x4008240B,
)  # fmt: skip
_FLAG_GROUP = 1
_NO_OUTPUT = (1 << 64) - 1


class ReadFormat(IntFlag):
    """What is read (PERF_FORMAT_*)."""

    TOTAL_TIME_ENABLED = 1
    TOTAL_TIME_RUNNING = 2
    ID = 4
    GROUP = 8
    LOST = 16


class PerfEvent(AnonFile):
    """An event, which its counters count: that of its task or vCPU, and those of the tasks that have inherited it."""

    def __init__(
        self, path: Path, kernel: Kernel, task: Task | None, cpu: int, kind: Kind, bits: int, read_format: int
    ) -> None:
        """``task``: None for all that runs on the vCPU."""
        super().__init__(path, OpenFlags.RDWR)
        self.kernel = kernel
        self.task = task
        self.cpu = cpu
        self.kind = kind
        self.bits = bits
        self.number = perf_of(kernel).new_id()
        self._format = read_format
        self.leader: PerfEvent = self
        self.siblings: list[PerfEvent] = []
        #: By the task; None: the vCPU's.
        self.counters: dict[Task | None, Counter] = {}
        #: What the counters of tasks that have ended had come to.
        self._ended = (0, 0)

    def begin(self, leader: PerfEvent | None, *, on: bool) -> None:
        """Join a group, and count if it is enabled (``on``).  LinuxError(ENOMEM)."""
        self.kernel.frames.kmem.charge(PERF_COUNTER)
        if leader is not None:
            self.leader = leader
            leader.siblings.append(self)
        self.counters[self.task] = Counter(self, self.task, on=on)

    def task_ended(self, counter: Counter) -> None:
        """A task has ended, or runs another program: an heir's counts are its ancestor's (sync_child_event)."""
        counter.remove()
        if counter.task is self.task:
            return
        del self.counters[counter.task]
        count, time = counter.value
        self._ended = self._ended[0] + count, self._ended[1] + time

    @property
    def value(self) -> tuple[int, int]:
        """The count of all counters, and the time for which it was counted, in ns."""
        count, time = self._ended
        for counter in self.counters.values():
            more, longer = counter.value
            count, time = count + more, time + longer
        return count, time

    @property
    def charged(self) -> int:
        return super().charged + PERF_COUNTER * sum(not counter.gone for counter in self.counters.values())

    # -- the file --------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        group = self._format & ReadFormat.GROUP
        members = [self.leader, *self.leader.siblings] if group else [self]
        time = members[0].value[1]
        words = [len(members)] if group else []
        words += [] if group else [self.value[0]]
        words += [time] * (self._format & 3).bit_count()
        for member in members:
            words += [member.value[0]] if group else []
            words += [member.number] if self._format & ReadFormat.ID else []
            words += [0] if self._format & ReadFormat.LOST else []
        if count < len(words) * _U64.size:
            raise LinuxError(errno.ENOSPC)
        return b"".join(_U64.pack(word) for word in words)

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        return int(PollEvents.HUP), ()

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        self.kernel.log_once("perf_event_open: there are no samples, and an event is not mapped: ENODEV")
        raise LinuxError(errno.ENODEV)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command in (_ENABLE, _DISABLE, _RESET):
            for event in [self.leader, *self.leader.siblings] if argument & _FLAG_GROUP else [self]:
                event.change(command)
            return 0
        if command == _ID:
            caller.mm.write(argument, _U64.pack(self.number))
            return 0
        if command == _SET_OUTPUT:
            if argument == _NO_OUTPUT:
                return 0
            raise LinuxError(errno.EBADF)
        if command == _MODIFY:
            raise LinuxError(errno.EOPNOTSUPP)
        if command in (_REFRESH, _PERIOD, _SET_FILTER, _SET_BPF, _PAUSE_OUTPUT, _QUERY_BPF):
            raise LinuxError(errno.EINVAL)
        raise LinuxError(errno.ENOTTY)

    def change(self, command: int) -> None:
        """Enable, disable or reset it, and what has inherited it."""
        for counter in list(self.counters.values()):
            if command == _RESET:
                counter.reset()
            elif not counter.gone:
                counter.on = command == _ENABLE
                for event in (self.leader, *self.leader.siblings):
                    if counter.task in event.counters:
                        event.counters[counter.task].update()

    def release(self) -> None:
        """The events of its group are each on their own from now on (perf_group_detach)."""
        for counter in list(self.counters.values()):
            if not counter.gone:
                counter.remove()
        self.counters.clear()
        if self.leader is not self:
            self.leader.siblings.remove(self)
        for event in self.siblings:
            event.leader = event
            for counter in event.counters.values():
                counter.update()
        self.siblings = []
