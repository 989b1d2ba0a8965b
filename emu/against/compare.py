"""Where the records of two runs part.

Each task's own sequence is compared with that of the task of the same ancestry.  What depends on who runs when is
passed over by rule (docs/against-host.md lists the rules):

- calls that are there or not as others hold a lock, as the vdso answers, or as other threads have memory
  (:data:`OPTIONAL`, :data:`OF_THREADS`);
- of pipes, sockets and terminals the bytes are compared, not the pieces in which they come;
- which child a wait for any child finds;
- where in its task's sequence a signal comes that another one has sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EAGAIN, EPIPE, ESPIPE
from itertools import zip_longest
from signal import SIGKILL

from emu.against.record import Flow, Kind, Record, Run, TaskRecords

#: Calls that a program makes or not as others run, or as the kernel gives it a vdso.
OPTIONAL = frozenset({
    "futex", "sched_yield", "clock_gettime", "gettimeofday", "time", "getcpu", "clock_getres", "restart_syscall",
    "membarrier", "rseq",
})  # fmt: skip
#: The same in a process with several threads, where memory is shared and handed on.
OF_THREADS = frozenset(["mmap", "munmap", "mprotect", "madvise", "brk", "mremap", "set_robust_list"])
#: Calls that say what others have done so far.
_WATCHING = frozenset(["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"])
_WRITES = frozenset({"write", "writev", "pwrite64", "sendto", "sendmsg", "sendfile", "splice", "tee", "vmsplice"})
_WAITS = frozenset({"wait4", "waitid"})
#: In a task that waits for signals, or gets some: what it does about them depends on whether they have come.
_OF_SIGNALS = frozenset({"rt_sigprocmask", "rt_sigsuspend", "pause", "rt_sigtimedwait"})
#: How many calls before a difference are shown, how far apart the sides may be found again, and by how many calls.
_BEFORE, _APART, _ALIKE = 5, 64, 3
#: How many calls later the same call may come in a task that reads or writes a stream in other pieces.
_REORDERED = 8


@dataclass
class Difference:
    """``kind``: "result", "errno", "memory", "arguments", "call", "signal", "end", "bytes", "stdout", "stderr" or
    "time".
    """

    kind: str
    #: What differs, in a sentence.
    what: str
    task: TaskRecords | None = None
    guest: Record | None = None
    native: Record | None = None
    before: list[Record] = field(default_factory=list)

    @property
    def serial(self) -> int:
        """Its place in the machine's run."""
        return self.guest.serial if self.guest is not None else 1 << 62


@dataclass
class Comparison:
    """What came of it."""

    differences: list[Difference]
    #: How many calls were compared, and how many were passed over because they depend on who runs when.
    compared: int = 0
    passed: int = 0


def compare(guest: Run, native: Run, *, every: bool) -> Comparison:
    """Hold two runs against each other; ``every``: go on after a difference where the sides can be found again."""
    found = Comparison([])
    for name, ours in guest.tasks.items():
        theirs = native.tasks.get(name)
        if theirs is None:
            continue  # the call that made it differs
        pair = _Pair(ours, theirs, cut=bool(guest.cut or native.cut))
        found.differences += pair.differences(every)
        found.compared += pair.compared
        found.passed += pair.passed
    found.differences.sort(key=lambda difference: difference.serial)
    if not every:
        del found.differences[1:]
    found.differences += _at_the_end(guest, native)
    return found


