"""``unimmu demo --postgres``: Debian's PostgreSQL, unchanged, on page tables of four kinds."""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.cli.arguments import Parser, UsageError, format_size, output_path, parse_size, whole_number
from emu.cli.demos.postgresguest import BLOCK, VERSIONS
from emu.cli.demos.postgresserver import Cluster, Mode, Work, initdb, serve
from emu.cli.hostmemory import available_memory
from emu.cli.messages import version
from emu.cli.results import ResultFiles
from emu.cli.screen import Screen
from emu.cli.tlb import preset_or_file
from emu.kernel.sched import MAX_CPUS
from emu.trace.report.figures import Grid
from emu.trace.report.postgres import ServerFigures, grid, in_words
from emu.trace.report.sharing import draw_sharing
from emu.trace.report.units import size_text
from mmu.memory import MAX_BYTES

if TYPE_CHECKING:
    from emu.trace.formats.registry import Format
    from emu.trace.formats.sink import Sink

CLIENTS, BUFFERS, CPUS = 8, 16 << 20, 2
_TLB = "skylake-sp"
_OUTPUT = "unimmu-postgres.svg"
_MAX_CLIENTS = 1000
#: Half of the blocks in 2 MiB, which a table of the lowest level maps: each of its tables is used, wherever they begin.
_MAX_STRIDE = (1 << 20) // BLOCK
_SCHEMA = 1


