"""``unimmu demo``: the two-minute story.  Several processes use one memory, without and with shared page tables."""

from __future__ import annotations

import argparse
import io
import pathlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

import guests
from emu.cli.arguments import Parser, UsageError, format_size, output_path, parse_size, whole_number
from emu.cli.demos import postgres, sga
from emu.cli.progress import Report, on_terminal, progress
from emu.cli.results import ResultFiles
from emu.cli.screen import Screen
from emu.kernel.sched import StopReason
from emu.kernel.signal_state import Sig
from emu.machine import Machine, Mount
from emu.trace.report.figures import Grid, costs, machine_work, walks
from emu.trace.report.page import sharing_page
from emu.trace.report.sharing import describe_sharing, draw_sharing
from emu.trace.report.snapshot import Snapshot, take_snapshot
from emu.trace.report.units import plural, size_text
from mmu.memory import MAX_BYTES, PAGE_SHIFT, PAGE_SIZE

#: Where the guest program `sharers` maps its object in every mode.
OBJECT = 2 << 40
_MOUNT_POINT = "/sys/fs/mshare"
_DEFAULT_OUTPUT = "unimmu-demo.svg"
#: The demos in which an option has a meaning, where it is not this one.
_NEEDS = {
    "plain": ("sga",), "json": ("sga", "postgres"), "clients": ("postgres",), "shared_buffers": ("postgres",),
    "stride": ("postgres",), "root": ("postgres",), "tlb": ("postgres",), "cpus": ("postgres",), "trace": ("postgres",),
}  # fmt: skip
_MAX_PROCESSES = 512  # of `sharers`
#: Instructions from one look at the progress to the next.
_STEP = 100_000
#: Rows of a table on the terminal, besides sums.
_MOST_ROWS = 16


@dataclass(frozen=True)
class Mode:
    """One way to share memory: how `sharers` calls it, a word for the tables, and words for people."""

    argument: str
    label: str
    title: str


_MODES = (Mode("plain", "plain", "Plain MAP_SHARED"), Mode("mshare", "msharefs", "Through msharefs"))


@dataclass(frozen=True)
class DemoOptions:
    """What to run; ``size`` in bytes."""

    processes: int
    size: int
    level: str
    output: pathlib.Path

    @property
    def memory(self) -> int:
        """Bytes that the machine needs: the data, a set of tables for each process, and what the programs take."""
        tables = self.processes * ((self.size >> 9) + (256 << 10))
        return (self.size + tables + (64 << 20) + PAGE_SIZE - 1) & -PAGE_SIZE


_EXAMPLES = """\
examples:
  unimmu demo --quick
  unimmu demo --processes 64 --size 256M --output demo.html
  unimmu demo --sga --quick --json sga.json
  unimmu demo --postgres --clients 50 --shared-buffers 128M --level pud
"""


