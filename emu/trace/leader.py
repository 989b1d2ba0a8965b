"""What a line of strace's begins with: the process, where there are several, and the time."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.linux.clock import Clock

_NS = 1_000_000_000
_DAY = 24 * 60 * 60


class Pids(Enum):
    """Which lines begin with the number of their process."""

    #: ``[pid N]`` while there are several processes: on a terminal.
    WHILE_SEVERAL = "several"
    #: All, as in the file of -o.
    ALWAYS = "always"


class Stamp(Enum):
    """The time at which a line begins (-t, -tt, -ttt), by CLOCK_REALTIME of the machine."""

    NONE = 0
    SECONDS = 1
    MICROSECONDS = 2
    EPOCH = 3


class Leader:
    """Begins lines; counts the processes that there are."""

    def __init__(
        self, clock: Clock, *, pids: Pids = Pids.WHILE_SEVERAL, stamp: Stamp = Stamp.NONE, relative: bool = False
    ) -> None:
        """``relative``: each line has the time since the one before it (-r)."""
        self._clock = clock
        self._pids = pids
        self._stamp = stamp
        self._relative = relative
        self._before: int | None = None
        self._plain = stamp is Stamp.NONE and not relative
        #: How many processes and threads there are.
        self.processes = 1

    @property
    def tells_new_processes(self) -> bool:
        """Whether a line says that there is a new process."""
        return self._pids is Pids.WHILE_SEVERAL

    def begin(self, pid: int) -> str:
        """The beginning of a line that is about a process and begins now."""
        if self._plain:
            return self._process(pid)
        return self._process(pid) + self._absolute() + self._since()

    def _process(self, pid: int) -> str:
        if self._pids is Pids.ALWAYS:
            return f"{pid:<5} "
        return f"[pid {pid:5}] " if self.processes > 1 else ""

    def _absolute(self) -> str:
        if self._stamp is Stamp.NONE:
            return ""
        seconds, ns = divmod(self._clock.realtime_ns(), _NS)
        if self._stamp is Stamp.EPOCH:
            return f"{seconds}.{ns // 1000:06} "
        minutes, second = divmod(seconds % _DAY, 60)
        time = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
        return f"{time} " if self._stamp is Stamp.SECONDS else f"{time}.{ns // 1000:06} "

    def _since(self) -> str:
        if not self._relative:
            return ""
        now = self._clock.now_ns()
        passed = 0 if self._before is None else now - self._before
        self._before = now
        text = f"{passed // _NS:6}.{passed % _NS // 1000:06}"
        return f"{text} " if self._stamp is Stamp.NONE else f"(+{text}) "
