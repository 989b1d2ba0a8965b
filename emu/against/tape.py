"""What the machine gave a program of its own accord, random bytes and times, so that Linux can give it the same: then
names of temporary files, orders of hashed sets and dates are no differences.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

from emu.against.record import Flow, Record, TaskName

#: What is given, and of which clock.
Key = tuple[str, int]
RANDOM: Key = ("random", 0)
#: The names in a directory, in their order.
ENTRIES: Key = ("entries", 0)

_READ, _PREAD, _GETDENTS64, _GETRANDOM = 0, 17, 217, 318
_GETTIMEOFDAY, _TIME, _CLOCK_GETTIME = 96, 201, 228
_TWO_LONGS = 16
ATTRIBUTES = "attributes of a file"


class _Attributes(NamedTuple):
    """Where a structure has what is an accident of a run: offset and length of each field."""

    size: int
    mode: int
    #: Numbers of the device and the inode.
    identity: tuple[tuple[int, int], ...]
    #: Of a directory: how many links it has, its size, and the blocks that it takes.
    directory: tuple[tuple[int, int], ...]
    times: tuple[int, ...]


_STAT = _Attributes(144, 24, ((0, 16),), ((16, 8), (48, 8), (64, 8)), (72, 88, 104))
_STATX = _Attributes(256, 28, ((32, 8), (136, 8)), ((16, 4), (40, 16)), (64, 80, 96, 112))
#: The calls of the stat family: which argument is the buffer, and what is in it.
_STATS = {4: (1, _STAT), 5: (1, _STAT), 6: (1, _STAT), 262: (2, _STAT), 332: (4, _STATX)}


class Given(NamedTuple):
    """Something that a call gave: what, and where it lies in the memory of the program (0: only in the result)."""

    key: Key
    address: int
    length: int


def given_by(number: int, values: tuple[int, ...], result: int, record: Record) -> Given | None:
    """What a call with these arguments and this result gave; None if nothing of this kind."""
    flow = record.flow
    if result < 0:
        return None
    if number == _GETRANDOM:
        return Given(RANDOM, values[0], result)
    if flow is Flow.RANDOM and number in (_READ, _PREAD):
        return Given(RANDOM, values[1], result)
    if number == _CLOCK_GETTIME:
        return Given(("clock", values[0]), values[1], _TWO_LONGS)
    if number == _GETTIMEOFDAY and values[0]:
        return Given(("timeofday", 0), values[0], _TWO_LONGS)
    if number == _GETDENTS64 and flow is not Flow.FIGURES:
        return Given(ENTRIES, values[1], result)
    if number in _STATS:
        at, kind = _STATS[number]
        return Given((ATTRIBUTES, crc32(repr(record.given).encode())), values[at], kind.size)
    if number == _TIME:
        return Given(("time", 0), values[0], 8)
    return None


def same_attributes(theirs: bytes, ours: bytes, started_ns: int) -> bytes:
    """The attributes of a file on Linux, with what is an accident there as the machine has it: numbers of devices and
    inodes, what a directory takes, and times that both runs have made.
    """
    if len(ours) != len(theirs):
        return theirs
    kind = _STAT if len(ours) == _STAT.size else _STATX
    found = bytearray(theirs)
    mode = int.from_bytes(theirs[kind.mode : kind.mode + 2], "little")
    directory, started = stat.S_ISDIR(mode), started_ns // 1_000_000_000
    for offset, length in kind.identity + (kind.directory if directory else ()):
        found[offset : offset + length] = ours[offset : offset + length]
    for at in kind.times:  # directories have been made to set the tree up
        if _seconds(theirs, at) >= started and (directory or _seconds(ours, at) >= started):
            found[at : at + _TWO_LONGS] = ours[at : at + _TWO_LONGS]
    return bytes(found)


def _seconds(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little", signed=True)


class Tape:
    """What each task was given, in order."""

    def __init__(self) -> None:
        self._given: dict[TaskName, dict[Key, deque[bytes]]] = {}
        #: The sixteen bytes of AT_RANDOM of each program that a task has started.
        self._at_random: dict[TaskName, deque[bytes]] = {}

    def keep(self, task: TaskName, key: Key, data: bytes) -> None:
        """The machine has given this."""
        self._given.setdefault(task, {}).setdefault(key, deque()).append(data)

    def keep_at_random(self, task: TaskName, data: bytes) -> None:
        """The machine has started a program with these bytes."""
        self._at_random.setdefault(task, deque()).append(data)

    def next(self, task: TaskName, key: Key) -> bytes | None:
        """What the task was given next; None if it asks more often than it did in the machine."""
        return _first(self._given.get(task, {}), key)

    def next_at_random(self, task: TaskName) -> bytes | None:
        """The bytes of AT_RANDOM of the next program."""
        return _first(self._at_random, task)


def _first(queues: Mapping[Any, deque[bytes]], key: Any) -> bytes | None:
    queue = queues.get(key)
    return queue.popleft() if queue else None
