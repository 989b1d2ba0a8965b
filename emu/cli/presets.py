"""``unimmu presets``: the translation caches of known processors, and where each number comes from."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from emu.cli.arguments import Parser, format_size
from emu.cli.screen import Screen
from emu.cli.tlb import HOST, geometry_from_cpuid, preset_or_file
from emu.linux.event_kind import printable
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.geometry_file import INDEX_HASH, KINDS, PAGE_SIZES, REPLACEMENT, STRUCTURE_LEVELS, Preset, word_of
from mmu.geometry_text import to_toml
from mmu.latency import Latency
from mmu.nested import Nested
from mmu.presets import all_presets

_EXAMPLES = """\
examples:
  unimmu presets --list                    # names only, to choose one
  unimmu presets skylake-sp zen4
  unimmu presets --host --json
  unimmu presets --show zen4 > my.toml     # change it, then: unimmu run --tlb my.toml PROGRAM
"""


def add_arguments(parser: Parser) -> None:
    """The options of ``unimmu presets``."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "names",
        metavar="NAME|FILE.toml",
        nargs="*",
        help="show only these presets, or the geometry of a file; the variant of a name may be left out",
    )
    parser.add_argument("--cpuid", metavar="FILE", help="show what a CPUID dump (InstLatx64 or `cpuid -r`) describes")
    parser.add_argument("--host", action="store_true", help="show what this host's CPUID describes")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--list", action="store_true", help="print names only, and what each is")
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument(
        "--show", action="store_true", help="print the geometry as a file for --tlb FILE.toml, to change and to keep"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the presets; returns the exit status."""
    presets = _chosen(arguments)
    if arguments.json:
        print(json.dumps([_as_json(preset) for preset in presets], indent=2))
        return 0
    if arguments.show:
        print("\n".join(map(to_toml, presets)), end="")
        return 0
    screen = Screen()
    if arguments.list:
        screen.print(_names_table(presets))
        return 0
    for preset in presets:
        screen.print(_as_text(preset))
    return 0


def _chosen(arguments: argparse.Namespace) -> Sequence[Preset]:
    chosen = [preset_or_file(name) for name in arguments.names]
    if arguments.cpuid is not None:
        chosen.append(_from_leaves(geometry_from_cpuid(arguments.cpuid, "--cpuid"), "from a CPUID dump"))
    if arguments.host:
        chosen.append(_from_leaves(geometry_from_cpuid(HOST, "--cpuid"), "this host, as its CPUID tells"))
    return chosen or list(all_presets().values())


def _from_leaves(geometry: Geometry, title: str) -> Preset:
    """What CPUID said, in the form of a preset: its provenance has a line an array, then remarks."""
    lines = geometry.provenance.splitlines()
    count = len(geometry.arrays)
    sources = {array.name: line.partition(": ")[2] for array, line in zip(geometry.arrays, lines[:count], strict=True)}
    structures = lines[-1].partition(": ")[2]
    return Preset(geometry.name, title, geometry, sources, structures, tuple(lines[count:-1]), default=False)


# ---- text


def _names_table(presets: Sequence[Preset]) -> Table:
    """A line each: the name, the shorter one if that means it, and the processor."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for preset in presets:
        base = preset.name.partition(":")[0]
        names = ([base] if preset.default and base != preset.name else []) + [
            preset.name, *(f"{base}:{variant}" for variant in preset.aliases)
        ]  # fmt: skip
        table.add_row(Text(printable(", ".join(names))), Text(printable(preset.title)))
    return table


def _as_text(preset: Preset) -> Group:
    default = ", what the name without the variant means" if preset.default and ":" in preset.name else ""
    also = "".join(f", also {preset.name}:{variant}" for variant in preset.aliases)
    parts: list[Text | Table] = [Text.assemble((preset.name, "bold"), printable(f"{default}{also}: {preset.title}"))]
    if preset.geometry.arrays or preset.geometry.structure_caches:
        parts.extend([_arrays_table(preset.geometry), _remarks_table(preset)])
    return Group(*parts, Text())


def _arrays_table(geometry: Geometry) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("ARRAY", "FOR", "PAGES"):
        table.add_column(heading)
    for heading in ("ENTRIES", "SETS", "WAYS"):
        table.add_column(heading, justify="right")
    for heading in ("REPLACEMENT", "INDEX"):
        table.add_column(heading)
    for array in geometry.arrays:
        table.add_row(
            array.name,
            _for(array),
            _pages(array),
            str(array.entries),
            str(array.sets),
            str(array.ways),
            word_of(REPLACEMENT, array.replacement),
            word_of(INDEX_HASH, array.index_hash) if array.sets > 1 else "",
        )
    for name, level in STRUCTURE_LEVELS.items():
        shape = geometry.structure(level)
        if shape.entries:
            policy = word_of(REPLACEMENT, shape.replacement)
            table.add_row(name, "walks", "", str(shape.entries), str(shape.sets), str(shape.ways), policy, "")
    return table


def _remarks_table(preset: Preset) -> Table:
    """Where each number comes from, and what to beware of."""
    structures = [name for name, level in STRUCTURE_LEVELS.items() if preset.geometry.structure(level).entries]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for name, source in preset.sources.items():
        table.add_row(name, Text(printable(source)))
    if structures:
        table.add_row(
            " to ".join(dict.fromkeys((structures[0], structures[-1]))), Text(printable(preset.structure_source))
        )
    if preset.geometry.smash_1g:
        table.add_row("1G pages", Text("smashed: they enter the second level as 2M pieces"))
    if preset.latency is not None:
        table.add_row("Latencies", Text(printable(f"{_latency_text(preset.latency)}; {preset.latency_source}")))
    if preset.nested is not None:
        table.add_row("Nested", Text(printable(f"{_nested_text(preset.nested)}; {preset.nested_source}")))
    for caution in preset.cautions:
        table.add_row("Caution", Text(printable(caution)))
    return table


def _nested_text(nested: Nested) -> str:
    """The second dimension in words."""
    caches = [f"{name} {nested.structure_caches[level]}" for name, level in STRUCTURE_LEVELS.items()
              if level in nested.structure_caches]  # fmt: skip
    page = word_of(PAGE_SIZES, PageSizes(1 << nested.page_level - 1))
    return ", ".join([f"EPT of {page}", *caches, f"guest-physical pages {nested.tlb}"])


def _latency_text(latency: Latency) -> str:
    """The cycles in words."""
    fixed = {"second-level hit": latency.stlb_hit, "walk": latency.walk, "structure-cache hit": latency.structure_hit}
    caches = [f"{cache.name} ({format_size(cache.bytes)}) {cache.cycles}" for cache in latency.walk_caches]
    parts = [f"{name} {cycles} cycles" for name, cycles in fixed.items() if cycles]
    return ", ".join([*parts, *caches, f"{'memory' if caches else 'each entry'} {latency.load}"])


def _for(array: Array) -> str:
    return "all" if array.kinds == Kinds.ALL else "data" if array.kinds == Kinds.DATA else " ".join(_kinds(array))


def _kinds(array: Array) -> list[str]:
    return [text for text, kind in KINDS.items() if kind in array.kinds]


def _sizes(array: Array) -> list[str]:
    return [text for text, size in PAGE_SIZES.items() if size in array.page_sizes]


def _pages(array: Array) -> str:
    """The page sizes, and how many pages of 4K may be one translation."""
    sizes = _sizes(array)
    return " ".join(sizes if array.coalesce == 1 else [f"{sizes[0]}(x{array.coalesce})", *sizes[1:]])


# ---- JSON


def _as_json(preset: Preset) -> dict[str, Any]:
    geometry = preset.geometry
    return {
        "name": preset.name,
        "title": preset.title,
        "default": preset.default,
        "aliases": list(preset.aliases),
        "inclusive": geometry.inclusive,
        "smash_1g": geometry.smash_1g,
        "prefetch_next": geometry.prefetch_next,
        "counters": geometry.counters,
        "arrays": [
            {
                "name": array.name,
                "level": array.level,
                "kinds": _kinds(array),
                "page_sizes": _sizes(array),
                "entries": array.entries,
                "sets": array.sets,
                "ways": array.ways,
                "replacement": word_of(REPLACEMENT, array.replacement),
                "index_hash": word_of(INDEX_HASH, array.index_hash),
                "pcids": array.pcids,
                "coalesce": array.coalesce,
                "source": preset.sources[array.name],
            }
            for array in geometry.arrays
        ],
        "structure_caches": {name: _structure_json(geometry, level) for name, level in STRUCTURE_LEVELS.items()},
        "structure_source": preset.structure_source,
        "latency": None
        if preset.latency is None
        else {
            **dataclasses.asdict(preset.latency),
            "source": preset.latency_source,
        },
        "nested": None
        if preset.nested is None
        else {**dataclasses.asdict(preset.nested), "source": preset.nested_source},
        "cautions": list(preset.cautions),
    }


def _structure_json(geometry: Geometry, level: int) -> int | dict[str, int | str]:
    """How many entries, or what the file would say."""
    shape = geometry.structure_caches.get(level, 0)
    if isinstance(shape, int):
        return shape
    return {"sets": shape.sets, "ways": shape.ways, "replacement": word_of(REPLACEMENT, shape.replacement)}
