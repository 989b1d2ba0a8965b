"""``unimmu trace report``: a page with pictures of a trace."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from emu.cli.arguments import Parser, UsageError, output_path
from emu.cli.progress import progress
from emu.cli.results import ResultFiles
from emu.cli.tracing.choosing import complain_of_end
from emu.cli.tracing.counted import add_elf, programs_of

if TYPE_CHECKING:
    from emu.trace.opened import Trace

_EXAMPLES = """\
examples:
  unimmu run --trace t.parquet region_stress 3 4
  unimmu trace report t.parquet -o report.html
  unimmu trace report t.parquet -o report.html --elf ./prog
"""


def add_arguments(report: Parser) -> None:
    """The command line of ``unimmu trace report``."""
    report.description = (
        "Write one HTML page, which needs no network and no script: walks, misses, faults and addresses over\n"
        "time, where walks were answered, page tables and who shares them, what shootdowns cost, and the\n"
        "busiest functions."
    )
    report.epilog = _EXAMPLES
    report.add_argument("file", metavar="FILE", help="the trace")
    report.add_argument(
        "-o", "--output", metavar="PAGE", type=output_path, required=True, help="the page, for a browser"
    )
    add_elf(report)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from emu.trace.opened import Trace
    from emu.trace.pictures.page import report_page
    from emu.trace.pictures.tally import tally
    from emu.trace.reader import TraceError

    try:
        trace = Trace(arguments.file)
        programs = programs_of(trace, arguments.elf, arguments.symfs)
        with ResultFiles({"-o": arguments.output}, {arguments.file: "the trace"}) as files:
            with progress("the trace is read", _events(trace)) as report:
                found = tally(trace, programs, report)
            if not found.complete:
                complain_of_end(trace.path)
            files.write("-o", report_page(found))
    except TraceError as error:
        raise UsageError(str(error)) from None
    return 0


def _events(trace: Trace) -> int | None:
    """How many there are, where the file says so."""
    if trace.format.name != "parquet":
        return None
    from pyarrow import parquet

    return int(parquet.read_metadata(trace.path).num_rows)
