"""What a system-call module declares: number, name, handler and how to print the arguments."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from emu.linux.wait import WaitQueue

#: What a handler gives: a result (>= 0), or a generator that yields what it waits for and returns the result.
Result = int | Generator["WaitQueue | tuple[WaitQueue | None, int | None]", None, int]


class StructWords(NamedTuple):
    """How to print a structure that an argument points at: its layout (as the struct module writes it), and the name
    and kind of each field.  Kinds are those of arguments.
    """

    layout: str
    fields: tuple[tuple[str, str], ...]


class IoctlWords(NamedTuple):
    """How to print an ioctl of one kind of file: the command's name, and what its argument points at."""

    name: str
    argument: StructWords | None = None
    #: The call writes the structure, rather than reads it.
    written: bool = False


class Syscall(NamedTuple):
    """One system call (numbers: arch/x86/entry/syscalls/syscall_64.tbl)."""

    number: int
    name: str
    handler: Callable[..., Any]
    arguments: tuple[str | StructWords, ...] = ()
    #: The result is an address, for who prints it.
    gives_address: bool = False


def s32(value: int) -> int:
    """The low 32 bits as a C ``int``."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def s64(value: int) -> int:
    """64 bits as a C ``long``."""
    return value - (1 << 64) if value >> 63 else value
