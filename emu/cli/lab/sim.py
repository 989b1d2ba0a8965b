"""``unimmu tlb sim``: a recorded stream through TLB models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emu.cli.arguments import Parser, UsageError, number_from, output_path
from emu.cli.lab import tables
from emu.cli.progress import Report, progress
from emu.cli.results import ResultFiles
from emu.cli.tlb import is_file, nested, preset_or_file, timed, with_settings

if TYPE_CHECKING:
    from emu.lab.batch import Batch
    from emu.lab.simulation import Simulation
    from emu.lab.stream_file import PageBatch
    from emu.lab.table_mapper import TableMapper

    Batches = Iterator[Batch | PageBatch]
    from mmu.geometry import Geometry
    from mmu.geometry_file import Preset

_EXAMPLES = """\
examples:
  unimmu run --record a.parquet gups 16M 100000
  unimmu tlb sim a.parquet --tlb skylake-sp,zen4,my.toml
  unimmu tlb sim a.parquet --tlb zen4 --tlb-set l2.ways=8 --json zen4.json
  unimmu tlb sim a.parquet --tlb skylake-sp,my.toml --tlb-latency --tlb-set latency.load=250
  unimmu tlb sim a.parquet --tlb all --warm-up 100000
"""
#: What --tlb takes for every preset.
_ALL = "all"
_ARRAY = ("lookups", "hits", "misses", "evictions", "invalidations", "drops", "installs")


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = (
        "Replay a stream of accesses through models of TLBs, in one pass. Each counts what `unimmu run --tlb`\n"
        "counts with that model."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "file", metavar="FILE",
        help="the stream: what `unimmu run --record` wrote, or a trace of ChampSim, DynamoRIO (memtrace) or lackey, or "
        "a table of addresses, .csv or .parquet (docs/tlb-lab.md)",
    )  # fmt: skip
    parser.add_argument(
        "--tlb", action="append", default=[], metavar="A,B,...",
        help=f"the models, at least one: presets (`unimmu presets`), FILE.toml, or {_ALL} presets (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--tlb-set", action="append", default=[], metavar="ARRAY.FIELD=VALUE,...",
        help="every model with something else in it: l2.ways=8,l2.policy=fifo (docs/mmu.md; repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--tlb-latency", action="store_true",
        help="count what translations cost too, in cycles, with the latencies of each model; "
        f"{_ALL} are then those that have some",
    )  # fmt: skip
    parser.add_argument(
        "--nested", nargs="?", const="", choices=("", "4K", "2M", "1G"), metavar="SIZE",
        help="walk in two dimensions, through EPT with pages of 4K, 2M or 1G, or as FILE.toml says (docs/mmu.md)",
    )  # fmt: skip
    tables.add_tables(parser.add_mutually_exclusive_group().add_argument)
    tables.add_spaces(parser.add_argument)
    parser.add_argument(
        "--warm-up", type=number_from(0), default=0, metavar="N", help="do not count the first N accesses"
    )
    parser.add_argument(
        "--seed", type=number_from(0), metavar="N",
        help="of random replacement (default: that of the run that was recorded)",
    )  # fmt: skip
    parser.add_argument(
        "--pcids", type=number_from(1, 4094), metavar="N",
        help="as if the kernel used so many PCIDs on each vCPU (Linux: 6), where it flushed at each load of CR3",
    )  # fmt: skip
    parser.add_argument("--json", type=output_path, metavar="FILE", help="write all counters to FILE as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Simulate and show."""
    tables.check(arguments)
    with ResultFiles({"--json": arguments.json}, tables.read_by(arguments)) as files:
        return _simulate(arguments, files)


def _simulate(arguments: argparse.Namespace, files: ResultFiles) -> int:
    models = geometries_of(arguments.tlb, arguments.tlb_set, latency=arguments.tlb_latency, size=arguments.nested)
    geometries = [geometry for _, geometry in models]
    from emu.cli.running.accesses import needs_library

    needs_library(arguments.file)
    from emu.lab.batch import StreamError
    from emu.linux.event_kind import printable

    try:
        with progress("the stream is replayed", None) as report:
            accesses, figures, mapper = _simulated(arguments, geometries, report)
    except StreamError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename or arguments.file}: {error.strerror}") from None
    print(f" {printable(arguments.file)}: {accesses:,} accesses", end="")
    print(f", of which the first {min(accesses, arguments.warm_up):,} are not counted\n" if arguments.warm_up else "\n")
    for line in table(headings_of(models), figures):
        print(line)
    tables.tell(arguments, mapper)
    if arguments.json is not None:
        said = {"file": arguments.file, "accesses": accesses, "warm_up": arguments.warm_up, "models": figures}
        if mapper is not None:
            said["left_out"] = mapper.left_out.figures()
        files.write("--json", json.dumps(said, indent=2) + "\n")
    return 0


def geometries_of(
    names: Sequence[str], settings: Sequence[str], *, latency: bool = False, size: str | None = None
) -> list[tuple[str, Geometry]]:
    """What --tlb, --tlb-set, --tlb-latency and --nested ask for, each with the word that asked for it.

    ``size`` is that of the pages of a second dimension.

    :class:`UsageError` for a model that there is not, and for one that has no latencies where they are asked for.
    """
    from mmu.presets import all_presets

    found: list[tuple[str, Preset]] = []
    for name in (name for text in names for name in text.split(",") if name):
        if name == _ALL:
            presets = all_presets().values()
            found += [(_ALL, preset) for preset in presets if preset.latency is not None or not latency]
        else:
            found.append((name, preset_or_file(name, "sim --tlb")))
    if not found:
        raise UsageError("--tlb A,B says which models: presets (`unimmu presets` lists them), FILE.toml, or all")
    models = [(name, timed(preset) if latency else preset.geometry) for name, preset in found]
    if size is not None:
        said = [preset.nested for _, preset in found]
        models = [(name, nested(geometry, size, of)) for (name, geometry), of in zip(models, said, strict=True)]
    return [(name, with_settings(geometry, settings)) for name, geometry in models]


