"""What a run writes besides the guest's own output: the files of --trace, --json and -o."""

from __future__ import annotations

import argparse
import errno
import os
import stat
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from emu.cli.arguments import UsageError
from emu.cli.messages import complain, complain_lines, version
from emu.cli.running.ending import Deaths
from emu.cli.running.watched import Watched, strace_options
from emu.cli.streams import Stopper
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.machine import Machine

if TYPE_CHECKING:
    from emu.cli.running.accesses import Accesses
    from emu.cli.running.events import Events
    from emu.cli.running.recording import Recording
    from emu.cli.running.regioncounts import RegionCounts
    from emu.trace.recorder import Recorder
    from emu.trace.region import WatchedRegion
    from emu.trace.strace import Options


#: How often it is looked whether somebody has opened a FIFO, and how long a reader has when the run has ended.
_PAUSE_S, _GRACE_S = 0.05, 1.0


class Unread(Exception):
    """Nobody has opened a FIFO for reading before the run was to end; the message says which."""


class OutputFile:
    """A file that is opened before the run, so that a wrong name is reported at once (:class:`UsageError`).

    An error in the middle (disk full) is reported once; what comes later is thrown away.  So is it where a reader of a
    pipe does not read, and the run is to end: no write blocks for longer than the ``stopper`` allows.
    """

    def __init__(self, path: str, option: str, stopper: Stopper, *, append: bool = False) -> None:
        """:class:`Unread` if it is a FIFO that nobody opens; ``append``: what it has stays."""
        self.name = f"{option} {path}"
        self._append = append
        self.failed = False
        #: Whether it was given up because nobody reads.
        self.unread = False
        self._stopper = stopper
        try:
            self._fd = self._opened(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.name}: cannot be written: {getattr(error, 'strerror', None) or error}") from None

    def _opened(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        flags |= os.O_APPEND if self._append else 0
        while True:
            try:
                return os.open(path, flags, 0o666)
            except OSError as error:
                if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                    raise
            if self._stopper.seconds_left() <= 0:
                raise Unread(f"{self.name}: nobody reads it")
            time.sleep(_PAUSE_S)

    def empty(self) -> None:
        """Throw away what a file had before, unless that is to stay."""
        if not self._append and stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, 0)

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        view = memoryview(data)
        try:
            while view and not (self.failed or self.unread):
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    if not self._stopper.waits_for_reader(self._fd, _GRACE_S):
                        self.unread = True
                        complain(f"unimmu run: {self.name}: nobody reads it; the file is not complete")
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """No more is to come."""
        try:
            os.close(self._fd)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self.failed:
            complain(f"unimmu run: {self.name}: {error.strerror}; the file is not complete")
        self.failed = True


def check_that_they_differ(arguments: argparse.Namespace) -> None:
    """:class:`UsageError` where two options name one file, which would hold a mixture."""
    seen: dict[object, str] = {}
    for option, path in _given(arguments):
        file = _identity(path)
        if file in seen:
            raise UsageError(f"{option} {path}: {seen[file]} writes to the same file")
        if file is not None:
            seen[file] = f"{option} {path}"


