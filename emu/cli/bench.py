"""``unimmu bench``: the benchmark suite.  An aim that is missed is shown, and is no error."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from emu.bench.exact import exact_helpers, exact_mode, walks_from_python
from emu.bench.figure import Figure, Measurement
from emu.bench.hardware import computing, counting, fills
from emu.bench.hugepages import huge_faults
from emu.bench.kernel import traps
from emu.bench.many import KINDS, many
from emu.bench.mappings import NUMBERS, mapping_numbers
from emu.bench.peers import absent_peers, beside, find_peers
from emu.bench.processes import processes
from emu.bench.scale import memory_sizes, process_numbers
from emu.bench.sharers import sharer_numbers
from emu.bench.startup import startup
from emu.bench.swapping import reclaim
from emu.cli.arguments import Parser, UsageError, output_path
from emu.cli.messages import version
from emu.cli.results import ResultFiles
from emu.cli.screen import Screen
from emu.cli.tlb import HOST, geometry_from_cpuid, preset_or_file
from mmu.native import reference_mode

_SCHEMA = 1


class _Scale(NamedTuple):
    """How much is measured: rounds, fewer of what takes long, how many times the loops are shorter than in the whole
    suite, and the same for the traces; how long the longer stream is; with how many mappings.
    """

    rounds: int
    long_rounds: int
    shrink: int
    shrink_traces: int
    longer: int
    mappings: tuple[int, ...]

    def __call__(self, size: int) -> int:
        """A loop of so much in the whole suite."""
        return max(1, size // self.shrink)


_FULL = _Scale(9, 5, 1, 1, 8, NUMBERS)
_QUICK = _Scale(3, 2, 8, 40, 2, (NUMBERS[0], NUMBERS[-1]))


def add_arguments(parser: Parser) -> None:
    """The options of ``unimmu bench``."""
    parser.description = (
        "Run the benchmark suite, which takes some minutes. An aim that is missed is shown, and is no error."
    )
    parser.epilog = (
        "examples:\n  unimmu bench --quick\n  unimmu bench --json bench.json\n  unimmu bench --compare bench.json\n"
        "  unimmu bench --perf-stat\n  unimmu bench --perf-stat=skylake-sp --quick\n"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter loops, for a rough idea")
    parser.add_argument(
        "--json", type=output_path, metavar="FILE", help="write every figure, with every round, as JSON"
    )
    parser.add_argument(
        "--compare", type=pathlib.Path, metavar="OLD.json",
        help="show the figures of an earlier run, whose --json this is, beside those of this one",
    )  # fmt: skip
    parser.add_argument(
        "--perf-stat", nargs="?", const=HOST, metavar="PRESET|FILE.toml",
        help="instead, run some programs under the host's perf stat, and in the machine with this TLB (default: what "
        "the host's CPUID describes), and show the TLB counters of both",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Measure everything, show it, and write the file if one is wanted."""
    if arguments.perf_stat is not None:
        return _beside_perf(arguments)
    old = None if arguments.compare is None else _old_figures(arguments.compare)
    with ResultFiles({"--json": arguments.json}) as files:
        return _measure(arguments, old, files)


def _measure(arguments: argparse.Namespace, old: Mapping[str, float] | None, files: ResultFiles) -> int:
    found = find_peers()
    if absent := absent_peers(found):
        print(f"not installed, so not measured beside: {', '.join(absent)}", file=sys.stderr)
    measurements = []
    for what, measure in _suite(found, quick=arguments.quick):
        print(f"measuring {what} ...", file=sys.stderr, flush=True)
        measurements.append(measure())
    _show([figure for measurement in measurements for figure in measurement.figures], old)
    if arguments.json is not None:
        files.write("--json", json.dumps(_report(measurements, quick=arguments.quick), indent=1) + "\n")
    return 0


