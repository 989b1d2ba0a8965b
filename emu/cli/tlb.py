"""Which TLB a command line asks for: a preset, a file, what a CPUID dump describes, or this host's; and what is to be
otherwise than there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from emu.cli.arguments import UsageError
from mmu.cpuid import from_cpuid
from mmu.cpuid_leaves import CpuidError, host_leaves, parse_dump
from mmu.geometry import Array, Geometry, PageSizes, Replacement, StructureShape, check_geometry
from mmu.geometry_file import (
    INDEX_HASH,
    PAGE_SIZES,
    REPLACEMENT,
    STRUCTURE_LEVELS,
    BadPreset,
    Preset,
    read_file,
    word_of,
)
from mmu.nested import NESTED_LEVELS, Nested
from mmu.presets import UnknownPreset, find_preset

#: In place of a file: this host's own CPUID.
HOST = "host"
#: A dump has some tens of kilobytes, and a device may have no end.
_MOST_BYTES = 4 << 20
_SUFFIX = ".toml"
#: What is true or false of a geometry.
_FLAGS = ("inclusive", "smash_1g", "prefetch_next")
#: The fields of a latency that can be set.
_CYCLES = ("stlb_hit", "walk", "structure_hit", "load")


def preset_or_file(name: str, option: str = "") -> Preset:
    """A preset, or the geometry of a file: FILE.toml, or FILE.toml:NAME where the file has several.

    :class:`UsageError` names the presets if there is none of that name, and the line of what is wrong in a file; it
    begins with the ``option``, if there is one.
    """
    try:
        return _from_file(name) if is_file(name) else _preset(name, or_off=option == "--tlb")
    except UsageError as error:
        raise UsageError(f"{option}: {error}") if option else error from None


def _preset(name: str, *, or_off: bool) -> Preset:
    try:
        return find_preset(name)
    except UnknownPreset as error:
        here = f", such as the {name}{_SUFFIX} here" if os.path.exists(f"{name}{_SUFFIX}") else ""
        raise UsageError(f"{error}{' (or off)' if or_off else ''}; or FILE{_SUFFIX}{here}") from None


def is_file(name: str) -> bool:
    """Whether this names a file, and no preset: it ends in .toml, or has a slash, or says which geometry of a file."""
    return name.endswith(_SUFFIX) or "/" in name or f"{_SUFFIX}:" in name


def _from_file(name: str) -> Preset:
    path, chosen = name, ""
    if not name.endswith(_SUFFIX) and f"{_SUFFIX}:" in name:
        path, _, chosen = name.rpartition(f"{_SUFFIX}:")
        path += _SUFFIX
    try:
        found = read_file(path)
    except BadPreset as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not found:
        raise UsageError(f"{path}: no geometry in it; one is [NAME], then its fields (unimmu presets --show)")
    if chosen:
        if chosen not in found:
            raise UsageError(f"{path}: no geometry {chosen!r} in it; there are {', '.join(found)}")
        return found[chosen]
    if len(found) > 1:
        raise UsageError(f"{path}: there are {', '.join(found)}; say which, as {path}:{next(iter(found))}")
    return next(iter(found.values()))


def timed(preset: Preset) -> Geometry:
    """The geometry of a preset with its latencies.  :class:`UsageError` if it has none."""
    try:
        return preset.timed()
    except ValueError as error:
        raise UsageError(f"--tlb-latency: {error}: [{preset.name}.latency] in a file does (docs/mmu.md)") from None


#: Of --nested, that no size was given.
AS_SAID = ""


def nested(geometry: Geometry, size: str, said: Nested | None = None) -> Geometry:
    """The geometry with a second dimension: as the preset or its file has ``said``, or of pages of 4K with
    paging-structure caches as large as those of the first; of pages of that size, if one is given.
    """
    caches = {level: geometry.structure(level).entries for level in range(2, NESTED_LEVELS + 1)}
    shape = Nested(1, caches) if said is None else said
    if size != AS_SAID:
        shape = replace(shape, page_level=int(PAGE_SIZES[size]).bit_length())
    word = word_of(PAGE_SIZES, PageSizes(1 << shape.page_level - 1))
    return replace(geometry, nested=shape, name=f"{geometry.name} over EPT of {word}")


def geometry_from_cpuid(source: str, option: str) -> Geometry:
    """What a dump, or this host's CPUID where ``source`` is "host", describes.

    :class:`UsageError` if it describes none.
    """
    try:
        if source == HOST:
            return from_cpuid(host_leaves(), HOST)
        return from_cpuid(parse_dump(_text(source)), source)
    except CpuidError as error:
        raise UsageError(f"{option} {source}: {error}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {source}: {getattr(error, 'strerror', None) or error}") from None


def _text(name: str) -> str:
    """What is in a file that may be a dump.  :class:`CpuidError` if it is too long."""
    with open(name, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise CpuidError("this is longer than any CPUID dump")
    return data.decode("utf-8", "replace")


# ---- --tlb-set


def with_settings(geometry: Geometry, settings: Iterable[str]) -> Geometry:
    """The geometry with ``PLACE.FIELD=VALUE`` of a list (each may be several, with commas) set in turn.

    PLACE is an array's name, ``l1`` or ``l2`` for all of a level, the beginning of one or more names (``l1d``), PDE,
    PDPTE, PML4E, PML5E, or ``latency`` or ``nested`` where there is one; ``inclusive`` and ``smash_1g`` stand alone.
    Letters may be of either case.  What is set is in the name of the result.  :class:`UsageError` says what there is.
    """
    words = [word.strip() for one in settings for word in one.split(",")]
    for word in words:
        place, equals, value = word.partition("=")
        if not equals or not value:
            raise UsageError(f"--tlb-set {word}: expected PLACE.FIELD=VALUE, as l2.ways=8")
        if place.lower() in _FLAGS:
            geometry = replace(geometry, **dict[str, Any]({place.lower(): _truth(word, value)}))
            continue
        name, dot, field = place.rpartition(".")
        if not dot:
            raise UsageError(f"--tlb-set {word}: expected PLACE.FIELD=VALUE, or one of {', '.join(_FLAGS)} with =true")
        geometry = _set(geometry, word, name, field.lower(), value.lower())
    if not words:
        return geometry
    geometry = replace(geometry, name=f"{geometry.name} with {', '.join(words)}")
    try:
        check_geometry(geometry)
    except ValueError as error:
        raise UsageError(f"--tlb-set {','.join(words)}: {error}") from None
    return geometry


def _set(geometry: Geometry, word: str, name: str, field: str, value: str) -> Geometry:
    if name.lower() == "latency":
        return _set_latency(geometry, word, field, value)
    if name.lower() == "nested":
        return _set_nested(geometry, word, field, value)
    if name.upper() in STRUCTURE_LEVELS:
        level = STRUCTURE_LEVELS[name.upper()]
        shape = _set_structure(geometry.structure(level), word, field, value)
        return replace(geometry, structure_caches={**geometry.structure_caches, level: shape})
    chosen = _arrays_of(geometry, name)
    if not chosen:
        levels = [level for level in ("l1", "l2") if _arrays_of(geometry, level)]
        known = ", ".join(dict.fromkeys([*(array.name for array in geometry.arrays), *levels, *STRUCTURE_LEVELS]))
        raise UsageError(f"--tlb-set {word}: {geometry.name} has no {name}; there are {known}")
    change = _FIELDS.get(field)
    if change is None:
        raise UsageError(f"--tlb-set {word}: there is no {field} of an array; there are {', '.join(_FIELDS)}")
    changed = [change(array, word, value) if array in chosen else array for array in geometry.arrays]
    return replace(geometry, arrays=tuple(changed))


def _set_latency(geometry: Geometry, word: str, field: str, value: str) -> Geometry:
    if geometry.latency is None:
        raise UsageError(f"--tlb-set {word}: no latencies are counted: add --tlb-latency")
    if field not in _CYCLES:
        raise UsageError(f"--tlb-set {word}: there is no {field} of latencies; there are {', '.join(_CYCLES)}")
    return replace(geometry, latency=replace(geometry.latency, **dict[str, Any]({field: _number(word, value)})))


def _set_nested(geometry: Geometry, word: str, field: str, value: str) -> Geometry:
    shape, levels = geometry.nested, {name.lower(): level for name, level in STRUCTURE_LEVELS.items()}
    if shape is None:
        raise UsageError(f"--tlb-set {word}: there is no second dimension: add --nested")
    if field == "tlb":
        return replace(geometry, nested=replace(shape, tlb=_number(word, value)))
    if levels.get(field, NESTED_LEVELS + 1) > NESTED_LEVELS:
        known = ", ".join(name for name, level in levels.items() if level <= NESTED_LEVELS)
        raise UsageError(f"--tlb-set {word}: there is no {field} of a second dimension; there are tlb, {known}")
    caches = {**shape.structure_caches, levels[field]: _number(word, value)}
    return replace(geometry, nested=replace(shape, structure_caches=caches))


def _set_structure(shape: StructureShape, word: str, field: str, value: str) -> int | StructureShape:
    if field == "entries":  # as one set
        entries = _number(word, value)
        return entries if shape.replacement == Replacement.LRU else replace(shape, sets=1, ways=entries)
    if field == "sets":
        return replace(shape, sets=_number(word, value))
    if field == "ways":
        return replace(shape, ways=_number(word, value))
    if field in ("policy", "replacement"):
        return replace(shape, replacement=_word(word, value, REPLACEMENT))
    raise UsageError(
        f"--tlb-set {word}: there is no {field} of a structure cache; there are entries, sets, ways, policy"
    )


def _arrays_of(geometry: Geometry, name: str) -> list[Array]:
    """The arrays that a name means: exactly that one, else all of a level, else all whose names begin so."""
    lower = name.lower()
    for fits in (
        lambda array: array.name.lower() == lower,
        lambda array: f"l{array.level}" == lower,
        lambda array: bool(lower) and array.name.lower().startswith(lower),
    ):
        if found := [array for array in geometry.arrays if fits(array)]:
            return found
    return []


def _entries(array: Array, word: str, value: str) -> Array:
    """That many, in as many ways as before if these divide them."""
    number = _number(word, value)
    if number % array.ways:
        raise UsageError(f"--tlb-set {word}: {number} entries are no whole number of sets of {array.ways} ways")
    return replace(array, sets=number // array.ways)


def _number(word: str, value: str) -> int:
    if not value.isascii() or not value.isdecimal():
        raise UsageError(f"--tlb-set {word}: expected a number, not {value!r}")
    return int(value)


def _truth(word: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise UsageError(f"--tlb-set {word}: expected true or false")
    return value.lower() == "true"


def _word(word: str, value: str, meanings: dict[str, Any]) -> Any:
    if value not in meanings:
        raise UsageError(f"--tlb-set {word}: {value!r} is none of {', '.join(meanings)}")
    return meanings[value]


def _policy(array: Array, word: str, value: str) -> Array:
    return replace(array, replacement=_word(word, value, REPLACEMENT))


def _hash(array: Array, word: str, value: str) -> Array:
    return replace(array, index_hash=_word(word, value, INDEX_HASH))


_FIELDS: dict[str, Callable[[Array, str, str], Array]] = {
    "sets": lambda array, word, value: replace(array, sets=_number(word, value)),
    "ways": lambda array, word, value: replace(array, ways=_number(word, value)),
    "entries": _entries,
    "policy": _policy,
    "replacement": _policy,
    "index_hash": _hash,
    "pcids": lambda array, word, value: replace(array, pcids=_number(word, value)),
    "coalesce": lambda array, word, value: replace(array, coalesce=_number(word, value)),
}
