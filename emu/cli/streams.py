"""The host's standard streams as the guest's, and stopping a run from outside (Ctrl-C, SIGTERM, a time limit)."""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import stat
import time
from collections.abc import Callable
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, NoReturn, TextIO

from emu.cli.messages import complain
from emu.linux.errors import LinuxError

#: How often it is looked whether the run is to end while nobody reads.
_PAUSE_MS = 50


class Cause(Enum):
    """Why a run was stopped from outside."""

    INTERRUPT = "interrupted"
    TERMINATE = "terminated"
    TIMEOUT = "time limit"


class Stopped(Exception):
    """The run was stopped while the guest waited for the host: for input, or for a reader of its output."""


class Stopper:
    """Notes the signals that end a run; the machine, which is told, stops between two instructions.

    A second Ctrl-C is an ordinary KeyboardInterrupt.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self.cause: Cause | None = None
        #: Told when the run is to end.
        self.on_stop: Callable[[], object] = lambda: None
        #: What the guest does that has to wait for the host.
        self.doing = "reads its input"
        self._timeout_s = timeout_s
        #: When the time limit ends, and when the run was stopped, by time.monotonic().
        self._limit: float | None = None
        self._stopped: float | None = None
        self._reading = False
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
            if self.cause is None:
                self.cause, self._stopped = cause, time.monotonic()
                self.on_stop()
            if self._reading:  # the host's read would otherwise go on (PEP 475)
                raise Stopped

        return handler

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

    def read(self, function: Callable[[int], bytes | None], count: int) -> bytes | None:
        """``function(count)``, ended by :class:`Stopped` if the run is."""
        self._reading = True
        try:
            if self.cause is not None:
                raise Stopped
            return function(count)
        finally:
            self._reading = False


class HostInput:
    """The host's stdin, for the guest to read.  A stream that is closed or cannot be read is at its end."""

    def __init__(self, stream: TextIO | None, stopper: Stopper) -> None:
        self._stream: Any = None if stream is None else stream.buffer
        self._stopper = stopper

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and bool(self._stream.isatty())

    def read(self, count: int) -> bytes | None:
        """Up to ``count`` bytes."""
        return self._receive("read", count)

    def readline(self, count: int) -> bytes | None:
        """One line, or as much of it as fits."""
        return self._receive("readline", count)

    def _receive(self, method: str, count: int) -> bytes | None:
        if self._stream is None:
            return b""
        try:
            return self._stopper.read(getattr(self._stream, method), count)
        except OSError as error:  # for instance a directory: the guest gets what it would get natively
            raise LinuxError(error.errno or errno.EIO) from None


class HostOutput:
    """The host's stdout or stderr, for the guest to write to, at once and unbuffered.

    What fails there (closed, disk full) is the guest's error, as it would be natively, and is reported once on stderr.
    """

    def __init__(self, stream: TextIO | None, name: str, stopper: Stopper) -> None:
        self._stream = stream
        self._name = name
        self._stopper = stopper
        self._complained = False

    def __call__(self, data: bytes) -> None:
        if self._stream is None:
            self._fail(errno.EBADF, "is closed")
        try:
            self._stream.flush()
            fd, view = self._stream.fileno(), memoryview(data)
            while view:
                view = view[self._write(fd, view) :]
        except BrokenPipeError:
            raise  # SIGPIPE for the guest, which says it all
        except OSError as error:
            self._fail(error.errno or errno.EIO, f"cannot be written: {error.strerror}")

    def _write(self, fd: int, view: memoryview) -> int:
        """Write some of it.  :class:`Stopped` if the run is to end while nobody reads."""
        while not self._stopper.waits_for_reader(fd):
            if self._stopper.cause is not None:
                self._stopper.doing = "writes its output"
                raise Stopped
        return os.write(fd, view[: select.PIPE_BUF])

    def _fail(self, number: int, why: str) -> NoReturn:
        if not self._complained:
            self._complained = True
            complain(f"unimmu run: {self._name} {why}")
        raise LinuxError(number)
