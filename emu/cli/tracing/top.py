"""``unimmu trace top``: the functions and the pages with most walks."""

from __future__ import annotations

import argparse

from emu.cli.arguments import Parser
from emu.cli.tracing.choosing import add_choice, check_kinds, choice_of, open_trace
from emu.cli.tracing.counted import add_elf, complain_of_symbols, counted, number_of_rows, programs_of

_MOST = 10
_EXAMPLES = """\
examples:
  unimmu trace top t.parquet
  unimmu trace top -n 30 --elf ./prog t.parquet
  unimmu trace top --pid 101 --range 0x20000000000+0x40000000 t.parquet
"""


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = "Show the functions and the pages of a trace with most walks."
    parser.epilog = _EXAMPLES
    parser.add_argument("file", metavar="FILE", help="the trace")
    parser.add_argument(
        "-n", dest="most", type=number_of_rows, default=_MOST, metavar="N",
        help=f"show so many of each (default: {_MOST})",
    )  # fmt: skip
    add_elf(parser)
    add_choice(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count and print."""
    from emu.trace.stat import tables
    from emu.trace.stat.codes import Coder
    from emu.trace.stat.groupings import ByFunction
    from emu.trace.stat.pages import ByPage

    trace, choice = open_trace(arguments.file), choice_of(arguments)
    check_kinds(choice, trace)
    coder, programs = Coder(trace.schema, trace.path), programs_of(trace, arguments.elf, arguments.symfs)
    functions, pages = ByFunction(coder, trace.levels, programs), ByPage(coder, trace.levels)
    found = counted(trace, coder, [functions, pages], choice)
    whole, columns = found.counts.walks, tables.columns_of(found)
    walked = [group for group in functions.groups() if group[1].walks]
    for line in tables.groups("Functions with most walks:", ("function", "file"), walked, columns, arguments.most):
        print(line)
    for line in tables.pages(pages.pages(arguments.most), whole):
        print(line)
    complain_of_symbols(programs)
    return 0