def _given(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    given = (
        ("--json", arguments.json), ("-o", arguments.output), ("--trace", arguments.trace),
        ("--record", arguments.record),
    )  # fmt: skip
    return [(option, path) for option, path in given if path]


def _identity(path: str) -> object:
    """What two names of one file have in common; None for a device, which keeps nothing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # not there yet
        return os.path.realpath(path) if "\0" not in path else path
    return None if stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)


class Outputs:
    """All of a run's files and tracers."""

    def __init__(
        self, machine: Machine, first: Task, path: str, arguments: argparse.Namespace, stopper: Stopper,
        asked: Watched, counts: bool,
    ) -> None:  # fmt: skip
        """Open the files and attach the tracers to the machine, where ``first`` is about to run ``path``; ``counts``:
        events of --stats are counted.

        :class:`Unread` if the run is over before somebody has opened a FIFO.
        """
        self.deaths = Deaths()
        self._files: dict[str, OutputFile] = {}
        self._stopper = stopper
        options = strace_options(arguments, asked, machine.kernel.entry.calls) if asked.strace else None
        #: The region of interest.
        self._region = _region(machine, arguments, first, path)
        #: What --stats and --json are to count, where that is not everything.
        self.counts: RegionCounts | None = None
        if self._region is not None and (arguments.stats or arguments.json):
            self.counts = _region_counts(machine, arguments.region)
        #: The events of --stats.
        self.events = _events(machine, asked, self.counts) if counts else None
        self._recording = _recording(machine, arguments) if arguments.trace else None
        if arguments.record:
            _check_record(arguments.record)
        stopper.begin()
        try:
            for option, name in _given(arguments):
                append = option == "-o" and arguments.append
                self._files[option] = OutputFile(name, option, stopper, append=append)
        except BaseException:
            self.close()
            raise
        for file in self._files.values():
            file.empty()
        self.json = self._files.get("--json")
        tracers: list[Tracer] = [self.deaths]
        if self._region is not None and self._region.tracer is not None:
            tracers.append(self._region.tracer)
        self._recorder: Recorder | None = None
        self._accesses = _accesses(machine, self._files["--record"].write, arguments) if arguments.record else None
        if self._accesses is not None:
            tracers.append(self._accesses.tracer)
        self._summary: Callable[[], None] | None = None
        if options is not None:
            tracers.append(self._strace(machine, options))
        if self.events is not None and self.events.tracer is not None:
            tracers.append(self.events.tracer)
        if arguments.trace:
            self._recorder = self._record(machine, first, arguments)
            tracers.append(self._recorder)
        machine.kernel.tracer = tracers[0] if len(tracers) == 1 else _fanout(tracers)
        machine.kernel.tracer.exec(first, path, first.argv)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """No more is to come."""
        for file in self._files.values():
            file.close()

    @property
    def failed(self) -> bool:
        """Whether a file could not be written."""
        return any(file.failed for file in self._files.values())

    @property
    def unread(self) -> bool:
        """Whether a file was given up because nobody read it."""
        return any(file.unread for file in self._files.values())

    def listens(self, fd: int) -> bool:
        """Whether somebody reads a standard stream, until a second after the end of the run."""
        return self._stopper.waits_for_reader(fd, _GRACE_S)

    def finish(self) -> None:
        """The run is over: write what is still buffered."""
        if self._recorder is not None:
            self._recorder.finish()
        if self._accesses is not None:
            self._accesses.finish()
        if self.counts is not None:
            self.counts.finish()
        if self._summary is not None:
            self._summary()

    def remarks(self) -> list[str]:
        """What is to be said of the region of interest."""
        remark = None if self._region is None else self._region.remark()
        return [] if remark is None else [remark]

    def say(self, text: str) -> None:
        """Print a text that -o may put into a file."""
        file = self._files.get("-o")
        if file is None:
            complain_lines(text, self.listens)
        else:
            file.write(f"{text}\n".encode("utf-8", "surrogateescape"))

    # -- tracers, imported only where they are asked for -----------------------------------------------------------

    def _strace(self, machine: Machine, options: Options) -> Tracer:
        from emu.trace.strace import Strace

        if options.summary is not None:
            summary = options.summary
            self._summary = lambda: self.say("\n".join(summary.lines()))
        file = self._files.get("-o")
        if file is None:
            return Strace(machine.kernel, lambda line: complain(line, self.listens), options)
        return Strace(machine.kernel, lambda line: file.write(f"{line}\n".encode("utf-8", "surrogateescape")), options)

    def _record(self, machine: Machine, first: Task, arguments: argparse.Namespace) -> Recorder:
        from emu.trace.recorder import Recorder

        assert self._recording is not None
        file = self._files["--trace"]
        command = [argument.decode("utf-8", "backslashreplace") for argument in first.argv]
        accesses: bool = arguments.trace_accesses
        root = None if arguments.root is None else os.path.abspath(arguments.root)
        return Recorder(
            machine, self._recording.format.sink(file.write), command=command, seed=arguments.seed, version=version(),
            root=root, accesses=accesses, selection=self._recording.selection, region=arguments.region,
        )  # fmt: skip


def _recording(machine: Machine, arguments: argparse.Namespace) -> Recording:
    from emu.cli.running.recording import recording

    return recording(machine, arguments)


def _check_record(name: str) -> None:
    from emu.cli.running.accesses import needs_library

    needs_library(f"--record {name}")


def _accesses(machine: Machine, write: Callable[[bytes], None], arguments: argparse.Namespace) -> Accesses:
    from emu.cli.running.accesses import Accesses

    return Accesses(machine, write, arguments)


def _region(machine: Machine, arguments: argparse.Namespace, first: Task, program: str) -> WatchedRegion | None:
    from emu.cli.running.recording import region

    return region(machine, arguments, first, program)


def _region_counts(machine: Machine, text: str) -> RegionCounts:
    from emu.cli.running.regioncounts import RegionCounts

    return RegionCounts(machine.kernel, text)


def _events(machine: Machine, asked: Watched, region: RegionCounts | None) -> Events:
    """:class:`UsageError` for one that is not counted."""
    from emu.cli.running.events import Events, UnknownEvent

    try:
        return Events(machine, asked.events, region)
    except UnknownEvent as error:
        raise UsageError(f"-e {','.join(asked.events)}: {error}") from None


def _fanout(tracers: list[Tracer]) -> Tracer:
    from emu.trace.fanout import Fanout

    return Fanout(tracers)
