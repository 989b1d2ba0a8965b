"""``unimmu tlb analyze``: what a stream of accesses tells of the TLBs that it would need."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emu.cli.arguments import Parser, UsageError, number_from, output_path
from emu.cli.lab import tables
from emu.cli.progress import progress
from emu.cli.results import ResultFiles

if TYPE_CHECKING:
    from emu.lab.analysis import Analysis
    from emu.lab.batch import Batch
    from emu.lab.by_function import Code
    from emu.lab.finding import Finding
    from emu.lab.page_policy import PageMapper
    from emu.lab.table_mapper import TableMapper

_EXAMPLES = """\
examples:
  unimmu run --record a.parquet gups 4M 100000
  unimmu tlb analyze a.parquet                           every analysis, as tables
  unimmu tlb analyze --reuse --kinds load,store a.parquet
  unimmu tlb analyze --huge --entries 1536 --json huge.json a.parquet
  unimmu tlb analyze --reasons --shared --tlb zen4 a.parquet
  unimmu tlb analyze --functions a.parquet
  unimmu tlb analyze --reasons --tlb skylake-sp --pages thp a.champsim.xz
  unimmu tlb analyze --reasons --tlb zen4 --tables tables.json a.lackey
  unimmu tlb analyze -o report.html a.parquet            with the curves, for a browser
  unimmu tlb analyze --reuse -o misses.svg a.parquet     the miss curve as a picture
