"""``unimmu trace``: what was recorded with ``unimmu run --trace``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import BinaryIO

from emu.cli import trace_report
from emu.cli.arguments import Parser, UsageError
from emu.cli.messages import complain

_EXAMPLES = """\
examples:
  unimmu trace view t.jsonl | less
  unimmu trace view --kind link,unlink,shootdown t.jsonl
  unimmu trace view --kind walk --pid 101 t.jsonl
"""


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu trace``."""
    parser.description = "Look at a trace that `unimmu run --trace FILE` recorded."
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    view = commands.add_parser("view", help="print the events as text, a walk with its entries in words")
    view.description = "Print the events of a trace as text, a walk with its entries in words."
    view.epilog = _EXAMPLES
    view.add_argument("file", metavar="FILE", help="the trace; - is standard input")
    view.add_argument(
        "--kind", type=_names, action="extend", default=[], metavar="K,...",
        help="only events of these kinds: fill, walk, fault, link, unlink, syscall_enter, ... (the EVENT column)",
    )  # fmt: skip
    view.add_argument(
        "--pid", type=_numbers, action="extend", default=[], metavar="N,...", help="only events of these processes"
    )
    trace_report.add_arguments(commands.add_parser("report", help="write a page with pictures of the whole trace"))


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process number") from None


def run(arguments: argparse.Namespace) -> int:
    """Print the trace, or write a page of it."""
    if arguments.action == "report":
        return trace_report.run(arguments)
    from emu.trace.reader import TraceError, TraceReader
    from emu.trace.view import view

    if arguments.action is None:
        raise UsageError("a command is needed: view or report (`unimmu trace --help` says more)")
    with contextlib.ExitStack() as stack:
        file, name = _open(arguments.file, stack)
        try:
            reader = TraceReader(file, name)
            for line in view(reader, arguments.kind, arguments.pid):
                print(line)
        except TraceError as error:
            raise UsageError(str(error)) from None
    if reader.cut_off or not reader.complete:
        sys.stdout.flush()
        where = f"line {reader.line} is cut off" if reader.cut_off else "its end is missing"
        complain(f"unimmu trace: {name}: {where}; the run was stopped, or the file was not written to its end")
    if unknown := [kind for kind in arguments.kind if kind not in reader.schema.kinds]:
        raise UsageError(f"--kind {unknown[0]}: the trace has only {', '.join(sorted(reader.kinds))}")
    return 0


def _open(name: str, stack: contextlib.ExitStack) -> tuple[BinaryIO, str]:
    if name == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        return sys.stdin.buffer, "standard input"
    try:
        return stack.enter_context(open(name, "rb")), name
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: {getattr(error, 'strerror', None) or error}") from None
