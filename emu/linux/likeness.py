"""How two values of one kind compare when a program has run twice: in the machine, and on Linux itself.

Each type of argument says which of these holds for its values (:mod:`emu.linux.argument`, :mod:`emu.linux.layout`), and
each result too (:class:`emu.linux.syscall.Returned`).  This is the whole list of what is made the same before it is
compared.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Likeness(Enum):
    """What it takes for two values to be the same; the text is for docs/against-host.md."""

    EXACT = "the same number, flags or bytes"
    TASK = "the same process or thread: the n-th that its maker has made; a number that nobody has is itself"
    MAPPED = "the same offset in the same mapping: program, heap, or the n-th that a thread has made since execve"
    PLACE = "an address on both sides, or NULL on both"
    WAIT = "a time to wait on both sides, or none, or for ever"
    WHEN = "the same time if it lies before the start; or on both sides a time of the run"
    OWNER = "the same user or group; not compared where unimmu is not root, since Linux then knows one user only"
    FREE = "not compared: times, inode and device numbers, free memory, load, random bytes"


class Part(NamedTuple):
    """A piece of what a call is given or has got: a number, or bytes."""

    name: str
    likeness: Likeness
    value: int | bytes
    #: Of a socket: an address or a control message, which goes beside the bytes.
    beside: bool = False