def add_arguments(parser: Parser) -> None:
    """The options of ``unimmu demo``."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--sga", action="store_true",
        help="the problem that mshare was made for: 1500 processes that share 300G, all of it mapped",
    )  # fmt: skip
    parser.add_argument(
        "--postgres", action="store_true",
        help="a real server: PostgreSQL of this system, unchanged, with its buffers mapped in four ways",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="4 processes and 64M instead of 8 and 1G (with --sga: 100 and 4G)"
    )
    parser.add_argument(
        "--processes",
        type=whole_number,
        metavar="N",
        help=f"how many processes, 1 to {_MAX_PROCESSES} (with --sga: 4000)",
    )
    parser.add_argument("--size", type=parse_size, metavar="SIZE", help="how much memory they share, such as 64M or 1G")
    parser.add_argument(
        "--level", choices=("pte", "pmd", "pud"), default="pmd",
        help="which tables are shared (default: pmd); pte is there only with --postgres",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=pathlib.Path, metavar="FILE",
        help=f"the picture: FILE.svg, or FILE.html for a page that has the figures too (default: {_DEFAULT_OUTPUT};"
        " with --postgres FILE.svg, unimmu-postgres.svg)",
    )  # fmt: skip
    parser.add_argument(
        "--plain", type=whole_number, metavar="N",
        help="with --sga: how many processes map the memory without sharing tables (default: 3)",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=output_path, metavar="FILE", help="with --sga or --postgres: write the figures as JSON"
    )
    postgres.add_arguments(parser)


def options_from(arguments: argparse.Namespace) -> DemoOptions:
    """Check everything that can be checked before a long run.  :class:`UsageError` says what is wrong."""
    processes = arguments.processes if arguments.processes is not None else 4 if arguments.quick else 8
    size = arguments.size if arguments.size is not None else (64 << 20) if arguments.quick else 1 << 30
    output: pathlib.Path = arguments.output or pathlib.Path(_DEFAULT_OUTPUT)
    if not 1 <= processes <= _MAX_PROCESSES:
        raise UsageError(f"--processes {processes}: it must be from 1 to {_MAX_PROCESSES}")
    if size < PAGE_SIZE or size % PAGE_SIZE:
        raise UsageError(f"--size {format_size(size)}: it must be a multiple of {PAGE_SIZE} bytes, and not 0")
    if output.suffix not in (".svg", ".html"):
        raise UsageError(f"--output {output}: the name must end in .svg or .html")
    options = DemoOptions(processes, size, arguments.level, output)
    if options.memory > MAX_BYTES:
        raise UsageError(f"--size {format_size(size)}: too large: a machine has at most {size_text(MAX_BYTES)}")
    return options


def run(arguments: argparse.Namespace) -> int:
    """Run both, print the figures, write the picture."""
    if arguments.sga and arguments.postgres:
        raise UsageError("--sga and --postgres are two demos: give one of them")
    _check_meaning(arguments)
    if arguments.sga:
        if arguments.output is not None:
            raise UsageError("--output: --sga draws no picture")
        return sga.run(arguments, _show)
    if arguments.postgres:
        return postgres.run(arguments, _show)
    options = options_from(arguments)
    with ResultFiles({"--output": options.output}) as files:
        return _compare(options, files)


def _compare(options: DemoOptions, files: ResultFiles) -> int:
    console = Screen(file_width=120)
    snapshots = [_run_sharers(options, mode) for mode in _MODES]
    apart, shared = snapshots
    for grid in (costs(snapshots), machine_work(snapshots), walks(apart), walks(shared)):
        _show(console, grid.shortened(_MOST_ROWS))
    picture = sharing_page(apart, shared) if options.output.suffix == ".html" else draw_sharing(apart, shared)
    files.write("--output", picture)
    console.print("audit: nothing is lost: every table, frame and reference of both machines was recounted")
    console.print(f"picture: {options.output}\n", soft_wrap=True)
    for sentence in describe_sharing(apart, shared):
        console.print(sentence, style="bold", soft_wrap=True)
    return 0


def _check_meaning(arguments: argparse.Namespace) -> None:
    """:class:`UsageError` for an option that has a meaning only in another demo."""
    for option, demos in _NEEDS.items():
        if getattr(arguments, option) is not None and not any(getattr(arguments, demo) for demo in demos):
            needed = " or ".join(f"--{demo}" for demo in demos)
            raise UsageError(f"--{option.replace('_', '-')} needs {needed}")
    if arguments.level == "pte" and not arguments.postgres:
        raise UsageError("--level pte needs --postgres")


# -- the machine -------------------------------------------------------------------------------------------------------


def _run_sharers(options: DemoOptions, mode: Mode) -> Snapshot:
    """Run one machine from start to end; measure it while all processes sleep and have touched the whole object."""
    output, errors = io.BytesIO(), io.BytesIO()
    try:
        machine = Machine(
            options.memory, stdout=output, stderr=errors,
            mounts=[Mount("msharefs", _MOUNT_POINT, f"level={options.level}")],
        )  # fmt: skip
    except (ValueError, MemoryError) as error:
        raise UsageError(str(error)) from None
    mmu, scheduler = machine.kernel.cpu.mmu, machine.kernel.scheduler
    scheduler.time_slice = _STEP
    parent = machine.spawn(guests.path("sharers"), [mode.argument, str(options.processes), str(options.size)])
    start = time.perf_counter()
    # each process reaches each page once, and the TLB keeps few: the fills say how far they are
    with _progress(_title(options, mode), options.processes * (options.size >> PAGE_SHIFT)) as report:

        def look() -> bool:
            report(mmu.counters.fills)
            return False

        reason = machine.run(until=look)
    _expect(reason == StopReason.IDLE, f"the processes ended as: {reason.value}", output, errors)
    snapshot = take_snapshot(machine, mode.label, mode.title, OBJECT, options.size, time.perf_counter() - start)
    machine.send_signal(parent, Sig.USR1)
    reason = machine.run()
    _expect(reason == StopReason.EXITED, f"the processes did not end: {reason.value}", output, errors)
    _expect(output.getvalue().endswith(b"sum ok\n"), "the processes read wrong data", output, errors)
    findings = machine.audit()
    _expect(not findings, "the audit found: " + "; ".join(findings), output, errors)
    machine.ram.discard(0, machine.ram.size)  # now, not when Python happens to drop the machine
    return snapshot


def _title(options: DemoOptions, mode: Mode) -> str:
    return f"{mode.title}: {plural(options.processes, 'process', 'processes')}, {size_text(options.size)}"


def _expect(condition: bool, complaint: str, output: io.BytesIO, errors: io.BytesIO) -> None:
    if not condition:
        said = (output.getvalue() + errors.getvalue()).decode("utf-8", "replace").strip()
        raise RuntimeError(f"demo: {complaint}" + (f"\nthe guest said: {said}" if said else ""))


# -- the terminal ------------------------------------------------------------------------------------------------------


@contextmanager
def _progress(title: str, total: int) -> Iterator[Report]:
    """Show a bar on stderr, or a line before it where that is no terminal, and a line behind it.  Gives a function that
    is told how much is done.
    """
    start = time.perf_counter()
    if not on_terminal():
        print(f"{title} ...", file=sys.stderr, flush=True)
    with progress(title, total) as report:
        yield report
    print(f"{title}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _show(console: Screen, grid: Grid) -> None:
    padding = (0, 1, 0, 0) if len(grid.headers) < 8 else (0, 0)  # within 80 columns
    table = Table(box=SIMPLE_HEAD, padding=padding, pad_edge=False)
    for number, header in enumerate(grid.headers):
        table.add_column(header, justify="left" if number == 0 else "right", no_wrap=True)
    ordinary = len(grid.rows) - grid.totals
    for number, row in enumerate(grid.rows):
        last = number == len(grid.rows) - 1
        table.add_row(*row, end_section=number == ordinary - 1, style="bold" if grid.totals and last else None)
    console.print(grid.title, style="bold", soft_wrap=True)
    console.print(table)
    if grid.note:
        console.print(f"{grid.note}\n", style="dim", soft_wrap=True)
