"""``unimmu trace report``: a page with pictures of a trace."""

from __future__ import annotations

import argparse
import os
import pathlib
from typing import TYPE_CHECKING, Final

from emu.cli.arguments import Parser, UsageError
from emu.cli.messages import complain
from emu.cli.progress import progress
from emu.cli.tracing.choosing import complain_of_end
from emu.cli.tracing.counted import add_elf, programs_of

if TYPE_CHECKING:
    from emu.trace.opened import Trace

#: The exit status.
_OUTPUT_FAILED: Final = 74  # EX_IOERR
_EXAMPLES = """\
examples:
  unimmu run --trace t.parquet region_stress 3 4
  unimmu trace report t.parquet -o report.html
  unimmu trace report t.parquet -o report.html --elf ./prog
"""


def add_arguments(report: Parser) -> None:
    """The command line of ``unimmu trace report``."""
    report.description = (
        "Write one HTML page, which needs no network and no script: walks, misses and faults over time, addresses\n"
        "over time, where walks were answered, page tables and who shares them, what shootdowns cost, the busiest\n"
        "functions."
    )
    report.epilog = _EXAMPLES
    report.add_argument("file", metavar="FILE", help="the trace")
    report.add_argument(
        "-o", "--output", metavar="PAGE", type=pathlib.Path, required=True, help="the page, for a browser"
    )
    add_elf(report)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from emu.trace.opened import Trace
    from emu.trace.pictures.page import report_page
    from emu.trace.pictures.tally import tally
    from emu.trace.reader import TraceError

    page: pathlib.Path = arguments.output
    try:
        trace = Trace(arguments.file)
        if page.exists() and os.path.samefile(arguments.file, page):
            raise UsageError(f"-o {page}: that is the trace itself")
        programs = programs_of(trace, arguments.elf, arguments.symfs)
        with progress("the trace is read", _events(trace)) as report:
            found = tally(trace, programs, report)
    except TraceError as error:
        raise UsageError(str(error)) from None
    text = report_page(found)
    if not found.complete:
        complain_of_end(trace.path)
    try:
        page.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        complain(f"unimmu trace report: {page}: {getattr(error, 'strerror', None) or error}")
        return _OUTPUT_FAILED
    return 0


def _events(trace: Trace) -> int | None:
    """How many there are, where the file says so."""
    if trace.format.name != "parquet":
        return None
    from pyarrow import parquet

    return int(parquet.read_metadata(trace.path).num_rows)
