"""The host's standard streams as the guest's, and stopping a run from outside (Ctrl-C, SIGTERM, a time limit)."""

from __future__ import annotations

import math
import os
import select
import signal
import stat
import time
from collections.abc import Callable
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, TextIO

from emu.cli.messages import complain
from emu.fs.hostfile import HostDescriptor
from emu.linux.errors import NoIntr

#: How often it is looked whether the run is to end while nobody reads.
_PAUSE_MS = 50


class Cause(Enum):
    """Why a run was stopped from outside."""

    INTERRUPT = "interrupted"
    TERMINATE = "terminated"
    TIMEOUT = "time limit"


class Stopper:
    """Notes the signals that end a run; the machine, which is told, stops between two instructions.

    A second Ctrl-C is an ordinary KeyboardInterrupt.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self.cause: Cause | None = None
        #: Told when the run is to end.
        self.on_stop: Callable[[], object] = lambda: None
        #: Asked at a Ctrl-C whether it is the guest's.
        self.key: Callable[[], bool] | None = None
        self._timeout_s = timeout_s
        #: When the time limit ends, and when the run was stopped, by time.monotonic().
        self._limit: float | None = None
        self._stopped: float | None = None
        #: Whether something is done that the host may make wait.
        self.guarding = False
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """The time that the run may take begins."""
        if self._limit is None and self._timeout_s is not None:
            self._limit = time.monotonic() + self._timeout_s

    def seconds_left(self) -> float:
        """How long the run may still take; below 0 the seconds since it was stopped, or should have been."""
        ends = [end for end in (self._limit, self._stopped) if end is not None]
        return min(ends) - time.monotonic() if ends else math.inf

    def __enter__(self) -> Stopper:
        self.begin()
        causes = {signal.SIGINT: Cause.INTERRUPT, signal.SIGTERM: Cause.TERMINATE}
        if self._timeout_s is not None:
            causes[signal.SIGALRM] = Cause.TIMEOUT
        for number, cause in causes.items():
            self._before[number] = signal.signal(number, self._handler(cause))
        if self._timeout_s is not None:
            signal.setitimer(signal.ITIMER_REAL, max(self.seconds_left(), 1e-6))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._timeout_s is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handler(self, cause: Cause) -> Callable[[int, FrameType | None], None]:
        def handler(_number: int, _frame: FrameType | None) -> None:
            if self.cause is not None and cause != Cause.TIMEOUT:
                raise KeyboardInterrupt
            if self.cause is None and not (cause == Cause.INTERRUPT and self.key is not None and self.key()):
                self._stop(cause)
            if self.guarding and self.cause is not None:  # the host's call would otherwise go on (PEP 475)
                raise NoIntr

        return handler

    def _stop(self, cause: Cause) -> None:
        self.cause, self._stopped = cause, time.monotonic()
        self.on_stop()

    def interrupt(self) -> None:
        """The user wants the run to end."""
        if self.cause is None:
            self._stop(Cause.INTERRUPT)

    def waits_for_reader(self, fd: int, grace_s: float = 0.0) -> bool:
        """Wait until somebody reads what a pipe holds, and it takes PIPE_BUF bytes more; anything else always does.

        False if the run is to end, or ended ``grace_s`` seconds ago, and nobody does.
        """
        if fd < 0 or not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return True
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while True:
            late = self.seconds_left() <= -grace_s
            if poll.poll(0 if late else _PAUSE_MS):
                return True
            if late:
                return False

    def guard(self, function: Callable[..., Any], *arguments: object) -> Any:
        """``function(*arguments)``, which may have to wait for the host: ended by NoIntr if the run is."""
        self.guarding = True
        try:
            if self.cause is not None:
                raise NoIntr
            return function(*arguments)
        finally:
            self.guarding = False


def host_stream(stream: TextIO | None, name: str, stopper: Stopper) -> Any:
    """A standard stream as the guest's: its descriptor, or itself if it is none of the process's.

    A write that fails there (disk full) is the guest's error, as it would be natively, and is reported once on stderr.
    """
    complained: list[OSError] = []

    def failed(error: OSError) -> None:
        if not complained:
            complained.append(error)
            complain(f"unimmu run: {name} cannot be written: {error.strerror}")

    if stream is None:
        return HostDescriptor(None)
    try:
        fd = stream.fileno()
    except (OSError, ValueError):
        return stream.buffer
    before = stream.flush if stream.writable() else lambda: None
    return HostDescriptor(fd, guard=stopper.guard, before=before, failed=failed)
