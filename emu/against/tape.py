"""What the machine gave a program of its own accord, random bytes and times, so that Linux can give it the same: then
names of temporary files, orders of hashed sets and dates are no differences.
"""

from __future__ import annotations

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
#: The calls of the stat family: which argument is the buffer, where the times in it begin, and how long they are.
_STATS = {4: (1, 72, 48), 5: (1, 72, 48), 6: (1, 72, 48), 262: (2, 72, 48), 332: (4, 64, 64)}
FILE_TIMES = "times of a file"


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
        at, offset, length = _STATS[number]
        return Given((FILE_TIMES, crc32(repr(record.given).encode())), values[at] + offset, length)
    if number == _TIME:
        return Given(("time", 0), values[0], 8)
    return None


def times_of_run(theirs: bytes, ours: bytes, started_ns: int) -> bytes:
    """The times of a file (seconds and nanoseconds of each): of those that both runs have made, the machine's."""
    if len(ours) != len(theirs):
        return theirs
    pairs = [(theirs[at : at + _TWO_LONGS], ours[at : at + _TWO_LONGS]) for at in range(0, len(ours), _TWO_LONGS)]
    return b"".join(b if min(_seconds(a), _seconds(b)) >= started_ns // 1_000_000_000 else a for a, b in pairs)


def _seconds(time: bytes) -> int:
    return int.from_bytes(time[:8], "little", signed=True)


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
