"""``unimmu trace stat``: the events of a trace counted, in the manner of perf stat."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emu.cli.arguments import Parser
from emu.cli.tracing.choosing import add_choice, check_kinds, choice_of, open_trace
from emu.cli.tracing.counted import add_elf, complain_of_symbols, counted, number_of_rows, programs_of

if TYPE_CHECKING:
    from emu.trace.choice import Choice
    from emu.trace.opened import Trace
    from emu.trace.stat.counting import Totals
    from emu.trace.stat.programs import Programs

BY = ("process", "function", "region", "page-size", "sharing")
_MOST = 40
_EXAMPLES = """\
examples:
  unimmu trace stat t.parquet
  unimmu trace stat --by process,region t.parquet
  unimmu trace stat --by function --elf ./prog --pid 101 t.parquet
  unimmu trace stat --by sharing --from 1000000 --to 2000000 t.parquet
"""


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = (
        "Count the events of a trace: of each kind, and for 1,000 instructions; walks by what they found and\n"
        "read, faults by how they were resolved, accesses by the TLB that answered."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("file", metavar="FILE", help="the trace")
    parser.add_argument(
        "--by", type=_groups, action="extend", default=[], metavar="G,...",
        help="also count for each process, function, region of shared tables, page-size; or for each pair of processes "
        "of which one had a page put into a shared table and the other used it: sharing",
    )  # fmt: skip
    parser.add_argument(
        "-n", dest="most", type=number_of_rows, default=_MOST, metavar="N",
        help=f"the most rows that a table of groups has (default: {_MOST})",
    )  # fmt: skip
    add_elf(parser)
    add_choice(parser)


def _groups(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in BY]:
        raise argparse.ArgumentTypeError(f"there is no group {unknown[0]!r}; the groups are {', '.join(BY)}")
    return names


def run(arguments: argparse.Namespace) -> int:
    """Count and print."""
    from emu.trace.stat.tables import totals

    trace, choice = open_trace(arguments.file), choice_of(arguments)
    check_kinds(choice, trace)
    tables = _Tables(trace, choice, [*dict.fromkeys(arguments.by)], programs_of(trace, arguments.elf, arguments.symfs))
    found = counted(trace, tables.coder, [*tables.groupings.values()], choice)
    for line in totals(" ".join(trace.header["command"]), found):
        print(line)
    for name in tables.groupings:
        for line in tables.lines(name, found, arguments.most):
            print(line)
    if "function" in tables.groupings:
        complain_of_symbols(tables.programs)
    return 0


class _Tables:
    """The tables that --by asks for."""

    def __init__(self, trace: Trace, choice: Choice, names: Sequence[str], programs: Programs) -> None:
        from emu.trace.stat import groupings
        from emu.trace.stat.codes import Coder
        from emu.trace.stat.regions import Regions

        self.coder = coder = Coder(trace.schema, trace.path)
        self.programs = programs
        levels, regions = trace.levels, Regions()
        self._process = groupings.ByProcess(coder, levels, (choice.begin, choice.end))
        known: dict[str, Any] = {
            "process": self._process,
            "function": groupings.ByFunction(coder, levels, self.programs),
            "region": groupings.ByRegion(coder, levels, regions),
            "page-size": groupings.ByPageSize(coder, levels),
            "sharing": groupings.BySharing(coder, levels, regions),
        }
        self.groupings: dict[str, Any] = {name: known[name] for name in names}

    def lines(self, name: str, found: Totals, most: int) -> Iterator[str]:
        """One table."""
        from emu.trace.stat import tables

        groups = self.groupings[name].groups()
        columns = tables.columns_of(found)
        if name == "process":
            columns = [self._instructions(), *columns]
        title, labels = _TITLES[name]
        yield from tables.groups(title, labels, groups, columns, most)

    def _instructions(self) -> Any:
        """Of each process, where they are known: vCPUs take turns that no event tells of."""
        from emu.trace.stat.tables import Column

        ran, known = self._process.instructions, self._process.whole
        return Column("instructions", lambda label, counts: f"{ran[label[0]]:,}" if known else "-")


_TITLES: dict[str, tuple[str, Sequence[str]]] = {
    "process": ("By process:", ("pid", "program")),
    "function": ("By function:", ("function", "file")),
    "region": ("By region of shared tables:", ("region",)),
    "page-size": ("Walks by the page that they found:", ("page size",)),
    "sharing": ("Walks through shared tables, by who had the page put there and who used it:",
                ("region", "first pid", "pid", "4K pages")),
}  # fmt: skip
