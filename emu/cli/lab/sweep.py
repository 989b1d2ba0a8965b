"""``unimmu tlb sweep``: run the points of a specification, here or on the workers of a Dask scheduler."""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emu.cli.arguments import Parser, UsageError, number_from
from emu.cli.messages import complain
from emu.cli.progress import on_terminal

if TYPE_CHECKING:
    from types import FrameType

    from emu.lab.sweep import Came, Pool, Sweep

#: The exit statuses where points failed, and where a file could not be written.
_FAILED, _OUTPUT_FAILED = 1, 74  # EX_IOERR
#: How often the results that there are go into the Parquet and the page, and how often a line tells of the progress
#: where standard error is no terminal, in seconds.
_RESULTS_S, _LINE_S = 5.0, 10.0
_EXAMPLES = """\
examples:
  unimmu tlb sweep gups.toml                             results in gups.results/
  unimmu tlb sweep gups.toml -j 8 -d /data/gups
  unimmu tlb sweep gups.toml --status                    what is there, while it goes on or later
  unimmu tlb sweep gups.toml --scheduler tcp://host:8786
                                                         on the workers of a Dask scheduler

the same command goes on where a sweep was stopped: a point that has a result is not run again.
docs/tlb-lab.md says what stands in SPEC.
"""


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = (
        "Run one command at each point of a grid, for example geometries by programs by page sizes, and keep\n"
        "the figures of all in one Parquet file, with a page of curves. Points that failed are reported, and\n"
        "run again the next time; the exit status is 1 then."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("spec", metavar="SPEC", help="the specification, a file of TOML")
    parser.add_argument(
        "-d", "--directory", type=pathlib.Path, metavar="DIR",
        help="where the results are (default: SPEC with .results in place of .toml, in the working directory)",
    )  # fmt: skip
    parser.add_argument(
        "-j", "--jobs", type=number_from(1, 4096), metavar="N",
        help="points at once on this host (default: one for each CPU)",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", type=_address, metavar="ADDRESS",
        help="run on the workers of the Dask scheduler there (tcp://HOST:PORT), which find the same files at the same "
        "paths; one thread a worker",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=number_from(0), default=300, metavar="S",
        help="with --scheduler: how long to wait for one that is gone, or for workers (default: 300 seconds)",
    )  # fmt: skip
    parser.add_argument("--status", action="store_true", help="run nothing; show what has come so far")


def _address(text: str) -> str:
    """Where a scheduler of Dask's is; argparse reports what is no address."""
    found = re.fullmatch(r"(?:[a-z]+://)?(?:\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):([0-9]{1,5})/?", text)
    if found is None or not 0 < int(found[1]) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not tcp://HOST:PORT (`dask scheduler` prints it)")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Run the sweep; returns the exit status."""
    from emu.lab.spec import BadSpec, read_spec
    from emu.lab.store import Store
    from emu.lab.sweep import Sweep

    if arguments.scheduler is not None and arguments.jobs is not None:
        raise UsageError("-j is for this host, and --scheduler for another one's workers")
    try:
        spec = read_spec(arguments.spec)
    except BadSpec as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{arguments.spec}: {error.strerror}") from None
    directory = arguments.directory or pathlib.Path(f"{spec.path.name.removesuffix('.toml')}.results")
    if arguments.status and not directory.is_dir():
        raise UsageError(f"--status: {directory}: no sweep has begun there")
    try:
        sweep = Sweep(spec, Store(directory))
        if not arguments.status:
            _run(sweep, arguments)
        return _told(sweep)
    except BadSpec as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        complain(f"unimmu tlb sweep: {error.filename or directory}: {error.strerror or error}")
        return _OUTPUT_FAILED


def _run(sweep: Sweep, arguments: argparse.Namespace) -> None:
    from emu.lab.dask_pool import NoScheduler

    total, missing = len(sweep.points), len(sweep.missing())
    if total > missing:
        complain(f"unimmu tlb sweep: {total - missing:,} of {total:,} points have their results already")
    if not missing:
        return
    write_files(sweep)  # now too: a place where they cannot be is told before the first point
    written = time.monotonic()

    try:
        pool = _pool(arguments)
        with _ended_as_by_ctrl_c(), _progress(total, total - missing) as report:

            def came(each: Came) -> None:
                nonlocal written
                if "error" in each.outcome:
                    labels = sweep.tasks[sweep.keys.index(each.key)].labels
                    named = " ".join(f"{name}={label}" for name, label in labels.items())
                    complain(f"unimmu tlb sweep: {named}: {each.outcome['error']}")
                report()
                if time.monotonic() - written > _RESULTS_S:
                    write_files(sweep)
                    written = time.monotonic()

            sweep.run(pool, came)
    except NoScheduler as error:
        write_files(sweep)
        raise UsageError(f"{error}; the results so far are kept, and the same command goes on") from None
    except KeyboardInterrupt:
        write_files(sweep)
        complain("unimmu tlb sweep: stopped; the same command goes on")
        raise


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does: points have scratch files, which nobody else removes."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    ignored = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_IGN]
    before = {
        number: signal.signal(number, interrupt) for number in {signal.SIGTERM, signal.SIGHUP}.difference(ignored)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pool(arguments: argparse.Namespace) -> Pool:
    from emu.lab.sweep import LocalPool

    if arguments.scheduler is None:
        return LocalPool(arguments.jobs or len(os.sched_getaffinity(0)))
    from emu.lab.dask_pool import DaskPool

    return DaskPool(arguments.scheduler, lambda line: complain(f"unimmu tlb sweep: {line}"), arguments.patience)


def write_files(sweep: Sweep) -> None:
    """Write the Parquet, the page, and its pictures, of what there is."""
    from emu.lab.curves import draw_curves
    from emu.lab.page import page_of
    from emu.lab.store import PAGE
    from emu.lab.sweep_report import findings, picture_names

    rows = sweep.rows()
    sweep.store.write_results(rows)
    done = sum(1 for row in rows if row.figures is not None)
    opening = f"{done:,} of {len(rows):,} points have a result."
    found = findings(sweep.spec, rows)
    sweep.store.write_text(PAGE, page_of(sweep.spec.title, opening, found))
    for name, finding in zip(picture_names(sweep.spec), found, strict=False):  # behind them, the open points
        for picture in finding.pictures:
            sweep.store.write_text(name, draw_curves(picture))


def _told(sweep: Sweep) -> int:
    """Write the files and print the tables; returns the exit status."""
    from emu.lab.finding import lines_of
    from emu.lab.store import PAGE, RESULTS
    from emu.lab.sweep_report import findings
    from emu.linux.event_kind import printable
    from emu.trace.report.units import plural

    write_files(sweep)
    rows = sweep.rows()
    print(f" {sweep.spec.title}")
    for finding in findings(sweep.spec, rows):
        print()
        for line in lines_of(finding):
            print(line)
    done = sum(1 for row in rows if row.figures is not None)
    failed = sum(1 for row in rows if row.figures is None and row.error is not None)
    missing, points = len(rows) - done - failed, plural(len(rows), "point", "points")
    print(f" {points}: {done:,} done, {failed:,} failed, {missing:,} missing")
    print(printable(f" {sweep.store.directory / RESULTS}, {sweep.store.directory / PAGE}"))
    return _FAILED if failed else 0


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[], None]]:
    """Show how much is done, and how long the rest takes; what is given is called for each point that is done."""
    if on_terminal():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from emu.cli.screen import Screen

        columns = (TextColumn("points"), BarColumn(), MofNCompleteColumn(), TextColumn("left:"), TimeRemainingColumn())
        with Progress(*columns, console=Screen(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total, completed=done)
            yield lambda: bar.advance(task)
        return
    begun = last = time.monotonic()
    here = 0

    def report() -> None:
        nonlocal here, last
        here, now = here + 1, time.monotonic()
        if now - last > _LINE_S:
            last = now
            left = round((now - begun) / here * (total - done - here))
            complain(f"unimmu tlb sweep: {done + here:,} of {total:,} points, {left // 60}:{left % 60:02} left")

    yield report