def _at_the_end(guest: Run, native: Run) -> Iterator[Difference]:
    if bool(guest.cut) != bool(native.cut):
        yield Difference("time", f"the machine: {guest.cut or 'to its end'}; Linux: {native.cut or 'to its end'}")
    for kind, ours, theirs in (
        ("stdout", guest.stdout, native.stdout), ("stderr", guest.stderr, native.stderr),
    ):  # fmt: skip
        if ours != theirs and not (guest.cut or native.cut):
            at = next(n for n, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
            start = max(0, ours.rfind(b"\n", 0, at) + 1)
            said = f"from byte {at} on"
            yield Difference(kind, f"{said}: the machine {_shown(ours[start:])}, Linux {_shown(theirs[start:])}")


def _shown(data: bytes) -> str:
    return repr(data[:80])[1:] + ("..." if len(data) > 80 else "") if data else "nothing more"


class _Stream:
    """What has moved through a descriptor by one kind of call: of what was the same on both sides nothing is kept."""

    def __init__(self) -> None:
        self._last = [b"", b""]
        #: The bytes by which one side is ahead.
        self.rest = (bytearray(), bytearray())
        self.compared = True

    @property
    def differs(self) -> bool:
        """Whether both sides have bytes at one place, which differ."""
        return self.compared and all(self.rest)

    def add_once(self, side: int, data: bytes) -> None:
        """What may come with each piece."""
        if data != self._last[side]:
            self._last[side] = data
            self.add(side, data)

    def add(self, side: int, data: bytes | None) -> None:
        """More bytes have moved (None: too many to keep)."""
        if data is None:
            self.compared = False
        if not self.compared or not data:
            return
        ours, theirs = self.rest
        self.rest[side].extend(data)
        shared = min(len(ours), len(theirs))
        if ours[:shared] != theirs[:shared]:
            shared = next(n for n in range(shared) if ours[n] != theirs[n])
        del ours[:shared], theirs[:shared]


class _Pair:
    """One task of the machine, and the same one of Linux."""

    def __init__(self, guest: TaskRecords, native: TaskRecords, *, cut: bool) -> None:
        self.guest, self.native = guest, native
        self._cut = cut
        self._threaded = guest.threaded or native.threaded
        both = (*guest.records, *native.records)
        self._suspends = any(r.name in _OF_SIGNALS - {"rt_sigprocmask"} or _floats(r) for r in both)
        #: A signal from outside has ended both, or nobody reads what one writes: how far it comes is an accident.
        self._stops = _killed(guest) is not None and _killed(guest) == _killed(native)
        self._ours = _without_handlers(guest.records)
        self._theirs = _without_handlers(native.records)
        self._streams: dict[tuple[int, str], _Stream] = {}
        #: Where the bytes of a stream have parted, in words.
        self._apart = ""
        self.compared = self.passed = 0

    def differences(self, every: bool) -> list[Difference]:
        """The first difference, or every one that can be found."""
        found: list[Difference] = []
        at, to = 0, 0
        while True:
            at, to = self._same(at, to)
            if (at == len(self._ours) and to == len(self._theirs)) or self._unread(at, to) or self._stops:
                break
            difference = self._difference(at, to)
            if difference is None:
                break
            found.append(difference)
            again = self._found_again(at, to) if every else None
            if again is None:
                return found
            at, to = again
        return found + self._of_streams() + self._of_signals()

    def _same(self, at: int, to: int) -> tuple[int, int]:
        """Go on as long as both do the same; returns where they stop."""
        ours, theirs = self._ours, self._theirs
        while True:
            a = ours[at] if at < len(ours) else None
            b = theirs[to] if to < len(theirs) else None
            if a is not None and b is not None and self._even(a) and _same(a, b):
                self.compared += 1
                at, to = at + 1, to + 1
            elif a is not None and b is not None and self._alike(a, b):
                if not self._moved(a, b):
                    return at, to
                self.passed += 1
                at, to = at + 1, to + 1
            elif a is not None and self._may_be_passed(a):
                if not self._moved(a, None):
                    return at, to
                self.passed += 1
                at += 1
            elif b is not None and self._may_be_passed(b):
                if not self._moved(None, b):
                    return at, to
                to += 1
            elif a is None or not self._later(a, to):
                return at, to

    def _later(self, a: Record, to: int) -> bool:
        """Whether the other side makes a call a little later, since pieces of a stream have come otherwise: then it is
        as if it had made it here.
        """
        theirs = self._theirs
        if self._streams:
            for later in range(to + 1, min(to + _REORDERED, len(theirs))):
                if _same(a, theirs[later]):
                    theirs.insert(to, theirs.pop(later))
                    return True
        return False

    def _alike(self, a: Record, b: Record) -> bool:
        """Whether both make the same call, whose outcome depends on others."""
        if a.name != b.name or a.kind is not Kind.CALL:
            return False
        if a.name in _WAITS:
            return a.given == b.given and _of_any_child(a) and _no_error(a) and _no_error(b)
        return self._may_be_passed(a) and self._may_be_passed(b)

    def _may_be_passed(self, record: Record) -> bool:
        if record.kind is not Kind.CALL:
            return False
        if record.name in OPTIONAL or record.name in _WATCHING or (self._threaded and record.name in OF_THREADS):
            return True
        if record.name in _WAITS:
            return _of_any_child(record)
        if record.name in _OF_SIGNALS and self._suspends:
            return True
        if record.flow is Flow.FIGURES:
            return record.failed == 0  # as long as they are
        return record.flow is Flow.STREAM and record.failed in (0, EAGAIN, ESPIPE)

    def _unread(self, at: int, to: int) -> bool:
        """Whether nobody reads any more what the task writes, on one of the sides."""
        ends = self._ours[max(0, at - 1) : at + 1] + self._theirs[max(0, to - 1) : to + 1]
        self._stops = self._stops or any(record.failed == EPIPE or record.name == "SIGPIPE" for record in ends)
        return self._stops

    def _moved(self, a: Record | None, b: Record | None) -> bool:
        """Bytes move in calls of which the pieces are not compared, on one side or on both.  False if they differ; they
        are then not compared any more.
        """
        for record, side in ((a, 0), (b, 1)):
            if record is not None and record.flow is Flow.STREAM and record.fd >= 0:
                stream = self._streams.setdefault((record.fd, record.name), _Stream())
                stream.add(side, record.data)
                if record.beside:
                    name = f"{record.name}'s addresses and control messages"
                    self._streams.setdefault((record.fd, name), _Stream()).add_once(side, record.beside)
        for (fd, name), stream in self._streams.items():
            if stream.differs:
                ends = (_shown(bytes(rest)) for rest in stream.rest)
                self._apart = f"the bytes of {name} on descriptor {fd}: the machine {next(ends)}, Linux {next(ends)}"
                stream.compared = False
                return False
        return True

    def _even(self, record: Record) -> bool:
        """Whether as many bytes have moved on both sides before this call."""
        stream = self._streams.get((record.fd, record.name))
        return stream is None or not any(stream.rest)

    def _difference(self, at: int, to: int) -> Difference | None:
        a = self._ours[at] if at < len(self._ours) else None
        b = self._theirs[to] if to < len(self._theirs) else None
        before = self._ours[max(0, at - _BEFORE) : at]
        if a is None or b is None:
            if self._cut:
                return None
            who, more = ("Linux", b) if a is None else ("the machine", a)
            what = f"only {who} goes on: {more.line if more is not None else ''}"
            return Difference("call", what, self.guest, a, b, before)
        apart, self._apart = self._apart, ""
        if apart and not (_same_call(a, b) and _difference(a, b)):
            return Difference("bytes", apart, self.guest, a, b, before)
        if not _same_call(a, b):
            kind = "call" if Kind.CALL in (a.kind, b.kind) else "signal"
            return Difference(kind, "the program goes on in another way", self.guest, a, b, before)
        kind, what = _difference(a, b) or ("call", "")
        return Difference(kind, what, self.guest, a, b, before)

    def _found_again(self, at: int, to: int) -> tuple[int, int] | None:
        """Where both go on with the same calls; None if that is nowhere near."""
        ours, theirs = self._ours, self._theirs
        if at < len(ours) and to < len(theirs) and ours[at].name == theirs[to].name:
            return at + 1, to + 1
        for apart in range(1, _APART):
            for more in range(apart + 1):
                a, b = at + more, to + apart - more
                names = [record.name for record in ours[a : a + _ALIKE]]
                if len(names) == _ALIKE and names == [record.name for record in theirs[b : b + _ALIKE]]:
                    return a, b
        return None

    def _of_streams(self) -> list[Difference]:
        """Streams to which one side has written more; who reads may stop after any piece."""
        if self._cut or self._stops:
            return []
        return [
            Difference("bytes", f"only {who} goes on with {name} on descriptor {fd}: {_shown(bytes(rest))}", self.guest)
            for (fd, name), stream in self._streams.items()
            if stream.compared and name in _WRITES
            for who, rest in zip(("the machine", "Linux"), stream.rest, strict=True)
            if rest
        ]

    def _of_signals(self) -> list[Difference]:
        """Signals of others: whether they came at all; several that are pending are one."""
        if self._threaded or self._cut or self._stops:
            return []
        sets = [{r.name for r in task.records if _floats(r)} for task in (self.guest, self.native)]
        return [
            Difference("signal", f"only {who} delivers {name}", self.guest)
            for who, names in (("the machine", sets[0] - sets[1]), ("Linux", sets[1] - sets[0]))
            for name in sorted(names)
        ]


def _without_handlers(records: list[Record]) -> list[Record]:
    """What a task does of itself: without signals that come when they come, and what their handlers do."""
    found: list[Record] = []
    at = 0
    while at < len(records):
        if not _floats(records[at]):
            found.append(records[at])
            at += 1
            continue
        depth, end = 1, at + 1
        while end < len(records) and depth:
            record = records[end]
            depth += (record.kind is Kind.SIGNAL) - (record.name == "rt_sigreturn")
            end += 1
        at = at + 1 if depth else end  # a handler that never returns is all that follows
    return found


def _floats(record: Record) -> bool:
    """A signal that somebody else has sent, which comes when it comes."""
    return record.kind is Kind.SIGNAL and record.waits


def _killed(task: TaskRecords) -> str | None:
    """The signal of somebody else that has ended a task."""
    last = task.records[-2:]
    ended = len(last) == 2 and last[1].kind is Kind.END and (task.status or 0) & 0x7F
    if ended and last[0].kind is not Kind.SIGNAL:
        return "SIGKILL" if ended == SIGKILL else None
    return last[0].name if ended and _floats(last[0]) else None


def _of_any_child(record: Record) -> bool:
    """A wait for any child, or one that does not wait."""
    first = record.given[0][1] if record.given else None
    return first in (-1, 0) or record.name == "waitid" or ", WNOHANG" in record.text


def _no_error(record: Record) -> bool:
    return record.failed == 0


def _same_call(a: Record, b: Record) -> bool:
    return (a.kind, a.number) == (b.kind, b.number)


def _same(a: Record, b: Record) -> bool:
    return _same_call(a, b) and _difference(a, b) is None


def _difference(a: Record, b: Record) -> tuple[str, str] | None:
    """What differs in two records of one kind: a word, and a sentence."""
    if a.given != b.given:
        return ("signal" if a.kind is Kind.SIGNAL else "arguments"), _named(a.given, b.given)
    if a.failed != b.failed:
        return "errno", "one fails, or for another reason"
    if a.result != b.result:
        return ("end" if a.kind is Kind.END else "result"), "the result"
    if a.got != b.got:
        return "memory", f"what the call has written: {_named(a.got, b.got)}"
    return None


def _named(ours: tuple[tuple[str, object], ...], theirs: tuple[tuple[str, object], ...]) -> str:
    for a, b in zip_longest(ours, theirs):
        if a != b:
            name = a[0] if a is not None else b[0] if b is not None else ""
            values = [repr(value[1])[:200] if value is not None else "nothing" for value in (a, b)]
            return f"{name}: {values[0]} in the machine, {values[1]} on Linux"
    return ""
