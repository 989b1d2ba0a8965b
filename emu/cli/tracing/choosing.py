"""The file of a trace and the events of it that a command line names."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from emu.cli.arguments import Parser, UsageError
from emu.cli.messages import complain
from emu.trace.choice import Choice

if TYPE_CHECKING:
    from emu.trace.opened import Trace

_RANGE = re.compile(r"(0[xX][0-9a-fA-F]{1,20}|\d{1,20})([-+])(0[xX][0-9a-fA-F]{1,20}|\d{1,20})")
_MOST = (1 << 64) - 1


def add_choice(parser: Parser) -> None:
    """The options that choose events."""
    add = parser.add_argument_group("which events").add_argument
    add(
        "--kind", type=_names, action="extend", default=[], metavar="K,...",
        help="only events of these kinds: fill, walk, fault, link, unlink, syscall_enter, ... (the EVENT column)",
    )  # fmt: skip
    add("--pid", type=_numbers, action="extend", default=[], metavar="N,...", help="only events of these processes")
    add(
        "--range", type=_range, metavar="A-B|A+N",
        help="only events at these virtual addresses: from A up to and without B, or N bytes from A "
        "(0x7f0000000000+0x200000)",
    )  # fmt: skip
    add("--from", dest="begin", type=_count, metavar="N", help="only events when N instructions have run, and later")
    add("--to", dest="end", type=_count, metavar="N", help="only events before N instructions have run")


def choice_of(arguments: argparse.Namespace) -> Choice:
    """What these options choose."""
    return Choice(frozenset(arguments.kind), frozenset(arguments.pid), arguments.range, arguments.begin, arguments.end)


def open_trace(path: str) -> Trace:
    """The trace in a file.  :class:`UsageError` if it is none."""
    import emu.trace
    from emu.trace.reader import TraceError

    try:
        return emu.trace.open(path)
    except TraceError as error:
        raise UsageError(str(error)) from None


def check_kinds(choice: Choice, trace: Trace) -> None:
    """:class:`UsageError` if a kind of event is chosen that the trace cannot have."""
    if unknown := sorted(choice.kinds - trace.schema.kinds.keys()):
        raise UsageError(f"--kind {unknown[0]}: the kinds are {', '.join(sorted(trace.schema.kinds))}")


def complain_of_end(name: str) -> None:
    """Say that a trace has no end."""
    complain(f"unimmu trace: {name}: its end is missing; the run was stopped, or the file was not written to its end")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process number") from None


def _count(text: str) -> int:
    if not re.fullmatch(r"\d[\d_]{0,24}", text) or int(text) > _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of instructions")
    return int(text)


def _range(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    first, end = (0, 0) if found is None else (_integer(found[1]), _integer(found[3]))
    if found is not None and found[2] == "+":
        end += first
    if not first < end <= _MOST + 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of addresses (0x400000-0x500000, 0x400000+0x1000)")
    return first, end - 1


def _integer(text: str) -> int:
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)
