"""DR0 to DR7 of a traced task: breakpoints and watchpoints (SDM vol. 3, 19.2; arch/x86/kernel/hw_breakpoint.c).

A task with one of them runs instruction by instruction.  A watchpoint is hit where an instruction has changed what it
watches, which is less than a CPU notices: that also tells of stores that change nothing, and of reads.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from emu.linux.errors import LinuxError

#: DR6 without a bit of what happened, and the bit of a single step.
_DR6_NONE, _DR6_STEP = 0xFFFF_0FF0, 0x4000
_DR6, _DR7, _BREAKPOINTS = 6, 7, 4
#: Bits of DR7 that are not there.
_DR7_RESERVED = 0xFFFF_FFFF_0000_DC00
#: By its field LEN.
_LENGTHS = (1, 2, 8, 4)

Read = Callable[[int, int], bytes]


class Access(IntEnum):
    """The field R/W of a breakpoint."""

    EXECUTE = 0
    WRITE = 1
    IO = 2
    READ_OR_WRITE = 3


class Breakpoint(NamedTuple):
    """One that is enabled."""

    number: int
    access: int
    address: int
    length: int


class DebugRegisters:
    """The registers of one task."""

    def __init__(self) -> None:
        self._values = [0, 0, 0, 0, 0, 0, _DR6_NONE, 0]
        self._enabled: list[Breakpoint] = []
        self._before: list[bytes] = []
        #: Where a breakpoint was hit: the instruction there runs then (RFLAGS.RF).
        self._passed: int | None = None

    @property
    def active(self) -> bool:
        """Whether any breakpoint is enabled."""
        return bool(self._enabled)

    def __getitem__(self, number: int) -> int:
        return self._values[number]

    def set(self, number: int, value: int, task_size: int) -> None:
        """Set a register.  LinuxError(EIO) for one that is not there, (EINVAL), (ENOSPC) for what is not supported."""
        if number in (4, 5):
            raise LinuxError(errno.EIO)
        if number < _BREAKPOINTS and value >= task_size:
            raise LinuxError(errno.EINVAL)
        if number == _DR7:
            value &= ~_DR7_RESERVED
        values = list(self._values)
        values[number] = value
        if number != _DR6:
            self._enabled = [breakpoint for at in range(_BREAKPOINTS) if (breakpoint := _enabled(values, at))]
        self._values = values

    def clear(self) -> None:
        """A new program starts without (flush_ptrace_hw_breakpoint)."""
        self._values, self._enabled, self._passed = [0, 0, 0, 0, 0, 0, _DR6_NONE, 0], [], None

    def breaks_at(self, rip: int) -> bool:
        """Whether the instruction at an address has a breakpoint: it is hit, unless it was already."""
        hit = [each for each in self._enabled if each.access == Access.EXECUTE and each.address == rip]
        if not hit or self._passed == rip:
            return False
        self._passed = rip
        self._tell(hit)
        return True

    def look(self, read: Read) -> None:
        """An instruction is about to run."""
        self._before = [read(each.address, each.length) for each in self._watched()]

    def stepped(self, read: Read, *, stepping: bool) -> bool:
        """It has run: whether a watchpoint was hit."""
        self._passed = None
        pairs = zip(self._watched(), self._before, strict=False)
        hit = [each for each, before in pairs if read(each.address, each.length) != before]
        self._tell(hit, _DR6_STEP if stepping else 0)
        return bool(hit)

    def _watched(self) -> list[Breakpoint]:
        return [each for each in self._enabled if each.access == Access.WRITE]

    def _tell(self, hit: list[Breakpoint], more: int = 0) -> None:
        if hit or more:
            self._values[_DR6] = _DR6_NONE | more | sum(1 << each.number for each in hit)


def _enabled(values: list[int], number: int) -> Breakpoint | None:
    """The breakpoint of an address register, if DR7 enables it (ptrace_write_dr7).  LinuxError(EINVAL), (ENOSPC)."""
    control = values[_DR7]
    if not control >> 2 * number & 3:
        return None
    access, length = control >> 16 + 4 * number & 3, _LENGTHS[control >> 18 + 4 * number & 3]
    address = values[number]
    if access == Access.IO or address % length or (access == Access.EXECUTE and length != 1):
        raise LinuxError(errno.EINVAL)
    if access == Access.READ_OR_WRITE:
        raise LinuxError(errno.ENOSPC)
    return Breakpoint(number, access, address, length)