def _beside_perf(arguments: argparse.Namespace) -> int:
    """The host's counters, and ours."""
    from emu.bench.perf_counters import compare, jobs

    if arguments.json is not None or arguments.compare is not None:
        raise UsageError("--perf-stat shows counters, and has no --json and no --compare")
    if arguments.perf_stat == HOST:
        geometry = geometry_from_cpuid(HOST, "--perf-stat")
    else:
        preset = preset_or_file(arguments.perf_stat, "--perf-stat")
        geometry = preset.geometry if preset.latency is None else preset.timed()
    rows, why_not = compare(geometry, jobs(quick=arguments.quick))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("program")
    table.add_column("event")
    for header in ("host", "model", "model / host"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        counts = ["-" if count is None else f"{count:,}" for count in (row.host, row.ours)]
        table.add_row(row.job.name, row.event, *counts, f"{row.ours / row.host:.2f}" if row.host and row.ours else "")
    console = Screen(file_width=160)
    console.print(f"TLB of the model: {geometry.name}; processor of the host: {_processor()}")
    console.print(table)
    if why_not is not None:
        console.print(f"The host's counters are missing: {why_not}.")
    return 0


def _old_figures(path: pathlib.Path) -> dict[str, float]:
    """The figures of a file of ``--json``, by name.  :class:`UsageError` if it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["schema"] != _SCHEMA:
            raise UsageError(f"--compare {path}: its schema is {report['schema']}, and this is {_SCHEMA}")
        return {figure["name"]: float(figure["value"]) for figure in report["figures"]}
    except OSError as error:
        raise UsageError(f"--compare {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"--compare {path}: this is no file that unimmu bench --json has written") from None


def _suite(peers: Mapping[str, list[str]], *, quick: bool) -> list[tuple[str, Callable[[], Measurement]]]:
    scale = _QUICK if quick else _FULL
    rounds = scale.rounds
    suite: list[tuple[str, Callable[[], Measurement]]] = [
        ("fills", lambda: fills(rounds, scale(16))),
        ("a compute loop", lambda: computing(rounds, scale(8_000_000))),
        ("counting", lambda: counting(rounds, scale(800_000))),
        ("exact mode", lambda: exact_mode(rounds, scale(800_000))),
        ("exact mode by helpers", lambda: exact_helpers(rounds, scale(400_000))),
        ("translate_many", lambda: walks_from_python(rounds, scale(1_000_000))),
        ("guest memory from 1 to 256 GiB", lambda: memory_sizes(rounds, scale(64))),
        ("from 1 to 1000 processes", lambda: process_numbers(rounds, scale(64))),
        ("from 1 to 10,000 sharers of a region", lambda: sharer_numbers(rounds, scale(800))),
        ("from 10 to 10,000 mappings", lambda: mapping_numbers(rounds, scale.mappings, 800)),
        *((f"many {kind}", partial(many, kind, rounds, scale(200), quick=quick)) for kind in KINDS),
        ("reclaim to swap", lambda: reclaim(rounds, scale(1 << 30))),
        ("system calls and page faults", lambda: traps(rounds, scale(32_000))),
        ("faults of huge pages", lambda: huge_faults(rounds, scale(400))),
        ("processes and signals", lambda: processes(rounds, scale(16_000))),
        ("start-up", lambda: startup(rounds)),
    ]
    if importlib.util.find_spec("pyarrow") is not None:
        from emu.bench.analyses import analyses
        from emu.bench.lab import lab
        from emu.bench.tracing import tracing

        fewer, longer = scale.long_rounds, scale.longer
        sizes = [max(1, size // scale.shrink_traces) for size in (100, 4_000_000, 10_000_000)]
        suite.append(("traces", lambda: tracing(fewer, *sizes)))
        suite.append(("replays of access streams", lambda: lab(fewer, scale(16), longer)))
        suite.append(("analyses of access streams", lambda: analyses(fewer, scale(8), longer)))
    else:
        print("PyArrow is not installed: traces and streams are not measured", file=sys.stderr)
    if peers:
        suite.append((" and ".join(peers), lambda: beside(peers, rounds, scale(40_000))))
    return suite


def _report(measurements: list[Measurement], *, quick: bool) -> dict[str, Any]:
    import unicorn

    return {
        "schema": _SCHEMA,
        "unimmu": version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "quick": quick,
        "mode": "reference" if reference_mode() else "native",
        "host": {
            "python": platform.python_version(),
            "unicorn": unicorn.__version__,
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "cpu": _processor(),
        },
        "figures": [figure for measurement in measurements for figure in measurement.figures_json()],
        "rounds_s": {measurement.name: measurement.rounds for measurement in measurements},
    }


def _processor() -> str:
    """What the host calls its processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _show(figures: list[Figure], old: Mapping[str, float] | None) -> None:
    console = Screen(file_width=160, markup=True)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("what")
    for header in ("figure", *(("before", "now / before") if old is not None else ()), "aim", ""):
        table.add_column(header, justify="right", no_wrap=True)
    for figure in figures:
        met = {None: "noise" if figure.aim else "", True: "met", False: "[bold]missed[/bold]"}[figure.met]
        before = () if old is None else _before(figure, old.get(figure.name))
        table.add_row(figure.what, _value(figure, figure.value), *before, str(figure.aim or ""), met)
    if reference_mode():
        console.print("[bold]reference mode:[/bold] the MMU's hooks ran as plain Python (NUMBA_DISABLE_JIT)")
    console.print(table)
    console.print(
        "Each figure is the median of several rounds, which take turns. A ratio is the median of the rounds' ratios."
    )
    if any(figure.aim is not None and figure.met is None for figure in figures):
        console.print(
            "noise: the figure came out below zero, because the host was busy; without --quick there is less noise"
        )


def _before(figure: Figure, value: float | None) -> tuple[str, str]:
    """An earlier value, and how many times that this one is."""
    if value is None:
        return "-", ""
    return _value(figure, value), f"{figure.value / value:.2f}" if value > 0 else ""


def _value(figure: Figure, value: float) -> str:
    number = f"{value:.0f}" if value >= 100 else f"{value:.2f}"
    return f"{number} {figure.unit}" if figure.unit else f"{number} ×"
