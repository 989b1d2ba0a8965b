"""``unimmu trace view``: the events of a trace as text."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING, BinaryIO

from emu.cli.arguments import Parser, UsageError
from emu.cli.messages import complain
from emu.cli.tracing.choosing import add_choice, choice_of, open_trace

if TYPE_CHECKING:
    from emu.trace.choice import Choice
    from emu.trace.events import RowReader

_EXAMPLES = """\
examples:
  unimmu trace view t.jsonl | less
  unimmu trace view --kind link,unlink,shootdown t.jsonl
  unimmu trace view --kind walk --pid 101 --from 20000 --to 30000 t.parquet
"""


#: Lines above the events.
_HEADING = 2


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = "Print the events of a trace as text, a walk with its entries in words."
    parser.epilog = _EXAMPLES
    parser.add_argument("file", metavar="FILE", help="the trace; - is standard input, which has lines of JSON")
    add_choice(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the trace."""
    from emu.trace.opened import PARQUET_MAGIC
    from emu.trace.reader import TraceError, TraceReader
    from emu.trace.view import view

    choice, lines = choice_of(arguments), 0
    with contextlib.ExitStack() as stack:
        file, name = _open(arguments.file, stack)
        try:
            rows = _begins(file, name) == PARQUET_MAGIC and arguments.file != "-"
            reader = _rows(name, choice) if rows else TraceReader(file, name)
            for line in view(reader, choice):
                print(line)
                lines += 1
        except TraceError as error:
            raise UsageError(str(error)) from None
    if reader.cut_off or not reader.complete:
        sys.stdout.flush()
        where = f"line {reader.line} is cut off" if reader.cut_off else "its end is missing"
        complain(f"unimmu trace: {name}: {where}; the run was stopped, or the file was not written to its end")
    if arguments.pid and lines == _HEADING:
        complain(f"unimmu trace: {name}: it has no such event of {' or '.join(map(str, arguments.pid))}")
    if unknown := [kind for kind in arguments.kind if kind not in reader.schema.kinds]:
        raise UsageError(f"--kind {unknown[0]}: the trace has only {', '.join(sorted(reader.kinds))}")
    return 0


def _rows(name: str, choice: Choice) -> RowReader:
    from emu.trace.events import RowReader  # late: it needs PyArrow

    return RowReader(open_trace(name), choice)


def _open(name: str, stack: contextlib.ExitStack) -> tuple[BinaryIO, str]:
    if name == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        return sys.stdin.buffer, "standard input"
    try:
        return stack.enter_context(open(name, "rb")), name
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: {getattr(error, 'strerror', None) or error}") from None


def _begins(file: BinaryIO, name: str) -> bytes:
    """The first bytes, which are still to be read."""
    if not hasattr(file, "peek"):
        return b""
    try:
        return bytes(file.peek(4)[:4])
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
