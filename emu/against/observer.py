"""Makes records of what the tasks of a run do; the same for the machine and for Linux, so that what is equal on both is
equal in the records.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass

from emu.against.places import Places, areas_of
from emu.against.record import Flow, Kind, Record, Run, Seen, TaskName, TaskRecords
from emu.against.tape import Given, given_by
from emu.kernel.signal_state import SYNCHRONOUS, Sig, SigInfo, signal_name
from emu.linux.argument import FD, View
from emu.linux.clock import BOOT_REALTIME_NS
from emu.linux.likeness import Likeness, Part
from emu.linux.syscall import Syscall
from emu.linux.syscall_names import name_of
from emu.trace.arguments import CallArguments
from emu.trace.words import siginfo

_LSEEK, _GETDENTS64 = 8, 217
#: Calls of the stat family, and readlink.
_OF_PATHS = frozenset({4, 5, 6, 89, 262, 267, 332})
_MMAP, _MUNMAP, _BRK, _MREMAP, _SHMAT = 9, 11, 12, 25, 30
_MAP_ANONYMOUS = 0x20
#: The bytes of longer pieces of memory are compared by a digest, and those of longer pieces of a stream not at all.
_SHORT, _KEPT = 256, 1 << 16
#: Figures of the machine that are made when it boots have times of that second.
_BOOTS_NS = 1_000_000_000
#: What is compared of files of /proc and /sys.
_OF_FIGURES = frozenset({"st_mode", "st_blksize"})
_BY_THEMSELVES = frozenset({*SYNCHRONOUS, Sig.PIPE, Sig.XFSZ})


class Watched(View):
    """A process that is observed while it makes a call."""

    def flow(self, fd: int) -> Flow:
        """What is behind a descriptor."""
        raise NotImplementedError

    def file(self, fd: int) -> str:
        """The path of the file behind a descriptor, "" if it has none."""
        raise NotImplementedError


@dataclass(slots=True)
class _Pending:
    """A call that has begun."""

    number: int
    call: Syscall | None
    arguments: CallArguments
    texts: list[str]
    record: Record
    view: Watched


class _Task:
    """A task that is observed."""

    def __init__(self, name: TaskName, pid: int, process: TaskName, places: Places) -> None:
        self.records = TaskRecords(name, pid)
        #: The task that leads its process.
        self.process = process
        self.places = places
        self.pending: _Pending | None = None
        self.made = self.mappings = 0

    @property
    def name(self) -> TaskName:
        return self.records.name


class Observer:
    """``started_ns``: times from then on are times of the run.  ``owners``: users are the same on both sides."""

    def __init__(self, started_ns: int, *, owners: bool) -> None:
        self._owners = owners
        self.run = Run()
        self._started_ns = started_ns
        self._tasks: dict[int, _Task] = {}
        self._serial = 0

    def name_of(self, pid: int) -> TaskName | None:
        """The task that has, or had last, a number."""
        task = self._tasks.get(pid)
        return None if task is None else task.name

    def lives(self, pid: int) -> bool:
        """Whether there is a task of this number that has not ended."""
        task = self._tasks.get(pid)
        return task is not None and task.records.status is None

    def call_of(self, pid: int) -> tuple[int, tuple[int, ...]]:
        """The number and the arguments of the call that a task is in; -1 if it is in none."""
        pending = self._tasks[pid].pending
        return (-1, ()) if pending is None else (pending.number, pending.arguments.values)

    # -- tasks -----------------------------------------------------------------------------------------------------

    def first(self, pid: int) -> None:
        """The first task, which is about to start its program."""
        self._add(_Task((), pid, (), Places([], 0)))

    def forked(self, parent: int, child: int, *, shares_memory: bool, thread: bool) -> None:
        """A task has made another one, in a call that has not returned."""
        maker = self._tasks[parent]
        name = (*maker.name, maker.made)
        maker.made += 1
        places = maker.places if shares_memory else maker.places.copy()
        task = _Task(name, child, maker.process if thread else name, places)
        task.mappings = maker.mappings
        task.records.program = maker.records.program
        self._add(task)
        if thread:
            task.records.threaded = maker.records.threaded = self.run.tasks[maker.process].threaded = True
        if maker.pending is not None:
            maker.pending.record.made = name

    def _add(self, task: _Task) -> None:
        self._tasks[task.records.pid] = task
        self.run.tasks[task.name] = task.records

    def execed(self, pid: int, program: str, maps: bytes, heap: int) -> None:
        """A task has a new program, with these mappings (/proc/PID/maps)."""
        task = self._tasks[pid]
        task.places, task.mappings = Places(areas_of(maps, program), heap), 0
        task.records.program = os.path.basename(program)

    def superseded(self, pid: int, leader: int) -> None:
        """A thread that calls execve takes the number of the leader of its process."""
        self._tasks[leader] = self._tasks.pop(pid)

    def ended(self, pid: int, status: int) -> None:
        """A task has ended; ``status`` as wait4 gives it."""
        task = self._tasks[pid]
        self.forget(pid)
        signo = status & 0x7F
        how = f"killed by {signal_name(signo)}" if signo else f"exited with {status >> 8}"
        record = Record(Kind.END, "end", f"+++ {how} +++", self._next())
        record.result = status
        task.records.status = status
        task.records.records.append(record)

    def signal(self, pid: int, info: SigInfo, rip: int) -> None:
        """A signal is delivered at a place."""
        task = self._tasks[pid]
        self.forget(pid)
        name = signal_name(info.signo)
        record = Record(Kind.SIGNAL, name, f"--- {name} {{{siginfo(info)}}} ---", self._next())
        record.number, record.where = info.signo, task.places.where(rip)
        sender = self._tasks.get(info.pid) if info.code <= 0 else None
        own = sender is not None and sender.process == task.process
        record.waits = not (own or (info.signo in _BY_THEMSELVES and info.code > 0) or info.signo == Sig.PIPE)
        record.given = (("si_code", info.code),)
        if info.code > 0 and info.signo in (Sig.SEGV, Sig.BUS):
            record.given += (("si_addr", task.places.name(info.address)),)
        task.records.records.append(record)

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    # -- calls -----------------------------------------------------------------------------------------------------

    def enter(
        self, pid: int, number: int, call: Syscall | None, registers: tuple[int, ...], rip: int, view: Watched
    ) -> None:  # fmt: skip
        """A call begins.  One before it that has not returned begins again."""
        task = self._tasks[pid]
        name = call.name if call is not None else name_of(number).replace(f"#{number}", f"syscall_{number:#x}")
        arguments = CallArguments(view, None if call is None else call.arguments, registers)
        record = Record(Kind.CALL, name, "", 0, number=number, where=task.places.where(rip))
        record.given = self._seen(task, arguments.given())
        if call is not None and call.restart is not None:
            record.waits = True
            if call.arguments[:1] == (FD,):
                record.fd, record.flow = arguments.values[0], view.flow(arguments.values[0])
        elif number == _LSEEK:
            record.flow = view.flow(arguments.values[0])
        if number == _GETDENTS64:
            record.flow = view.flow(arguments.values[0])
        if number in _OF_PATHS:
            record.flow = self._flow_of_path(record, arguments.values[0], view)
        task.pending = _Pending(number, call, arguments, arguments.before(), record, view)

    @staticmethod
    def _flow_of_path(record: Record, fd: int, view: Watched) -> Flow:
        """What is behind the file that a call asks for, by path or descriptor."""
        paths = [value for name, value in record.given if name == "path" and isinstance(value, bytes)]
        if any(path.startswith((b"/proc/", b"/sys/")) for path in paths):
            return Flow.FIGURES
        if any(path.startswith(b"/") for path in paths) or fd < 0:
            return Flow.NONE
        return view.flow(fd)

    def forget(self, pid: int) -> None:
        """The call that the task is in gives no result of its own: it begins again, or its task ends."""
        task = self._tasks[pid]
        pending, task.pending = task.pending, None
        if pending is not None and pending.call is not None and pending.call.returns.name == "does not return":
            self._text(pending, None)
            pending.record.serial, pending.record.shown = self._next(), "?"
            task.records.records.append(pending.record)

    def given(self, pid: int, result: int) -> Given | None:
        """What the call that is about to return gives of its own accord."""
        pending = self._tasks[pid].pending
        if pending is None:
            return None
        return given_by(pending.number, pending.arguments.values, result, pending.record)

    def exit(self, pid: int, result: int) -> None:
        """A call returns."""
        task = self._tasks[pid]
        pending, task.pending = task.pending, None
        if pending is None:
            return
        record = pending.record
        if result == -errno.EINTR and record.waits:
            return  # a signal: that it came in just this call is an accident
        record.serial = self._next()
        self._text(pending, result)
        if -4096 < result < 0:
            record.failed = -result
            name = errno.errorcode.get(-result, str(-result))
            record.shown = f"-1 {name} ({os.strerror(-result)})"
        else:
            call = pending.call
            record.shown = str(result) if call is None else call.returns.text(result, pending.arguments.values)
            self._returned(task, pending, result)
        task.records.records.append(record)

    def _text(self, pending: _Pending, result: int | None) -> None:
        rest = pending.arguments.after(len(pending.texts), result)
        pending.record.text = f"{pending.record.name}({', '.join(pending.texts + rest)})"

    def _returned(self, task: _Task, pending: _Pending, result: int) -> None:
        record, call = pending.record, pending.call
        likeness = Likeness.EXACT if call is None else call.returns.likeness
        self._map(task, pending, result)
        record.result = self._value(task, likeness, result)
        if call is None:
            return
        parts = pending.arguments.got(result)
        if record.flow is Flow.FIGURES:
            record.result, parts = None, [part for part in parts if part.name in _OF_FIGURES]
        if record.flow is Flow.STREAM and record.fd >= 0:
            every = [*pending.arguments.given(), *parts]
            moved = b"".join(part.value for part in every if isinstance(part.value, bytes) and not part.beside)[:result]
            record.data = moved if len(moved) <= _KEPT else None
            beside = self._seen(task, [part for part in every if part.beside])
            record.beside = repr(beside).encode() if beside else b""
        record.got = () if record.flow is Flow.RANDOM else self._seen(task, parts)

    def _map(self, task: _Task, pending: _Pending, result: int) -> None:
        """Follow what the call has done to the mappings."""
        number, values, places = pending.number, pending.arguments.values, task.places
        if number == _MMAP:
            anonymous = values[3] & _MAP_ANONYMOUS
            file = "" if anonymous else pending.view.file(values[4])
            places.add(result, values[1], self._label(task), file, 0 if anonymous else values[5])
        elif number == _SHMAT:
            places.add(result, 1, self._label(task))  # how long it is does not matter for what is compared
        elif number == _MUNMAP:
            places.remove(values[0], values[1])
        elif number == _MREMAP:
            places.move(values[0], values[1], result, values[2])
        elif number == _BRK:
            places.grow_heap(result)

    @staticmethod
    def _label(task: _Task) -> tuple[object, ...]:
        task.mappings += 1
        return (task.name, task.mappings)

    # -- what is the same ------------------------------------------------------------------------------------------

    def _seen(self, task: _Task, parts: list[Part]) -> Seen:
        return tuple(
            (part.name, self._value(task, part.likeness, part.value))
            for part in parts
            if part.likeness is not Likeness.FREE
        )

    def _value(self, task: _Task, likeness: Likeness, value: int | bytes) -> object:
        """What a value is once the accidents of a run are taken out."""
        if isinstance(value, bytes):
            return value if len(value) <= _SHORT else (len(value), hashlib.blake2b(value, digest_size=16).hexdigest())
        if likeness is Likeness.EXACT or (likeness is Likeness.OWNER and self._owners):
            return value
        if likeness is Likeness.TASK:
            return self._task(value)
        if likeness is Likeness.MAPPED:
            return task.places.name(value)
        if likeness is Likeness.PLACE:
            return "an address" if value else None
        if likeness is Likeness.WAIT:
            return "for ever" if value < 0 else "some time" if value else 0
        if likeness is Likeness.WHEN:
            booted = BOOT_REALTIME_NS <= value < BOOT_REALTIME_NS + _BOOTS_NS
            return "in the run" if value >= self._started_ns or booted else value
        return None

    def _task(self, pid: int) -> object:
        found = self._tasks.get(abs(pid))
        if found is None or abs(pid) <= 1:
            return pid
        return ("group of" if pid < 0 else "task", found.name)
