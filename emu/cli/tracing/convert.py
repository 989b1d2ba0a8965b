"""``unimmu trace convert``: a trace in another format."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from emu.cli.arguments import Parser, UsageError, output_name
from emu.cli.messages import complain
from emu.cli.progress import progress
from emu.cli.tracing.choosing import add_choice, check_kinds, choice_of

if TYPE_CHECKING:
    from emu.trace.choice import Choice
    from emu.trace.formats.registry import Format
    from emu.trace.opened import Trace

_OUTPUT_FAILED = 74  # EX_IOERR of sysexits.h
_NO_ACCESSES = "there are no accesses: record with --tlb PRESET --trace-accesses (`unimmu presets` lists the TLBs)"


_EXAMPLES = """\
examples:
  unimmu trace convert t.parquet t.pftrace                       a picture, for ui.perfetto.dev
  unimmu trace convert --kind walk,fault t.parquet t.csv
  unimmu trace convert --pid 100 --format champsim t.parquet cow.trace
"""


def add_arguments(parser: Parser) -> None:
    """The command line."""
    from emu.trace.formats.registry import FORMATS

    formats = "".join(f"  {form.name:<12} {', '.join(form.suffixes):<27} {form.meaning}\n" for form in FORMATS)
    parser.description = "Write a trace in another format, for another tool."
    parser.epilog = f"formats:\n{formats}\n{_EXAMPLES}"
    parser.add_argument("file", metavar="IN", help="the trace, in Parquet or lines of JSON")
    parser.add_argument("to", metavar="OUT", type=output_name, help="the new file; its name says in which format")
    parser.add_argument("--format", metavar="NAME", help="the format, whatever the name ends with")
    add_choice(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; the exit status."""
    import emu.trace
    from emu.trace.formats.registry import UnknownFormat, format_of
    from emu.trace.reader import TraceError

    try:
        form = format_of(arguments.to, arguments.format, option="--format")
        trace = emu.trace.open(arguments.file)
        choice = choice_of(arguments)
        check_kinds(choice, trace)
        with _output(arguments.to, arguments.file) as output:
            complete = _write(trace, form, output, choice)
    except (TraceError, UnknownFormat) as error:
        raise UsageError(str(error)) from None
    except _Unwritable as error:
        complain(f"unimmu trace: {arguments.to}: {error}; the file is not complete")
        return _OUTPUT_FAILED
    if not complete:
        complain(
            f"unimmu trace: {arguments.file}: its end is missing; the run was stopped, or it was not written whole"
        )
    return 0


class _Unwritable(Exception):
    """A disk is full, or the like."""


class _Output:
    """A file that is written; what comes after an error is thrown away."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error = ""

    def write(self, data: bytes) -> None:
        """Write all of it."""
        rest = memoryview(data)
        try:
            while rest and not self.error and not self._file.closed:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error.strerror or str(error)

    def check(self) -> None:
        """:class:`_Unwritable` if something could not be written."""
        if self.error:
            raise _Unwritable(self.error)


def _write(trace: Trace, form: Format, output: _Output, choice: Choice) -> bool:
    """Whether the trace has its end."""
    from emu.trace.header import make_header
    from mmu.events import EventKind

    sink, done, complete, fits = form.sink(output.write), 0, False, not form.of_accesses
    values = {name: value for name, value in trace.header.items() if name not in ("format", "version")}
    with progress(f"converting to {form.name}", trace.count) as report:
        sink.begin(make_header(trace.schema, **values), trace.schema, trace.levels)
        for batch in trace.batches():
            complete = complete or any(note.kind == "end" for note in batch.notes[-1:])
            some = choice.of_batch(batch, sink.told)
            fits = fits or bool((some.records["kind"] == EventKind.ACCESS).any())
            if len(some.records):
                sink.write(some)
            output.check()
            done += len(batch.records)
            report(done)
        sink.end()
    output.check()
    if not fits:
        raise UsageError(f"{trace.path}: {_NO_ACCESSES}")
    return complete


@contextlib.contextmanager
def _output(path: str, source: str) -> Iterator[_Output]:
    """The file to write.  Nothing is left of it where the trace is not one that can be written so."""
    try:
        if os.path.exists(path) and os.path.samefile(path, source):
            raise UsageError(f"{path}: this is the trace itself")
        file = open(path, "wb", buffering=0)  # noqa: SIM115 (it is closed below)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    try:
        with file:
            yield _Output(file)
    except BaseException as error:
        if not isinstance(error, _Unwritable) and stat.S_ISREG(os.stat(path).st_mode):
            os.unlink(path)
        raise
