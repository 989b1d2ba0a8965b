"""eventfd and epoll."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING

from emu.fs.eventfd import EventFd
from emu.fs.eventpoll import EpollEvents, EventPoll
from emu.linux.argument import FD, INT, SIZE, UINT, WAIT_MS, Argument, Bits, OneOf, Pointer, Shown
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import TIMESPEC, Layout
from emu.linux.syscall import DESCRIPTOR, NUMBER, Restart, Syscall
from emu.linux.words import pointer
from emu.syscalls.poll import masked, read_mask
from emu.syscalls.types import SIGSET

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

    Wait = Generator[tuple[WaitQueue, int | None], None, int]

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_SEMAPHORE = 1
_ADD, _DEL, _MOD = 1, 2, 3


class _EpollEvent(Layout):
    """struct epoll_event, which is packed."""

    prints = True

    def words(self, values: tuple[int, ...]) -> str:
        events, data = values
        return f"{{events={EpollEvents.words(events)}, data={{u32={data % (1 << 32)}, u64={data}}}}}"


EPOLL_EVENT = _EpollEvent("epoll_event", "IQ")


class _Events(Argument):
    """What is reported: as many events as the result says."""

    name = "epoll_event *, written"
    written = True

    def text(self, at: int, call: Shown) -> str:
        address = call.values[at]
        if call.failed:
            return pointer(address)
        number = call.result or 0
        texts = [EPOLL_EVENT.text_at(call.view, address + n * EPOLL_EVENT.size) for n in range(min(number, _MAX_SHOWN))]
        dots = ", ..." if number > _MAX_SHOWN else ""
        return f"[{', '.join(text or '???' for text in texts)}{dots}]"


_MAX_SHOWN = 32
#: The most events that one call can report (EP_MAX_EVENTS).
_MAX_EVENTS = 0x7FFFFFFF // EPOLL_EVENT.size


def sys_eventfd2(kernel: Kernel, task: Task, count: int, flags: int) -> int:
    """eventfd(2)."""
    if flags & ~(_CLOEXEC | _NONBLOCK | _SEMAPHORE):
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    path = kernel.vfs.anon_inode("[eventfd]")
    number = kernel.vfs.resources.new_eventfd_number()
    file = EventFd(path, flags & _NONBLOCK, count, number, semaphore=bool(flags & _SEMAPHORE))
    return task.files.open(file, bool(flags & _CLOEXEC))


def sys_eventfd(kernel: Kernel, task: Task, count: int) -> int:
    """eventfd(2)."""
    return sys_eventfd2(kernel, task, count, 0)


def sys_epoll_create1(kernel: Kernel, task: Task, flags: int) -> int:
    """epoll_create1(2)."""
    if flags & ~_CLOEXEC:
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    return task.files.open(EventPoll(kernel.vfs.anon_inode("[eventpoll]"), 0), bool(flags))


def sys_epoll_create(kernel: Kernel, task: Task, size: int) -> int:
    """epoll_create(2)."""
    if size <= 0:
        raise LinuxError(errno.EINVAL)
    return sys_epoll_create1(kernel, task, 0)


def sys_epoll_ctl(kernel: Kernel, task: Task, epfd: int, operation: int, fd: int, address: int) -> int:
    """epoll_ctl(2)."""
    events, data = EPOLL_EVENT.read(task.mm, address) if operation != _DEL else (0, 0)
    poll, file = task.files.get(epfd), task.files.get(fd)
    if not file.pollable:
        raise LinuxError(errno.EPERM)
    if poll is file or not isinstance(poll, EventPoll):
        raise LinuxError(errno.EINVAL)
    if operation == _ADD:
        poll.add(file, fd, events, data)
    elif operation == _MOD:
        poll.modify(file, fd, events, data)
    elif operation == _DEL:
        poll.remove(file, fd)
    else:
        raise LinuxError(errno.EINVAL)
    return 0


def _wait(kernel: Kernel, task: Task, epfd: int, address: int, most: int, deadline: int | None) -> Wait:
    """Report what is ready, or wait for it (ep_poll)."""
    poll = task.files.get(epfd)
    if not 0 < most <= _MAX_EVENTS:
        raise LinuxError(errno.EINVAL)
    if address + most * EPOLL_EVENT.size > task.mm.task_size:
        raise LinuxError(errno.EFAULT)
    if not isinstance(poll, EventPoll):
        raise LinuxError(errno.EINVAL)
    poll.get()
    try:
        while True:
            kernel.clock.run_timers()
            number = _report(task, poll, address, most)
            if number or (deadline is not None and kernel.clock.now_ns() >= deadline):
                return number
            if task.signals.deliverable():
                raise Interrupted
            yield poll.waiters, deadline
    finally:
        poll.put()


def _report(task: Task, poll: EventPoll, address: int, most: int) -> int:
    """Store what is ready; how many that are.  LinuxError(EFAULT) if not even the first can be stored."""
    taken = poll.take_ready(most)
    stored = 0
    try:
        for _, ready in taken:
            EPOLL_EVENT.write(task.mm, address + stored * EPOLL_EVENT.size, ready)
            stored += 1
    except LinuxError:
        if not stored:
            raise
    finally:
        poll.sent(taken, stored)
    return stored


def _in_milliseconds(kernel: Kernel, timeout: int) -> int | None:
    return None if timeout < 0 else kernel.clock.now_ns() + timeout * 1_000_000


def sys_epoll_wait(kernel: Kernel, task: Task, epfd: int, address: int, most: int, timeout: int) -> Wait:
    """epoll_wait(2); the timeout is in milliseconds, negative for none."""
    return _wait(kernel, task, epfd, address, most, _in_milliseconds(kernel, timeout))


def sys_epoll_pwait(
    kernel: Kernel, task: Task, epfd: int, address: int, most: int, timeout: int, mask: int, mask_size: int
) -> Wait:
    """epoll_pwait(2)."""
    new_mask = read_mask(task, mask, mask_size)
    return masked(task, _wait(kernel, task, epfd, address, most, _in_milliseconds(kernel, timeout)), new_mask)


def sys_epoll_pwait2(
    kernel: Kernel, task: Task, epfd: int, address: int, most: int, timeout: int, mask: int, mask_size: int
) -> Wait:
    """epoll_pwait2(2)."""
    deadline = kernel.clock.now_ns() + TIMESPEC.read(task.mm, timeout) if timeout else None
    new_mask = read_mask(task, mask, mask_size)
    return masked(task, _wait(kernel, task, epfd, address, most, deadline), new_mask)


_EPOLL_FLAGS = Bits("EPOLL_", CLOEXEC=_CLOEXEC)
_EVENTFD_FLAGS = Bits("EFD_", SEMAPHORE=_SEMAPHORE, CLOEXEC=_CLOEXEC, NONBLOCK=_NONBLOCK)
_OPERATION = OneOf("EPOLL_CTL_", ADD=_ADD, DEL=_DEL, MOD=_MOD)
_EVENT = Pointer(EPOLL_EVENT, null=True)
_EVENTS = _Events()
_TIMEOUT, _MASK = Pointer(TIMESPEC, null=True), Pointer(SIGSET, null=True)

TABLE = (
    Syscall(213, "epoll_create", sys_epoll_create, (INT,), DESCRIPTOR),
    Syscall(232, "epoll_wait", sys_epoll_wait, (FD, _EVENTS, INT, WAIT_MS), NUMBER, Restart.INTR),
    Syscall(233, "epoll_ctl", sys_epoll_ctl, (FD, _OPERATION, FD, _EVENT)),
    Syscall(281, "epoll_pwait", sys_epoll_pwait, (FD, _EVENTS, INT, WAIT_MS, _MASK, SIZE), NUMBER, Restart.INTR),
    Syscall(284, "eventfd", sys_eventfd, (UINT,), DESCRIPTOR),
    Syscall(290, "eventfd2", sys_eventfd2, (UINT, _EVENTFD_FLAGS), DESCRIPTOR),
    Syscall(291, "epoll_create1", sys_epoll_create1, (_EPOLL_FLAGS,), DESCRIPTOR),
    Syscall(441, "epoll_pwait2", sys_epoll_pwait2, (FD, _EVENTS, INT, _TIMEOUT, _MASK, SIZE), NUMBER, Restart.INTR),
)
