"""What ``unimmu trace stat`` and ``top`` have in common: ELF files with symbols, and how a trace is counted."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.cli.arguments import Parser, UsageError
from emu.cli.messages import complain
from emu.cli.tracing.choosing import complain_of_end

if TYPE_CHECKING:
    from emu.trace.choice import Choice
    from emu.trace.opened import Trace
    from emu.trace.stat.codes import Coder
    from emu.trace.stat.counting import Totals
    from emu.trace.stat.groupings import Grouping
    from emu.trace.stat.programs import Given, Programs

_AT_BASE = re.compile(r"(.+)@(0[xX][0-9a-fA-F]{1,16})")


def add_elf(parser: Parser) -> None:
    """The options that say where ELF files are."""
    parser.add_argument(
        "--elf", action="append", default=[], metavar="FILE[@BASE]",
        help="an ELF file whose symbols name functions, where a program or a library of the trace is not found by its "
        "path, or is stripped there; with BASE, where it was loaded, if the trace does not say it "
        "(libc.so.6@0x7f0000000000)",
    )  # fmt: skip
    parser.add_argument(
        "--symfs", metavar="DIR",
        help="find programs and libraries by their paths below DIR (default: below what --root said when the trace was "
        "recorded; else on this host)",
    )  # fmt: skip


def programs_of(trace: Trace, files: Sequence[str], symfs: str | None = None) -> Programs:
    """The programs of a trace, with these ELF files of the command line, and where others are."""
    from emu.trace.stat.files import Files
    from emu.trace.stat.programs import Programs

    if symfs is not None and not os.path.isdir(symfs):
        raise UsageError(f"--symfs {symfs}: there is no such directory")
    return Programs(trace.header["command"], Files(trace.header, symfs).find, [_given(text) for text in files])


def _given(text: str) -> Given:
    from emu.trace.stat.programs import Given
    from emu.trace.stat.symbols import Elf, SymbolsError

    found = _AT_BASE.fullmatch(text)
    try:
        elf = Elf(text if found is None else found[1])
    except SymbolsError as error:
        raise UsageError(f"--elf {error}") from None
    if elf.stripped:
        raise UsageError(f"--elf {elf.path}: it has no symbols")
    return Given(elf, None if found is None else int(found[2], 16))


def counted(trace: Trace, coder: Coder, groupings: Sequence[Grouping], choice: Choice) -> Totals:
    """The counts.  :class:`UsageError` for a file that is damaged."""
    from emu.trace.reader import TraceError
    from emu.trace.stat.counting import count

    try:
        found = count(trace, coder, groupings, choice)
    except TraceError as error:
        raise UsageError(str(error)) from None
    if not found.complete:
        complain_of_end(trace.path)
    return found


def complain_of_symbols(programs: Programs) -> None:
    """Say which programs have functions that cannot be named, and why."""
    for remark in programs.remarks():
        complain(f"unimmu trace: {remark}")


def number_of_rows(text: str) -> int:
    """How many groups are to be shown."""
    if not text.isdecimal() or not int(text[:9]) > 0 or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)
