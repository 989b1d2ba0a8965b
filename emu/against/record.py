"""What is kept of a run: a record for each call, signal and end of each task, in which numbers that are accidents of a
run have been replaced by what they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

#: A task by its ancestry: () is the first, (0,) the first that it has made, (0, 2) the third of that one.
TaskName = tuple[int, ...]
#: Names of values, and the values.
Seen = tuple[tuple[str, object], ...]


class Where(NamedTuple):
    """A place in a program's code: a file and the offset in it ("": unknown, the address itself)."""

    file: str
    offset: int


_NOWHERE = Where("", 0)


class Kind(Enum):
    """What a record is about."""

    CALL = "call"
    SIGNAL = "signal"
    END = "end"


class Flow(Enum):
    """What moves through the descriptor that a call is about."""

    NONE = "nothing is known of it, or it is a file"
    STREAM = "a pipe, a socket, a terminal: in how many pieces the bytes come depends on who runs when"
    FIGURES = "/proc and /sys: the kernel's own figures, which are not compared"
    RANDOM = "/dev/random and /dev/urandom"


@dataclass(slots=True)
class Record:
    """One call, one signal that was delivered, or the end of a task."""

    kind: Kind
    #: The call's, the signal's.
    name: str
    #: The call as strace prints it, without its result; a signal or an end as strace prints it.
    text: str
    #: In the order of the run.
    serial: int
    number: int = -1
    #: The result as strace prints it.
    shown: str = ""
    #: Its errno; 0 if it has not failed.
    failed: int = 0
    #: What it was given, what it returned, and what it wrote.
    given: Seen = ()
    result: object = None
    got: Seen = ()
    where: Where = _NOWHERE
    flow: Flow = Flow.NONE
    #: Whether it may wait for others.
    waits: bool = False
    #: Of a STREAM: its descriptor, and the bytes that moved (None: more than are kept).
    fd: int = -1
    data: bytes | None = b""
    #: Addresses and control messages that came or went with them.
    beside: bytes = b""
    #: The task that it made.
    made: TaskName | None = None

    @property
    def line(self) -> str:
        """As strace prints it."""
        return f"{self.text} = {self.shown}" if self.kind is Kind.CALL else self.text


@dataclass
class TaskRecords:
    """What one task has done."""

    name: TaskName
    pid: int
    #: The name of its program.
    program: str = ""
    records: list[Record] = field(default_factory=list)
    #: Whether its process had other threads at any time.
    threaded: bool = False
    #: The status with which it ended, as wait4 gives it; None: it has not.
    status: int | None = None
    #: What random bytes, times and directories it was given, for the other run.
    taken: list[bytes] = field(default_factory=list)


@dataclass
class Run:
    """A whole run: the tasks, and how it ended."""

    tasks: dict[TaskName, TaskRecords] = field(default_factory=dict)
    stdout: bytes = b""
    stderr: bytes = b""
    #: Why it did not go to its end: "" if it did.
    cut: str = ""
