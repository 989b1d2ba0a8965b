"""``unimmu trace diff``: where two traces part."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from emu.cli.arguments import Parser, UsageError
from emu.cli.tracing.choosing import add_choice, check_kinds, choice_of, complain_of_end, open_trace

if TYPE_CHECKING:
    from emu.trace.difference import Difference
    from emu.trace.opened import Trace

SAME, DIFFERENT = 0, 1
_EXAMPLES = """\
exit status:
  0: the events are the same; 1: they are not; 2: a mistake on the command line,
  or a file that is no trace

examples:
  unimmu trace diff a.parquet b.parquet
  unimmu trace diff --ignore time,paddr a.parquet b.jsonl
  unimmu trace diff --kind syscall_enter,syscall_exit --ignore clock,time a.parquet b.parquet
"""


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = "Show the first events of two traces that are not the same, and some before them."
    parser.epilog = _EXAMPLES
    parser.add_argument("first", metavar="A", help="a trace")
    parser.add_argument("second", metavar="B", help="another, of any format")
    parser.add_argument(
        "--ignore", type=_names, action="extend", default=[], metavar="F,...",
        help="do not compare these fields (docs/tracing.md): time, rip, paddr, cost_cycles, ...",
    )  # fmt: skip
    parser.add_argument("-n", "--before", type=_few, default=3, metavar="N", help="show N events before (default: 3)")
    add_choice(parser)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _few(text: str) -> int:
    if not text.isdecimal() or len(text) > 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Compare them."""
    from emu.trace.difference import compare
    from emu.trace.reader import TraceError

    first, second = open_trace(arguments.first), open_trace(arguments.second)
    choice = choice_of(arguments)
    check_kinds(choice, first)
    _check_fields(arguments.ignore, first, second)
    try:
        found = compare(first, second, ignore=arguments.ignore, choice=choice, before=arguments.before)
    except TraceError as error:
        raise UsageError(str(error)) from None
    for line in _header_lines(first, second):
        print(line)
    if isinstance(found, int):
        print(f"{found:,} events are the same in both")
        for trace in (first, second):
            if not trace.complete:
                complain_of_end(trace.path)
        return SAME
    _print(found, first, second)
    return DIFFERENT


def _check_fields(names: list[str], *traces: Trace) -> None:
    from emu.trace.columns import BY_NAME

    known = {*BY_NAME}
    for trace in traces:
        for kind in trace.schema.kinds.values():
            known |= {name for form in kind.forms for name in form.by_name}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--ignore {unknown[0]}: there is no such field; the fields are {', '.join(sorted(known))}")


def _header_lines(first: Trace, second: Trace) -> list[str]:
    """What the headers say that is not the same."""
    from emu.linux.event_kind import printable

    names = dict.fromkeys([*first.header, *second.header])
    told = [(name, first.header.get(name), second.header.get(name)) for name in names]
    return [printable(f"header: {name} is {a!r}, and {b!r}") for name, a, b in told if a != b]


def _print(found: Difference, first: Trace, second: Trace) -> None:
    from emu.linux.event_kind import printable
    from emu.trace.view import heading, is_of_several, lines_of

    several = is_of_several(first.header)
    if found.fields:
        print(f"they part in {', '.join(found.fields)}")
    else:
        ended = first if found.first is None else second
        print(printable(f"{ended.path} has no more events"))
    print(heading(several))
    for event in found.before:
        print(*lines_of(event, first.schema, several), sep="\n")
    sides = ((first, found.first), (second, found.second))
    for trace, parting in sides:
        print(printable(f"--- {trace.path}"))
        if parting is not None:
            print(*lines_of(parting, trace.schema, is_of_several(trace.header)), sep="\n")
