"""poll, ppoll, select, pselect6: waiting for several files at once."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from emu.kernel.layout import Persona
from emu.kernel.signal_state import UNBLOCKABLE
from emu.linux.argument import INT, SIZE, UINT, WAIT_MS, Pointer, Shown
from emu.linux.cost import Cost
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.fileflags import PollEvents
from emu.linux.layout import TIMESPEC, TIMEVAL, Layout, Opaque, Time
from emu.linux.likeness import Likeness, Part
from emu.linux.syscall import READY, Restart, Syscall
from emu.mm.kmem import POLL_ENTRY
from emu.syscalls.types import SIGSET

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

    Wait = Generator[tuple[tuple[WaitQueue, ...], int | None], None, int]

POLLFD = Layout("pollfd", "ihh")
#: pselect6()'s signal mask: a pointer to the mask, and its size.
MASK_AND_SIZE = Layout("sigset and size", "QQ")
#: Events that poll() reports even if they were not requested.
ALWAYS = int(PollEvents.ERR | PollEvents.HUP | PollEvents.NVAL)
#: The events behind each of select()'s three sets (fs/select.c).
SELECT_IN = int(
    PollEvents.RDNORM | PollEvents.RDBAND | PollEvents.IN | PollEvents.HUP | PollEvents.ERR | PollEvents.NVAL
)
SELECT_OUT = int(PollEvents.WRBAND | PollEvents.WRNORM | PollEvents.OUT | PollEvents.ERR | PollEvents.NVAL)
SELECT_EX = int(PollEvents.PRI | PollEvents.NVAL)

_POLLED = Cost.POLLED
#: Of so many descriptors the events are compared with those of another run.
_MAX_COMPARED = 4096
#: Looks at every file once: how many are ready, and what to sleep on.
Scan = Callable[[], tuple[int, tuple["WaitQueue", ...]]]


def _wait(
    kernel: Kernel, task: Task, scan: Scan, deadline: int | None, finish: Callable[[], None], number: int
) -> Wait:
    """Sleep until ``scan`` finds something among ``number`` descriptors or the deadline (ns) has passed; then
    ``finish`` writes the answer.  LinuxError(ENOMEM).
    """
    with kernel.frames.kmem.held(number * POLL_ENTRY):
        while True:
            kernel.clock.charge(number * _POLLED)
            ready, queues = scan()
            if ready or (deadline is not None and kernel.clock.now_ns() >= deadline):
                finish()
                return ready
            try:
                if task.signals.deliverable():
                    raise Interrupted
                yield queues, deadline
            except Interrupted as interrupted:
                interrupted.goes_on = partial(_wait, kernel, task, scan, deadline, finish, number)
                raise


# poll


class _PollSet:
    """The pollfd array of one call."""

    def __init__(self, task: Task, address: int, number: int) -> None:
        if number > task.files.limit:
            raise LinuxError(errno.EINVAL)
        self._task = task
        self._address = address
        self._entries = POLLFD.read_array(task.mm, address, number)
        self._revents = [0] * number

    def scan(self) -> tuple[int, tuple[WaitQueue, ...]]:
        """Look at every descriptor."""
        files = self._task.files
        queues: list[WaitQueue] = []
        ready = 0
        for number, (fd, events, _) in enumerate(self._entries):
            found = 0
            if fd >= 0:
                try:
                    mask, more = files.get(fd).poll()
                    queues += more
                except LinuxError:
                    mask = int(PollEvents.NVAL)
                found = mask & (events & 0xFFFF | ALWAYS)
                ready += found != 0
            self._revents[number] = found
        return ready, tuple(queues)

    def store(self) -> None:
        """Write revents back."""
        entries = zip(self._entries, self._revents, strict=True)
        data = b"".join(POLLFD.pack(fd, events, revents) for (fd, events, _), revents in entries)
        if data:
            self._task.mm.write(self._address, data)


def sys_poll(kernel: Kernel, task: Task, address: int, number: int, timeout: int) -> Wait:
    """poll(2); the timeout is in milliseconds, negative for none."""
    deadline = None if timeout < 0 else kernel.clock.now_ns() + timeout * 1_000_000
    polled = _PollSet(task, address, number)
    return _wait(kernel, task, polled.scan, deadline, polled.store, number)


def sys_ppoll(kernel: Kernel, task: Task, address: int, number: int, timeout: int, mask: int, mask_size: int) -> Wait:
    """ppoll(2)."""
    deadline = _deadline(kernel, task, timeout, TIMESPEC)
    new_mask = read_mask(task, mask, mask_size)
    polled = _PollSet(task, address, number)
    waiting = _wait(kernel, task, polled.scan, deadline, polled.store, number)
    return _masked(kernel, task, waiting, new_mask, timeout, deadline, TIMESPEC)


# select


class _SelectSets:
    """The three sets of one call, each an int whose bit n is descriptor n."""

    def __init__(self, task: Task, number: int, addresses: tuple[int, int, int]) -> None:
        if number < 0:
            raise LinuxError(errno.EINVAL)
        self._task = task
        self.number = min(number, max(task.files.limit, 64))
        self._size = (self.number + 63) // 64 * 8
        self._addresses = addresses
        below = (1 << self.number) - 1
        self._wanted = [
            int.from_bytes(task.mm.read(address, self._size), "little") & below if address and self._size else 0
            for address in addresses
        ]
        self._found = [0, 0, 0]
        for fd in self._descriptors():
            task.files.get_any(fd)

    def _descriptors(self) -> list[int]:
        union = self._wanted[0] | self._wanted[1] | self._wanted[2]
        return [fd for fd in range(union.bit_length()) if union >> fd & 1]

    def scan(self) -> tuple[int, tuple[WaitQueue, ...]]:
        """Look at every descriptor."""
        self._found = [0, 0, 0]
        queues: list[WaitQueue] = []
        ready = 0
        for fd in self._descriptors():
            try:
                mask, more = self._task.files.get(fd).poll()
                queues += more
            except LinuxError:  # closed meanwhile, or opened with O_PATH
                mask = int(PollEvents.NVAL)
            for which, events in enumerate((SELECT_IN, SELECT_OUT, SELECT_EX)):
                if self._wanted[which] >> fd & 1 and mask & events:
                    self._found[which] |= 1 << fd
                    ready += 1
        return ready, tuple(queues)

    def store(self) -> None:
        """Write the sets back."""
        for address, found in zip(self._addresses, self._found, strict=True):
            if address and self._size:
                self._task.mm.write(address, found.to_bytes(self._size, "little"))


def sys_select(kernel: Kernel, task: Task, number: int, read: int, write: int, other: int, timeout: int) -> Wait:
    """select(2); the timeval is replaced by the time that was left, as on Linux."""
    deadline = _deadline(kernel, task, timeout, TIMEVAL)
    sets = _SelectSets(task, number, (read, write, other))
    waiting = _wait(kernel, task, sets.scan, deadline, sets.store, sets.number)
    return _masked(kernel, task, waiting, None, timeout, deadline, TIMEVAL)


def sys_pselect6(
    kernel: Kernel, task: Task, number: int, read: int, write: int, other: int, timeout: int, mask: int
) -> Wait:
    """pselect6(2); the last argument points to the address of the mask and its size."""
    deadline = _deadline(kernel, task, timeout, TIMESPEC)
    new_mask = read_mask(task, *MASK_AND_SIZE.read(task.mm, mask)) if mask else None
    sets = _SelectSets(task, number, (read, write, other))
    waiting = _wait(kernel, task, sets.scan, deadline, sets.store, sets.number)
    return _masked(kernel, task, waiting, new_mask, timeout, deadline, TIMESPEC)


# Timeouts and signal masks


def _deadline(kernel: Kernel, task: Task, address: int, kind: Time) -> int | None:
    """The deadline of the timeout at an address; None for NULL; EINVAL."""
    if not address:
        return None
    time = kind.read(task.mm, address)
    return kernel.clock.now_ns() + time


def read_mask(task: Task, address: int, size: int) -> int | None:
    """The signal mask of a call that waits under one; None for NULL."""
    if not address:
        return None
    if size != SIGSET.size:
        raise LinuxError(errno.EINVAL)
    return SIGSET.read(task.mm, address) & ~UNBLOCKABLE


def masked(task: Task, waiting: Any, mask: int | None) -> Generator[Any, None, int]:
    """Wait under another signal mask. After a signal the old one comes back only when its handler has its frame."""
    signals = task.signals
    old = signals.blocked
    if mask is not None:
        signals.blocked = mask
    try:
        result: int = yield from waiting
    except Interrupted:
        if mask is not None:
            signals.saved_mask = old
        raise
    except BaseException:
        signals.blocked = old
        raise
    signals.blocked = old
    return result


def _masked(
    kernel: Kernel, task: Task, waiting: Wait, mask: int | None, timeout: int, deadline: int | None, kind: Time
) -> Wait:
    """The same; the time that is left is stored over the timeout."""
    try:
        result = yield from masked(task, waiting, mask)
    except Interrupted:
        _store_left(kernel, task, timeout, deadline, kind)
        raise
    _store_left(kernel, task, timeout, deadline, kind)
    return result


def _store_left(kernel: Kernel, task: Task, address: int, deadline: int | None, kind: Time) -> None:
    """Write the remaining time over the timeout; a read-only timeout is no error."""
    if deadline is None or task.personality & Persona.STICKY_TIMEOUTS:
        return
    left = max(0, deadline - kernel.clock.now_ns())
    try:
        kind.write(task.mm, address, left)
    except LinuxError:
        return


class _PollFds(Pointer):
    """An array of pollfd; the next argument says how many."""

    def __init__(self) -> None:
        super().__init__(POLLFD)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        return (
            Part("pollfd", Likeness.EXACT, b"".join(POLLFD.pack(*entry[:2], 0) for entry in self._entries(at, call))),
        )

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        return (Part("pollfd", Likeness.EXACT, b"".join(POLLFD.pack(*entry) for entry in self._entries(at, call))),)

    @staticmethod
    def _entries(at: int, call: Shown) -> Iterable[tuple[int, int, int]]:
        data = call.view.peek(call.values[at], POLLFD.size * min(call.values[at + 1], _MAX_COMPARED))
        return struct.iter_unpack("<ihh", data[: len(data) // POLLFD.size * POLLFD.size])


_POLLFDS = _PollFds()
_FD_SET = Pointer(Opaque("fd_set"), null=True)
_SETS = (INT, _FD_SET, _FD_SET, _FD_SET)
#: Timeouts, which become the remaining time, and masks; printed as addresses.
_TIMEVAL, _TIMESPEC = (Pointer(kind, null=True, shown=False) for kind in (TIMEVAL, TIMESPEC))
_MASK_AND_SIZE = Pointer(MASK_AND_SIZE, null=True)
MASK = Pointer(SIGSET, null=True, shown=False)
TABLE = (
    Syscall(7, "poll", sys_poll, (_POLLFDS, UINT, WAIT_MS), READY, Restart.BLOCK),
    Syscall(23, "select", sys_select, (*_SETS, _TIMEVAL), READY, Restart.NOHAND),
    Syscall(270, "pselect6", sys_pselect6, (*_SETS, _TIMESPEC, _MASK_AND_SIZE), READY, Restart.NOHAND),
    Syscall(271, "ppoll", sys_ppoll, (_POLLFDS, UINT, _TIMESPEC, MASK, SIZE), READY, Restart.NOHAND),
)
