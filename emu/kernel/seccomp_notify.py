"""The listener of a seccomp filter: who has it decides about calls of others (SECCOMP_RET_USER_NOTIF)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from emu.fs.anon import AnonFile
from emu.fs.file import WouldBlock
from emu.kernel.signal_state import SaFlags
from emu.kernel.task import task_of
from emu.linux.errors import Interrupted, LinuxError, NoIntr
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.layout import Layout
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from random import Random

    from emu.fs.dentry import Path
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.linux.syscall import Result

#: seccomp_notif without its seccomp_data, seccomp_notif_resp, seccomp_notif_addfd.
_HEAD, _RESPONSE = struct.Struct("<QII"), struct.Struct("<QqiI")
_ADDFD = Layout("seccomp_notif_addfd", "QIIII")
#: Of the number of an ioctl.
_SIZE_MASK = 0x3FFF
_NOTIFICATION = 80
_RECV, _SEND, _ID_VALID, _ADD, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103, 0x40082104
_CONTINUE, _SETFD, _ADD_AND_SEND = 1, 1, 2
_IN, _OUT = int(PollEvents.IN | PollEvents.RDNORM), int(PollEvents.OUT | PollEvents.WRNORM)
_HUP = int(PollEvents.HUP)
_CLOEXEC = int(OpenFlags.CLOEXEC)


class State(IntEnum):
    """Of a notification."""

    INIT = 0
    SENT = 1
    REPLIED = 2


class Notification:
    """A call about which the listener is to decide."""

    def __init__(self, number: int, task: Task, data: bytes) -> None:
        self.number, self.task, self.data = number, task, data
        self.state = State.INIT
        self.value = self.error = self.flags = 0
        self.answered = WaitQueue()

    @property
    def done(self) -> bool:
        """Whether there is an answer."""
        return self.state == State.REPLIED

    def answer(self, value: int, error: int = 0, flags: int = 0) -> None:
        """What becomes of the call."""
        self.value, self.error, self.flags = value, error, flags
        self.state = State.REPLIED
        self.answered.wake_all()


class Listener(AnonFile):
    """The descriptor.  ``users`` says whether a task still has the filter."""

    def __init__(
        self, path: Path, random: Random, users: Callable[[Listener], bool], *, killable: bool = False
    ) -> None:  # fmt: skip
        """``killable``: once it has heard of a call, only SIGKILL ends the wait (WAIT_KILLABLE_RECV)."""
        super().__init__(path, int(OpenFlags.RDWR))
        self._next = random.getrandbits(63)
        self._users = users
        self._killable = killable
        self._waiting: list[Notification] = []
        self._changed = WaitQueue()
        self.closed = False

    def add(self, task: Task, data: bytes) -> Notification:
        """A call waits for an answer."""
        made = Notification(self._next, task, data)
        self._next += 1
        self._waiting.append(made)
        self._changed.wake_all(_IN)
        return made

    def remove(self, notification: Notification) -> None:
        """The call is answered, or does not wait any more."""
        self._waiting.remove(notification)

    def task_ended(self) -> None:
        """Perhaps nobody has the filter any more."""
        self._changed.wake_all(_HUP)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        states = {notification.state for notification in self._waiting}
        mask = (_IN if State.INIT in states else 0) | (_OUT if State.SENT in states else 0)
        return mask | (0 if self._users(self) else _HUP), (self._changed,)

    def release(self) -> None:
        self.closed = True
        for notification in self._waiting:
            if notification.state != State.REPLIED:
                notification.answer(0, -errno.ENOSYS)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command == _RECV:
            return self._receive(caller, argument)
        if command == _SEND:
            number, value, error, flags = _RESPONSE.unpack(caller.mm.read(argument, _RESPONSE.size))
            return self._send(number, value, error, flags)
        if command == _ID_VALID:
            number = int.from_bytes(caller.mm.read(argument, 8), "little")
            if self._find(number).state != State.SENT:
                raise LinuxError(errno.ENOENT)
            return 0
        size = command >> 16 & _SIZE_MASK
        if command & 0xFFFF == _ADD & 0xFFFF:  # of any size and direction (EA_IOCTL)
            return self._add_fd(caller, argument, size)
        if command == _SET_FLAGS:  # SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: who is woken, and where, is the same here
            if argument & ~1:
                raise LinuxError(errno.EINVAL)
            return 0
        raise LinuxError(errno.EINVAL)

    def _find(self, number: int) -> Notification:
        for notification in self._waiting:
            if notification.number == number:
                return notification
        raise LinuxError(errno.ENOENT)

    def _receive(self, caller: Caller[Path], address: int) -> int:
        if any(caller.mm.read(address, _NOTIFICATION)):
            raise LinuxError(errno.EINVAL)
        found = next((one for one in self._waiting if one.state == State.INIT), None)
        if found is None:
            if not self._users(self):
                raise LinuxError(errno.ENOENT)
            raise WouldBlock(self._changed)
        caller.mm.write(address, _HEAD.pack(found.number, caller.sees(found.task.pid), 0) + found.data)
        found.state = State.SENT
        found.task.killable = self._killable
        self._changed.wake_all(_OUT)
        return 0

    def _send(self, number: int, value: int, error: int, flags: int) -> int:
        if flags & ~_CONTINUE or (flags & _CONTINUE and (value or error)):
            raise LinuxError(errno.EINVAL)
        notification = self._find(number)
        if notification.state != State.SENT:
            raise LinuxError(errno.EINPROGRESS)
        notification.answer(value, error, flags)
        return 0

    def _add_fd(self, caller: Caller[Path], address: int, size: int) -> int:
        """SECCOMP_IOCTL_NOTIF_ADDFD: a descriptor of the listener's for the task that waits."""
        number, flags, source, new, new_flags = _ADDFD.read_sized(caller.mm, address, size)
        if new_flags & ~_CLOEXEC or flags & ~(_SETFD | _ADD_AND_SEND) or (new and not flags & _SETFD):
            raise LinuxError(errno.EINVAL)
        file = task_of(caller).files.get_any(source)
        notification = self._find(number)
        if notification.state != State.SENT:
            raise LinuxError(errno.EINPROGRESS)
        files = notification.task.files
        if flags & _SETFD:
            if not 0 <= new < files.limit:
                raise LinuxError(errno.EBADF)
            if new in iter(files):
                files.close(new)
            fd = files.open(file.get(), bool(new_flags), new)
        else:
            fd = files.open(file.get(), bool(new_flags))
        if flags & _ADD_AND_SEND:
            notification.answer(fd)
        return fd


def notified(
    task: Task, listener: Listener, data: bytes, call: Callable[[], Result]
) -> Generator[Any, None, int]:  # fmt: skip
    """A call that waits for what the listener says; ``call`` makes it if that is SECCOMP_USER_NOTIF_FLAG_CONTINUE."""
    notification = listener.add(task, data)
    try:
        while not notification.done:
            try:
                yield notification.answered
            except Interrupted:
                if notification.done:
                    break
                action = task.signals.first_caught()
                if action is None or action.flags & SaFlags.RESTART:
                    raise NoIntr from None
                raise LinuxError(errno.EINTR) from None
    finally:
        listener.remove(notification)
        task.killable = False
    if not notification.flags & _CONTINUE:
        return notification.error or notification.value
    result = call()
    if not isinstance(result, int):
        result = yield from result
    return result or 0
