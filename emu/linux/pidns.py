"""PID namespaces: numbers of processes as those inside see them (kernel/pid_namespace.c, pid_namespaces(7)).

Everything in this kernel goes by the machine's numbers.  A task in a namespace gives and gets numbers of that namespace
where a call takes or returns one; :meth:`PidNamespace.find` and :meth:`PidNamespace.shown` are between the two.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from emu.linux.errors import LinuxError
from emu.linux.namespace import Namespace, UserNamespace

#: Numbers begin again from here, and end before the other (RESERVED_PIDS, PID_MAX_LIMIT).
_RESERVED, PID_MAX = 300, 1 << 22
#: What a number means that nothing has: more than any task's.
NOBODY = 1 << 24


class PidNamespace(Namespace):
    """A PID namespace besides the initial one.  ``in_use``: whether something has a number of the machine's."""

    parent: PidNamespace | None

    def __init__(
        self, parent: PidNamespace | None, user: UserNamespace | None, in_use: Callable[[int], bool]
    ) -> None:  # fmt: skip
        super().__init__("pid", user)
        self.parent = parent
        self.level: int = 1 if parent is None else parent.level + 1
        #: Whether it has had number 1, which adopts orphans; when that ends all end, and no more can be
        #: made.
        self.begun = self.ended = False
        #: What wait(2) tells of its first process after reboot(2).
        self.reboot = 0
        self._in_use = in_use
        self._last = 0
        self._machine: dict[int, int] = {}
        self._here: dict[int, int] = {}

    def find(self, number: int) -> int:
        """The machine's number for one that is given here; of process groups (negative ones) likewise."""
        if number in (0, -1):
            return number
        found = self._machine.get(abs(number), NOBODY)
        return found if number > 0 else -found

    def shown(self, number: int) -> int:
        """The number here of what has the machine's ``number``; 0: it is not here."""
        return self._here.get(number, 0)

    @property
    def around(self) -> Iterator[PidNamespace]:
        """It and those that it is in, but for the initial one."""
        space: PidNamespace | None = self
        while space is not None:
            yield space
            space = space.parent

    # -- numbers ---------------------------------------------------------------------------------------------------

    def choose(self, wanted: int | None, who_may: Callable[[UserNamespace | None], bool]) -> int:
        """A number for a new task, ``wanted`` if given (alloc_pid).  LinuxError(EINVAL, EPERM, EEXIST, EAGAIN)."""
        if wanted is not None:
            if not 1 <= wanted < PID_MAX or (wanted != 1 and not self.begun):
                raise LinuxError(errno.EINVAL)
            if not who_may(self.user):
                raise LinuxError(errno.EPERM)
            if self._taken(wanted):
                raise LinuxError(errno.EEXIST)
            return wanted
        number = self._last + 1
        for _ in range(PID_MAX):
            if number >= PID_MAX:
                number = _RESERVED
            if not self._taken(number):
                return number
            number += 1
        raise LinuxError(errno.EAGAIN)

    def _taken(self, number: int) -> bool:
        machine = self._machine.get(number)
        if machine is not None and not self._in_use(machine):
            self.forget(machine)
            return False
        return machine is not None

    def add(self, number: int, machine: int, *, chosen: bool) -> None:
        """A task has a number here; ``chosen``: its maker wanted this one."""
        self._machine[number], self._here[machine] = machine, number
        if not chosen:
            self._last = number

    def forget(self, machine: int) -> None:
        """Nothing has the machine's number any more."""
        number = self._here.pop(machine, None)
        if number is not None:
            del self._machine[number]
