"""What a system-call module declares: number, name, handler and how to print the arguments."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from emu.kernel.wait import WaitQueue

#: What a handler gives: a result (>= 0), or a generator that yields what it waits for and returns the result.
Result = int | Generator["WaitQueue | tuple[WaitQueue | None, int | None]", None, int]


class Syscall(NamedTuple):
    """One system call (numbers: arch/x86/entry/syscalls/syscall_64.tbl)."""

    number: int
    name: str
    handler: Callable[..., Any]
    arguments: tuple[str, ...] = ()


def s32(value: int) -> int:
    """The low 32 bits as a C ``int``."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def s64(value: int) -> int:
    """64 bits as a C ``long``."""
    return value - (1 << 64) if value >> 63 else value
