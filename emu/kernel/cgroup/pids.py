"""The controller of the number of tasks (kernel/cgroup/pids.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable

from emu.kernel.cgroup.group import State
from emu.kernel.cgroup.numbers import integer
from emu.linux.errors import LinuxError

#: PIDS_MAX.
NO_LIMIT = (1 << 22) + 1


class Pids(State):
    """How many tasks a group has, those below included; zombies count until they are waited for."""

    def __init__(self, above: State | None) -> None:
        assert above is None or isinstance(above, Pids)
        self.above: Pids | None = above
        self.limit = NO_LIMIT
        self.number = self.peak = 0
        self.max_events = self.local_max_events = self.local_failed = 0
        self.on_change: Callable[[str], None] = lambda name: None

    @property
    def in_use(self) -> bool:
        return self.number > 0

    def offline(self) -> None:
        pass

    def take_over(self, source: State, task: object) -> None:
        assert isinstance(source, Pids)
        self.charge()
        source.uncharge()

    def charge(self) -> None:
        """One task more, whatever the limit is."""
        state: Pids | None = self
        while state is not None and state.above is not None:  # the root does not count
            state.number += 1
            state.peak = max(state.peak, state.number)
            state = state.above

    def try_charge(self) -> None:
        """One task more by fork.  LinuxError(EAGAIN)."""
        state: Pids | None = self
        while state is not None and state.above is not None:
            if state.number >= state.limit:
                self._rejected(state)
                raise LinuxError(errno.EAGAIN)
            state = state.above
        self.charge()

    def _rejected(self, over: Pids) -> None:
        """pids_event()."""
        self.local_failed += 1
        over.local_max_events += 1
        over.on_change("pids.events.local")
        state: Pids | None = over
        while state is not None and state.above is not None:
            state.max_events += 1
            state.on_change("pids.events")
            state = state.above

    def uncharge(self) -> None:
        """One task less."""
        state: Pids | None = self
        while state is not None and state.above is not None:
            state.number -= 1
            assert state.number >= 0, "Pids.uncharge: fewer tasks than none"
            state = state.above

    def set_limit(self, text: str) -> None:
        """pids.max.  LinuxError(EINVAL, ERANGE)."""
        if text == "max":
            self.limit = NO_LIMIT
            return
        value = integer(text, -1 << 63, (1 << 63) - 1)
        if not 0 <= value < NO_LIMIT:
            raise LinuxError(errno.EINVAL)
        self.limit = value