"""
_ANALYSES = ("reuse", "working_set", "large_pages", "reasons", "shared", "functions")
#: Those with a model, and those that have a picture.
_WITH_MODEL = ("reasons", "shared")
_WITH_CURVES = ("reuse", "working_set")
_KINDS = {"load": 1, "store": 2, "fetch": 4}


def add_arguments(parser: Parser) -> None:
    """The command line."""
    parser.description = (
        "Show what a stream of accesses needs of a TLB, and where its misses come from. It is read once, and\n"
        "memory does not grow with its length. Without a choice of analyses: all, but --reasons and --shared\n"
        "only with --tlb."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "file", metavar="FILE", help="the stream: what `unimmu run --record` wrote, or any other that `tlb sim` reads"
    )
    chosen = parser.add_argument_group("analyses")
    chosen.add_argument(
        "--reuse", action="store_true",
        help="reuse distances of pages: the misses of a fully associative LRU TLB of every size, and why",
    )  # fmt: skip
    chosen.add_argument("--working-set", action="store_true", help="how many pages are used, over time")
    chosen.add_argument(
        "--huge", dest="large_pages", action="store_true", help="which ranges would be worth a page of 2 MiB or 1 GiB"
    )
    chosen.add_argument(
        "--reasons", action="store_true",
        help="why a modelled TLB misses: cold, capacity, conflict, invalidation (needs --tlb)",
    )  # fmt: skip
    chosen.add_argument(
        "--shared", action="store_true",
        help="where processes map the same memory, and what their walks would save with shared tables (needs --tlb)",
    )  # fmt: skip
    chosen.add_argument(
        "--functions", action="store_true", help="accesses, pages and misses by function, of the files that were mapped"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--tlb", metavar="PRESET|FILE.toml", help="the model of --reasons and --shared (`unimmu presets` lists them)"
    )
    how.add_argument(
        "--elf", action="append", default=[], metavar="FILE[@BASE]",
        help="an ELF file with symbols for --functions, where the stream does not say what was mapped or the file is "
        "elsewhere, and where it was loaded; a guest that comes with unimmu by its name (repeatable)",
    )  # fmt: skip
    how.add_argument(
        "--pcids", type=number_from(1, 4094), metavar="N",
        help="as if the kernel used so many PCIDs on each vCPU (Linux: 6), where it flushed at each load of CR3",
    )  # fmt: skip
    tables.add_tables(how.add_mutually_exclusive_group().add_argument)
    tables.add_spaces(how.add_argument)
    how.add_argument(
        "--kinds", type=_kinds, metavar="K,...",
        help="only these kinds of access, together: load, store, fetch (default: loads and stores, and fetches apart)",
    )  # fmt: skip
    how.add_argument(
        "--window", type=number_from(1), default=100_000, metavar="N",
        help="accesses in a window of the working set (default: 100000)",
    )  # fmt: skip
    how.add_argument(
        "--entries", type=number_from(1), default=64, metavar="N",
        help="entries of the TLB by which --huge and --functions count misses (default: 64)",
    )  # fmt: skip
    parser.add_argument("--json", type=output_path, metavar="FILE", help="write all figures to FILE as JSON")
    parser.add_argument(
        "-o", "--output", type=output_path, metavar="FILE",
        help="write a page of HTML with the tables and curves; FILE.svg: the curves of --reuse or --working-set alone",
    )  # fmt: skip


def _kinds(text: str) -> int:
    """Bits of kinds of access; argparse reports anything else."""
    found = 0
    for word in text.split(","):
        if word not in _KINDS:
            raise argparse.ArgumentTypeError(f"{word!r} is no kind of access; there are {', '.join(_KINDS)}")
        found |= _KINDS[word]
    return found


def run(arguments: argparse.Namespace) -> int:
    """Analyse and show."""
    _check_picture(arguments)
    tables.check(arguments)
    with ResultFiles({"--json": arguments.json, "-o": arguments.output}, tables.read_by(arguments)) as files:
        return _analyse(arguments, files)


def _check_picture(arguments: argparse.Namespace) -> None:
    """:class:`UsageError` where -o names a picture, and there is not just one."""
    if arguments.output is None or arguments.output.suffix != ".svg":
        return
    if [name for name in _ANALYSES if getattr(arguments, name)] not in [[name] for name in _WITH_CURVES]:
        words = " or of ".join(f"--{name.replace('_', '-')}" for name in _WITH_CURVES)
        raise UsageError(f"-o {arguments.output}: a picture is that of {words} alone; FILE.html has all")


def _analyse(arguments: argparse.Namespace, files: ResultFiles) -> int:
    from emu.lab.analysis import analyse
    from emu.lab.batch import StreamError
    from emu.lab.finding import lines_of
    from emu.lab.stream import open_stream
    from emu.lab.table_mapper import TableMapper
    from emu.linux.event_kind import printable

    fields = ["page", "kind", "pid", "space", "pcid", "vcpu", "shift"]
    try:
        code = _code(arguments)
        stream = open_stream(arguments.file, [*fields, "rip"] if code is not None or arguments.elf else fields)
        with open(arguments.file, "rb"):  # pyarrow's own words for one that is not there are long
            pass
        mapper = _mapper(arguments)
        batches, sizes_known = _peeked(stream if mapper is None else mapper.mapped(stream))
        if arguments.pcids is not None:
            from emu.lab.pcids import with_pcids

            batches = with_pcids(batches, arguments.pcids)
        analyses = _analyses(arguments, code, sizes_known, mapper)
        with progress("the stream is read", None) as report:
            total = analyse(_reported(batches, report), analyses)
    except StreamError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{arguments.file}: {error.strerror}") from None
    findings = [analysis.finding() for analysis in analyses]
    print(f" {printable(arguments.file)}: {total:,} accesses")
    for finding in findings:
        print()
        for line in lines_of(finding):
            print(line)
    given = mapper if isinstance(mapper, TableMapper) else None
    tables.tell(arguments, given)
    if arguments.json is not None:
        figures = {"accesses": total, **{finding.key: finding.figures for finding in findings}}
        if given is not None:
            figures["left_out"] = given.left_out.figures()
        files.write("--json", json.dumps(figures, indent=1) + "\n")
    if arguments.output is not None:
        files.write("-o", _drawn(arguments, findings, total))
    return 0


def _drawn(arguments: argparse.Namespace, findings: Sequence[Finding], total: int) -> str:
    """What -o gets: the picture, or a page with everything."""
    if arguments.output.suffix == ".svg":
        from emu.lab.curves import draw_curves

        (picture,) = findings[0].pictures
        return draw_curves(picture)
    from emu.lab.page import page_of

    return page_of(f"analyses of {arguments.file}", f"{total:,} accesses.", findings)


def _mapper(arguments: argparse.Namespace) -> TableMapper | PageMapper | None:
    """What finds accesses in the tables of --tables, or makes tables where a model has to walk some and the stream has
    none.  :class:`UsageError` for options that give a stream tables which has its own."""
    from emu.lab.stream import has_tables

    has_some = has_tables(arguments.file)
    tables.check_stream(arguments, has_some)
    if arguments.tables is not None:
        return tables.mapper_of(arguments)
    is_asked = arguments.pages is not None or arguments.v2p is not None
    walking = sum(_is_walked(name, arguments) for name in _WITH_MODEL)
    return tables.made_by_policy(arguments, walking) if not has_some and (is_asked or walking) else None


def _peeked(batches: Iterator[Batch]) -> tuple[Iterator[Batch], bool]:
    """The batches again, and whether the sizes of pages are known: a foreign stream may have none, and in ours an
    access without is one that faulted."""
    from itertools import chain

    seen: list[Batch] = []
    for batch in batches:
        seen.append(batch)
        if len(batch):
            return chain(seen, batches), bool(batch.shift.any())
    return iter(seen), True


def _code(arguments: argparse.Namespace) -> Code | None:
    """What the stream says of the files whose functions are asked for; None if it says nothing, or nobody asks."""
    from emu.lab.stream import has_tables

    if not (arguments.functions or _every(arguments)) or not has_tables(arguments.file):
        return None
    from emu.lab.by_function import Code
    from emu.lab.code_map import CodeMap
    from emu.lab.stream_file import facts_of
    from emu.trace.stat.files import Files

    facts = facts_of(arguments.file)
    code = CodeMap.of(facts)
    files = Files({"command": [facts.get("program", "")], "root": facts.get("root", "")})
    return Code(code, files.find) if code else None


def _every(arguments: argparse.Namespace) -> bool:
    return not any(getattr(arguments, name) for name in _ANALYSES)


def _is_walked(name: str, arguments: argparse.Namespace) -> bool:
    """Whether there is an analysis with a model, which walks page tables of its own."""
    return bool(getattr(arguments, name)) or (_every(arguments) and arguments.tlb is not None)


def _analyses(
    arguments: argparse.Namespace, code: Code | None, sizes_known: bool, mapper: TableMapper | PageMapper | None
) -> list[Analysis]:
    from emu.lab.analysis import CODE, DATA, HugeCandidates, Reuse, WorkingSets

    kinds = (DATA, CODE) if arguments.kinds is None else (arguments.kinds,)
    every = _every(arguments)
    chosen: list[Analysis] = []
    if arguments.reuse or every:
        chosen.append(Reuse(kinds, faults=not sizes_known))
    if arguments.working_set or every:
        chosen.append(WorkingSets(arguments.window, kinds))
    if arguments.large_pages or every:
        chosen.append(HugeCandidates(arguments.entries, arguments.kinds or DATA, faults=not sizes_known))
    for name in _WITH_MODEL:
        if _is_walked(name, arguments):
            chosen.append(_with_model(name, arguments, mapper))
    if arguments.functions or (every and (arguments.elf or code is not None)):
        chosen.append(_by_function(arguments, code, faults=not sizes_known))
    return chosen


def _by_function(arguments: argparse.Namespace, code: Code | None, *, faults: bool) -> Analysis:
    import guests
    from emu.lab.by_function import ByFunction, Image
    from emu.trace.stat.symbols import Elf, SymbolsError

    if not arguments.elf and code is None:
        raise UsageError("--functions: the stream does not say of which program; --elf FILE has its symbols")
    images = []
    for text in arguments.elf:
        name, at, base = text.rpartition("@")
        name, base = (name, base) if at and re.fullmatch("0[xX][0-9a-fA-F]{1,16}", base) else (text, "")
        path = guests.path(name) if name in guests.NAMES and not os.path.exists(name) else name
        try:
            elf = Elf(path)
        except SymbolsError as error:
            raise UsageError(f"--elf {error}") from None
        if elf.stripped:
            raise UsageError(f"--elf {name}: it has no symbols")
        if elf.position_independent and not base:
            from emu.kernel.layout import ELF_ET_DYN_BASE
            from mmu.memory import PAGE_SIZE

            told = f"{name}@0x... says where it was (a program, with run --no-aslr: {ELF_ET_DYN_BASE & -PAGE_SIZE:#x})"
            raise UsageError(f"--elf {name}: it may be loaded anywhere; {told}")
        images.append(Image(elf, int(base, 16) if base else 0))
    return ByFunction(images, arguments.entries, code=code, faults=faults)


def _with_model(name: str, arguments: argparse.Namespace, mapper: TableMapper | PageMapper | None) -> Analysis:
    from emu.cli.tlb import preset_or_file
    from emu.lab.reasons import Reasons
    from emu.lab.shared import Shared
    from emu.lab.stream_file import facts_of

    if arguments.tlb is None:
        raise UsageError(f"--{name} needs --tlb: a preset (`unimmu presets` lists them) or FILE.toml")
    geometry = preset_or_file(arguments.tlb, "analyze --tlb").geometry
    if mapper is not None:
        given = geometry, mapper.memory_bytes, 0
    else:
        facts = facts_of(arguments.file)
        if "memory_bytes" not in facts:
            raise UsageError(f"--{name} {arguments.file}: it does not say how much memory the machine had")
        given = geometry, int(facts["memory_bytes"]), int(facts.get("seed", 0))
    return Reasons(*given) if name == "reasons" else Shared(*given)


def _reported(batches: Iterator[Batch], report: Any) -> Iterator[Batch]:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        report(done)