def headings_of(models: Sequence[tuple[str, Geometry]]) -> list[str]:
    """The names of the models; with its file where another one has the same name."""
    names = [geometry.name for _, geometry in models]
    return [
        f"{name} of {word}" if names.count(name) > 1 and is_file(word) else name
        for name, (word, _) in zip(names, models, strict=True)
    ]


def _simulated(
    arguments: argparse.Namespace, geometries: Sequence[Geometry], report: Report
) -> tuple[int, list[dict[str, Any]], TableMapper | None]:
    """How many accesses there are, and what each model has counted; and what has found them in given tables."""
    from emu.lab.simulation import less, parted

    simulation, batches, mapper = _simulation(arguments, geometries)
    before: list[dict[str, Any]] | None = None
    for batch in _with_report(parted(batches, arguments.warm_up), report):
        simulation.add(batch)
        if before is None and arguments.warm_up and simulation.accesses >= arguments.warm_up:
            before = simulation.figures()
    figures = simulation.figures()
    if arguments.warm_up:  # of a stream that is shorter nothing is counted
        figures = [less(now, old) for now, old in zip(figures, before or figures, strict=True)]
    return simulation.accesses, figures, mapper


def _simulation(
    arguments: argparse.Namespace, geometries: Sequence[Geometry]
) -> tuple[Simulation, Batches, TableMapper | None]:
    """The models, and what they are to be given: the tables are those of the run, those of --tables, or made by a
    policy."""
    from emu.lab.pcids import with_pcids
    from emu.lab.simulation import Simulation, has_own_tables
    from emu.lab.stream import has_tables, open_stream
    from emu.lab.stream_file import facts_of, read_pages

    if not has_tables(arguments.file):
        if arguments.pcids is not None and arguments.tables is None:
            raise UsageError(f"--pcids {arguments.pcids}: {arguments.file} does not say when CR3 was loaded")
        if arguments.nested is not None:
            raise UsageError(f"--nested: {arguments.file} does not say what guest-physical memory there was")
        if arguments.tables is not None:
            given = tables.mapper_of(arguments)
            stream = given.mapped(open_stream(arguments.file, ("page", "kind", "space")))
            if arguments.pcids is not None:
                stream = with_pcids(stream, arguments.pcids)
            return Simulation(geometries, given.memory_bytes, arguments.seed or 0), stream, given
        mapper = tables.made_by_policy(arguments, sum(map(has_own_tables, geometries)))
        batches = mapper.mapped(open_stream(arguments.file, ("page", "kind", "space")))
        return Simulation(geometries, mapper.memory_bytes, arguments.seed or 0, mapper.tables), batches, None
    tables.check_stream(arguments, has_tables=True)
    facts = facts_of(arguments.file)
    if "memory_bytes" not in facts:
        raise UsageError(f"{arguments.file}: it does not say how much memory the machine had (--record does)")
    seed = int(facts.get("seed", 0)) if arguments.seed is None else arguments.seed
    simulation = Simulation(geometries, int(facts["memory_bytes"]), seed)
    if arguments.pcids is None:
        return simulation, read_pages(arguments.file), None
    recorded = open_stream(arguments.file, ("page", "kind", "space", "vcpu", "shift"))
    return simulation, with_pcids(recorded, arguments.pcids), None


def _with_report(batches: Batches, report: Report) -> Batches:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        report(done)


def table(headings: Sequence[str], figures: Sequence[dict[str, Any]]) -> list[str]:
    """The counters of all models, a column each; what is 0 in all is left out, and what a model does not have is -."""
    rows: dict[str, list[int | None]] = {}
    for column, model in enumerate(figures):
        for name, value in _counters(model):
            rows.setdefault(name, [None] * len(figures))[column] = value
    shown = {}
    for name, values in rows.items():
        if any(values):
            shown[name] = [_cell(value) for value in values]
            if (whole := rows.get(name.removesuffix("-misses") + "s")) is not None and name.endswith("-misses"):
                shown[f"  of {name.removesuffix('-misses')}s"] = list(map(_share, values, whole))
    columns = [[heading, *(cells[at] for cells in shown.values())] for at, heading in enumerate(headings)]
    widths = [max(map(len, column)) for column in columns]
    first = max(map(len, shown), default=0)
    lines = [("", list(headings)), *shown.items()]
    return [
        f" {name:{first}}  " + "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        for name, cells in lines
    ]


def _counters(model: dict[str, Any]) -> Iterator[tuple[str, int]]:
    yield from model["perf"].items()
    if model["latency"] is not None:
        each = model["latency"]["by_access"].values()
        yield "cycles of hits", sum(one["stlb_hit_cycles"] for one in each)
        yield "cycles of walks", sum(one["walk_cycles"] for one in each)
        for name, value in model["latency"]["walk_loads"].items():
            yield f"loads, {name}", value
    if model["nested"] is not None:
        for name, key in (("EPT walks", "walks"), ("EPT entries", "loads"), ("nested TLB hits", "tlb_hits")):
            yield name, model["nested"][key]
    for arrays in model["tlb"].values():
        for array, counters in arrays.items():
            for name in _ARRAY:
                yield f"{array} {name}", counters[name]
    for cache, counters in model["structure_caches"].items():
        for name, value in counters.items():
            yield f"{cache} cache {name}", value


def _share(value: int | None, whole: int | None) -> str:
    return f"{100 * value / whole:.2f} %" if value is not None and whole else "-"


def _cell(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
