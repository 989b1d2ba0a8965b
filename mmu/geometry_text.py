"""Geometries written as TOML, as :mod:`mmu.geometry_file` reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from mmu.geometry import COUNTERS, Array, PageSizes, StructureShape
from mmu.geometry_file import INDEX_HASH, KINDS, PAGE_SIZES, REPLACEMENT, STRUCTURE_LEVELS, Preset, word_of
from mmu.latency import Latency
from mmu.nested import Nested


def to_toml(preset: Preset) -> str:
    """The table of a geometry, as a file that :func:`read_file` takes."""
    geometry = preset.geometry
    name = preset.name if re.fullmatch(r"[A-Za-z0-9_-]+", preset.name) else _quoted(preset.name)
    lines = [f"[{name}]", f"title = {_quoted(preset.title)}"]
    lines.append(f"structure_caches = {_caches_text(geometry.structure_caches)}")
    lines.append(f"structure_source = {_quoted(preset.structure_source)}")
    cautions = "".join(f"    {_quoted(caution)},\n" for caution in preset.cautions)
    lines.append(f"cautions = [\n{cautions}]" if cautions else "cautions = []")
    lines.extend(f"{flag} = true" for flag in ("inclusive", "smash_1g", "prefetch_next") if getattr(geometry, flag))
    if preset.aliases:
        lines.append(f"aliases = {_listed(preset.aliases)}")
    if geometry.counters != COUNTERS[0]:
        lines.append(f"counters = {_quoted(geometry.counters)}")
    if not geometry.arrays:
        lines.append("arrays = []")
    for array in geometry.arrays:
        lines.extend(["", f"[[{name}.arrays]]", *_array_lines(array, preset.sources[array.name])])
    if preset.latency is not None:
        lines.extend(["", f"[{name}.latency]", *_latency_lines(preset.latency, preset.latency_source)])
    if preset.nested is not None:
        lines.extend(["", f"[{name}.nested]", *_nested_lines(preset.nested, preset.nested_source)])
    return "\n".join(lines) + "\n"


def _nested_lines(nested: Nested, source: str) -> list[str]:
    return [
        f"page_size = {_quoted(word_of(PAGE_SIZES, PageSizes(1 << nested.page_level - 1)))}",
        f"structure_caches = {_caches_text(nested.structure_caches)}",
        f"tlb = {nested.tlb}",
        f"source = {_quoted(source)}",
    ]


def _caches_text(held: Mapping[int, int | StructureShape]) -> str:
    caches = ", ".join(f"{entry} = {_shape_text(held[level])}" for entry, level in STRUCTURE_LEVELS.items()
                       if level in held)  # fmt: skip
    return f"{{ {caches} }}" if caches else "{}"


def _array_lines(array: Array, source: str) -> list[str]:
    return [
        f"name = {_quoted(array.name)}",
        f"level = {array.level}",
        f"kinds = {_listed(word for word, kind in KINDS.items() if kind in array.kinds)}",
        f"page_sizes = {_listed(word for word, size in PAGE_SIZES.items() if size in array.page_sizes)}",
        f"sets = {array.sets}",
        f"ways = {array.ways}",
        f"replacement = {_quoted(word_of(REPLACEMENT, array.replacement))}",
        f"index_hash = {_quoted(word_of(INDEX_HASH, array.index_hash))}",
        *([] if array.pcids is None else [f"pcids = {array.pcids}"]),
        *([] if array.coalesce == 1 else [f"coalesce = {array.coalesce}"]),
        f"source = {_quoted(source)}",
    ]


def _latency_lines(latency: Latency, source: str) -> list[str]:
    lines = [f"{name} = {getattr(latency, name)}" for name in ("stlb_hit", "walk", "structure_hit", "load")]
    caches = "".join(
        f"    {{ name = {_quoted(cache.name)}, sets = {cache.sets}, ways = {cache.ways}, cycles = {cache.cycles} }},\n"
        for cache in latency.walk_caches
    )
    return [*lines, f"walk_caches = [\n{caches}]" if caches else "walk_caches = []", f"source = {_quoted(source)}"]


def _shape_text(shape: int | StructureShape) -> str:
    if isinstance(shape, int):
        return str(shape)
    policy = _quoted(word_of(REPLACEMENT, shape.replacement))
    return f"{{ sets = {shape.sets}, ways = {shape.ways}, replacement = {policy} }}"


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's escapes, and DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _listed(words: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, words)) + "]"
