"""What a run writes besides the guest's own output: the files of --trace, --json and --strace."""

from __future__ import annotations

import argparse
from types import TracebackType
from typing import TYPE_CHECKING

from emu.cli.arguments import UsageError
from emu.cli.ending import Deaths
from emu.cli.messages import complain, version
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.machine import Machine

if TYPE_CHECKING:
    from emu.trace.recorder import Recorder


class OutputFile:
    """A file that is opened before the run, so that a wrong name is reported at once (:class:`UsageError`).

    An error in the middle (disk full) is reported once; what comes later is thrown away.
    """

    def __init__(self, path: str, option: str) -> None:
        self.name = f"{option} {path}"
        self.failed = False
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.name}: cannot be written: {getattr(error, 'strerror', None) or error}") from None

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        view = memoryview(data)
        try:
            while view and not self.failed:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """No more is to come."""
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self.failed:
            complain(f"unimmu run: {self.name}: {error.strerror}; the file is not complete")
        self.failed = True


class Outputs:
    """All of a run's files and tracers."""

    def __init__(self, machine: Machine, first: Task, path: str, arguments: argparse.Namespace) -> None:
        """Open the files and attach the tracers to the machine, where ``first`` is about to run ``path``."""
        self.deaths = Deaths()
        self.files: list[OutputFile] = []
        self.json = self._open(arguments.json, "--json") if arguments.json else None
        tracers: list[Tracer] = [self.deaths]
        self._recorder: Recorder | None = None
        if arguments.strace:
            tracers.append(self._strace(machine, arguments.strace_file))
        if arguments.trace:
            self._recorder = self._record(machine, first, arguments)
            tracers.append(self._recorder)
        machine.kernel.tracer = tracers[0] if len(tracers) == 1 else _fanout(tracers)
        machine.kernel.tracer.exec(first, path, first.argv)

    def _open(self, path: str, option: str) -> OutputFile:
        file = OutputFile(path, option)
        self.files.append(file)
        return file

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self.files:
            file.close()

    @property
    def failed(self) -> bool:
        """Whether a file could not be written."""
        return any(file.failed for file in self.files)

    def finish(self) -> None:
        """The run is over: write what is still buffered."""
        if self._recorder is not None:
            self._recorder.finish()

    # -- tracers, imported only where they are asked for -----------------------------------------------------------

    def _strace(self, machine: Machine, path: str | None) -> Tracer:
        from emu.trace.strace import Strace

        if path is None:
            return Strace(machine.kernel, complain)
        file = self._open(path, "-o")
        return Strace(machine.kernel, lambda line: file.write(f"{line}\n".encode("utf-8", "surrogateescape")))

    def _record(self, machine: Machine, first: Task, arguments: argparse.Namespace) -> Recorder:
        from emu.trace.recorder import Recorder

        file = self._open(arguments.trace, "--trace")
        command = [argument.decode("utf-8", "backslashreplace") for argument in first.argv]
        accesses: bool = arguments.trace_accesses
        return Recorder(
            machine, file.write, command=command, seed=arguments.seed, version=version(), accesses=accesses
        )  # fmt: skip


def _fanout(tracers: list[Tracer]) -> Tracer:
    from emu.trace.fanout import Fanout

    return Fanout(tracers)