@dataclass(frozen=True)
class PostgresOptions:
    """What to run, with which TLBs (of more than one, the work is done again with each), and what to write."""

    work: Work
    level: str
    tlbs: tuple[str, ...]
    output: pathlib.Path
    json: pathlib.Path | None
    trace: pathlib.Path | None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways to map the buffers, plain first and msharefs last."""
        return (
            Mode("plain", "plain MAP_SHARED"),
            Mode("huge pages", "huge pages", large_pages=True),
            Mode("ptshare", "ptshare", ptshare=True),
            Mode("msharefs", f"msharefs, level={self.level}", options=f"level={self.level},anonymous=on"),
        )


def add_arguments(parser: Parser) -> None:
    """What ``unimmu demo`` takes with --postgres alone."""
    add = parser.add_argument_group("only with --postgres, each of which may be left out").add_argument
    add(
        "--clients", type=whole_number, metavar="N", help=f"how many clients, each with a backend (default: {CLIENTS})"
    )  # fmt: skip
    add(
        "--shared-buffers", type=parse_size, metavar="SIZE",
        help=f"the buffers of the server (default: {format_size(BUFFERS)})",
    )  # fmt: skip
    add(
        "--stride", type=whole_number, metavar="N",
        help=f"each client reads one block of so many, up to {_MAX_STRIDE}, in place of all: for large buffers",
    )  # fmt: skip
    add("--root", metavar="DIR", help="the directory that has PostgreSQL installed (default: /)")
    add(
        "--tlb", metavar="PRESET,...",
        help=f"whose TLB misses are counted; the work is done with each (default: {_TLB}; off)",
    )  # fmt: skip
    add(
        "--trace", type=output_path, metavar="FILE",
        help="record what happens while the clients work on a region (docs/tracing.md)",
    )  # fmt: skip
    add("--cpus", type=whole_number, metavar="N", help=f"vCPUs of the machine (default: {CPUS})")


def programs_in(root: str) -> str:
    """Where the newest PostgreSQL in a root is, as its guests see it.  UsageError says how to get one."""
    found = pathlib.Path(root, VERSIONS.lstrip("/")).glob("*/bin/postgres")
    versions = sorted((int(path.parts[-3]) for path in found if path.parts[-3].isdigit()), reverse=True)
    if not versions:
        raise UsageError(
            f"--root {root}: no PostgreSQL in {VERSIONS}: apt install postgresql-15, or name a root that has it"
        )
    return f"{VERSIONS}/{versions[0]}/bin"


def options_from(arguments: argparse.Namespace) -> PostgresOptions:
    """Check everything that can be checked before a long run.  :class:`UsageError` says what is wrong."""
    for option in ("quick", "processes", "size"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} has no meaning with --postgres")
    clients = CLIENTS if arguments.clients is None else arguments.clients
    buffers = BUFFERS if arguments.shared_buffers is None else arguments.shared_buffers
    cpus = CPUS if arguments.cpus is None else arguments.cpus
    stride = 1 if arguments.stride is None else arguments.stride
    root = arguments.root or "/"
    if not 1 <= cpus <= MAX_CPUS:
        raise UsageError(f"--cpus {cpus}: it must be from 1 to {MAX_CPUS}")
    if not 1 <= clients <= _MAX_CLIENTS:
        raise UsageError(f"--clients {clients}: it must be from 1 to {_MAX_CLIENTS}")
    if buffers < 1 << 20 or buffers % (1 << 20):
        raise UsageError(f"--shared-buffers {format_size(buffers)}: it must be a multiple of 1M, and not 0")
    if not 1 <= stride <= _MAX_STRIDE:
        raise UsageError(f"--stride {stride}: it must be from 1 to {_MAX_STRIDE}")
    tlbs = tuple(dict.fromkeys(filter(None, (arguments.tlb or _TLB).split(","))))
    for name in tlbs if tlbs != ("off",) else ():
        preset_or_file(name, "--tlb")
    output: pathlib.Path = arguments.output or pathlib.Path(_OUTPUT)
    if output.suffix != ".svg":
        raise UsageError(f"--output {output}: the name must end in .svg")
    if arguments.trace is not None:
        _format(arguments.trace)
    work = Work(root, programs_in(root), clients, buffers, cpus, stride)
    if work.memory > MAX_BYTES:
        raise UsageError(f"--shared-buffers {format_size(buffers)}: a machine has at most {size_text(MAX_BYTES)}")
    available = available_memory()
    if available is not None and work.host_memory > available:
        needed = f"about {size_text(work.host_memory >> 20 << 20)} of this host's memory are needed"
        raise UsageError(f"{needed} and {size_text(available >> 20 << 20)} are free: use smaller --shared-buffers")
    return PostgresOptions(work, arguments.level, tlbs, output, arguments.json, arguments.trace)


def run(arguments: argparse.Namespace, show: Callable[[Screen, Grid], None]) -> int:
    """Make a cluster, run its server in each way, print the figures side by side, and write the picture."""
    options = options_from(arguments)
    with ResultFiles({"--output": options.output, "--json": options.json, "--trace": options.trace}) as files:
        return _compare(options, files, show)


def _compare(options: PostgresOptions, files: ResultFiles, show: Callable[[Screen, Grid], None]) -> int:
    console = Screen(file_width=120)
    try:
        cluster = initdb(options.work)
        runs = [_measured(options, cluster, mode) for mode in options.modes[:-1]]
        runs.append(_traced(options, cluster, options.modes[-1], files))
    except MemoryError as error:
        raise UsageError(f"the host does not have enough memory: {error}") from None
    plain, shared = runs[0], runs[-1]
    show(console, grid(runs, options.work.buffers, options.work.stride))
    console.print("audit: nothing is lost: every table, frame and reference of each machine was recounted")
    files.write("--output", draw_sharing(plain.snapshot, shared.snapshot))
    console.print(f"picture: {options.output}\n", soft_wrap=True)
    console.print(in_words(plain, shared), style="bold", soft_wrap=True)
    if options.json is not None:
        report = {
            "schema": _SCHEMA,
            "unimmu": version(),
            "postgres": cluster.version,
            "clients": options.work.clients,
            "shared_buffers_bytes": options.work.buffers,
            "stride": options.work.stride,
            "cpus": options.work.cpus,
            "level": options.level,
            "runs": [run.as_json() for run in runs],
            "audit": {"findings": []},
        }
        files.write("--json", json.dumps(report, indent=1) + "\n")
    return 0


def _traced(options: PostgresOptions, cluster: Cluster, mode: Mode, files: ResultFiles) -> ServerFigures:
    """The same, with the trace if there is to be one."""
    if options.trace is None:
        return _measured(options, cluster, mode)
    return _measured(options, cluster, mode, _format(options.trace).sink(lambda data: files.write("--trace", data)))


def _format(path: pathlib.Path) -> Format:
    """The format of a trace.  :class:`UsageError` if the name does not say, or it has nothing but accesses."""
    from emu.trace.formats.registry import UnknownFormat, format_of  # few runs are recorded

    try:
        form = format_of(str(path), option="unimmu trace convert")
        form.sink(lambda piece: None)
    except UnknownFormat as error:
        raise UsageError(f"--trace: {error}") from None
    except ModuleNotFoundError as error:
        raise UsageError(f"--trace {path}: {form.name} needs {error.name}: pip install 'unimmu[trace]'") from None
    if form.of_accesses:
        raise UsageError(f"--trace {path}: {form.name} has nothing but accesses, which are not recorded here")
    return form


def _measured(options: PostgresOptions, cluster: Cluster, mode: Mode, sink: Sink | None = None) -> ServerFigures:
    """With the first TLB; of the others only the misses."""
    first, *others = options.tlbs
    figures = serve(options.work, cluster, mode, first, sink)
    for name in others:
        figures.tlb_misses.update(serve(options.work, cluster, mode, name).tlb_misses)
    return figures
