"""Geometries as TOML: one table a geometry, as presets.toml has them; read with the line of what is wrong.

A user's file may leave out the titles and sources that the presets must have.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from mmu.geometry import (
    COUNTERS,
    Array,
    BadGeometry,
    Geometry,
    IndexHash,
    Kinds,
    PageSizes,
    Replacement,
    StructureShape,
    check_array,
    check_geometry,
)
from mmu.latency import Latency, WalkCache
from mmu.nested import Nested

_Meaning = TypeVar("_Meaning")

KINDS = {"load": Kinds.LOAD, "store": Kinds.STORE, "fetch": Kinds.FETCH}
PAGE_SIZES = {"4K": PageSizes.K4, "2M": PageSizes.M2, "1G": PageSizes.G1}
REPLACEMENT = {policy.name.lower().replace("_", "-"): policy for policy in Replacement}
INDEX_HASH = {hashing.name.lower(): hashing for hashing in IndexHash}
#: The names of the paging-structure entries of each level (SDM vol. 3, 4.5).
STRUCTURE_LEVELS = {"PML5E": 5, "PML4E": 4, "PDPTE": 3, "PDE": 2}

#: What a table may have; and what a preset of ours must have, and a user's geometry need not.
_OF_GEOMETRY = {"arrays", "structure_caches", "cautions", "default", "inclusive", "smash_1g", "title",
                "structure_source", "latency", "prefetch_next", "counters", "nested", "aliases"}  # fmt: skip
_OF_ARRAY = {"name", "level", "kinds", "page_sizes", "sets", "ways", "source", "replacement", "index_hash", "pcids",
             "coalesce"}  # fmt: skip
_NEEDED_OF_GEOMETRY, _NEEDED_OF_ARRAY = {"arrays"}, {"name", "level", "kinds", "page_sizes", "sets", "ways"}
_OF_LATENCY = {"stlb_hit", "walk", "structure_hit", "load", "walk_caches", "source"}
_OF_WALK_CACHE = {"name", "sets", "ways", "cycles"}
_OF_NESTED = {"page_size", "structure_caches", "tlb", "source"}
_TABLES_OF_GEOMETRY = ("latency", "nested")
_DOCUMENTED_GEOMETRY, _DOCUMENTED_ARRAY = {"title", "structure_caches", "structure_source"}, {"source"}
#: No geometry needs more; a device may have no end.
_MOST_BYTES = 1 << 20


class BadPreset(ValueError):
    """A table says no geometry; the message gives the file, the line, the field, and what is known."""


@dataclass(frozen=True)
class Preset:
    """A geometry with the source of each array and of the structure caches, and its caveats.

    ``latency``: what translations cost there, which the geometry has only where it is to be counted (:meth:`timed`).
    ``nested``: its second dimension, which it has only where there is to be one.  ``default``: whether the name without
    the variant means this one.
    """

    name: str
    title: str
    geometry: Geometry
    sources: dict[str, str]
    structure_source: str
    cautions: tuple[str, ...]
    default: bool
    latency: Latency | None = None
    latency_source: str = ""
    nested: Nested | None = None
    nested_source: str = ""
    #: Variants that are this one too.
    aliases: tuple[str, ...] = ()

    def timed(self) -> Geometry:
        """The geometry with its latency.  ValueError if it says none."""
        if self.latency is None:
            raise ValueError(f"{self.name} does not say what translations cost")
        return replace(self.geometry, latency=self.latency)


@dataclass(frozen=True)
class _Place:
    """Where in a file a table is: whose table, which of its arrays, or which of its structure caches."""

    file: str
    text: str
    table: str
    array: int | None = None
    name: str = ""
    structure: str = ""

    @property
    def _part(self) -> str:
        """What stands before the part of a table that this is."""
        return "" if self.structure in _TABLES_OF_GEOMETRY else "structure_caches: "

    def error(self, message: str, key: str = "") -> BadPreset:
        """A failure there, at the line of ``key``, or of the table's heading."""
        keys = [one for one in (key, self.structure, self.structure and "structure_caches") if one]
        part = self.structure if self.structure in _TABLES_OF_GEOMETRY else ""
        line = _line_of(self.text, self.table, self.array, keys, part)
        where = self.table if self.array is None else f"{self.table}, array {self.name}"
        where += f": {self._part}{self.structure}" if self.structure else ""
        told = "".join(one if one.isprintable() else repr(one)[1:-1] for one in f"{where}: {message}")
        return BadPreset(f"{self.file}{f':{line}' if line else ''}: {told}")


@dataclass
class _Headings:
    """The table that a line of TOML stands in, while lines are read in turn."""

    table: str = ""
    array: int | None = None
    #: The table of a geometry's own table that it is, if it is none of the arrays.
    part: str = ""
    arrays: dict[str, int] = field(default_factory=dict)

    def enter(self, line: str) -> None:
        """Note a heading."""
        try:
            keys = _path_of(tomllib.loads(line))
        except tomllib.TOMLDecodeError:
            return
        self.table, self.array, self.part = keys[0], None, "".join(keys[1:2])
        if keys[1:2] == ["arrays"]:
            if line.startswith("[["):
                self.arrays[self.table] = self.arrays.get(self.table, -1) + 1
            self.array, self.part = self.arrays.get(self.table), ""


def _path_of(table: Any) -> list[str]:
    """The keys of a heading that was read alone."""
    keys = []
    while table:
        if isinstance(table, list):
            table = table[0]
            continue
        ((key, table),) = table.items()
        keys.append(key)
    return keys


def _line_of(text: str, table: str, array: int | None, keys: list[str], part: str) -> int:
    """The line of the first of these keys that a table has, else of the table's heading, counted from 1; 0 if nothing
    is found.  ``part``: in a table of that table, or, where it is not there, in the table itself.
    """
    headings, lines = _Headings(table if table in keys else ""), dict[tuple[str, str], int]()
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line.startswith("["):
            headings.enter(line)
            if (headings.table, headings.array) == (table, array):
                lines.setdefault((headings.part, ""), number)
        elif (headings.table, headings.array) == (table, array):
            if key := re.match(r"""["']?([\w-]+)["']?\s*=""", line):
                lines.setdefault((headings.part, key[1]), number)
    places = [(where, key) for where in dict.fromkeys((part, "")) for key in [*keys, ""]]
    return next((lines[place] for place in places if place in lines), 0)


def read_file(path: str) -> dict[str, Preset]:
    """The geometries of a user's file, by name.  :class:`BadPreset` for what is none; OSError as opening has it."""
    with open(path, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise BadPreset(f"{path}: longer than any description of a TLB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadPreset(f"{path}: not UTF-8 at byte {error.start}: this is no TOML") from None
    return read_text(text, path, documented=False)


def read_text(text: str, file: str, documented: bool) -> dict[str, Preset]:
    """The geometries of a text.  ``documented``: each has a title, and each number its source."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadPreset(f"{file}{_syntax_error(text, str(error))}") from None
    except (ValueError, RecursionError):  # Python's own limits
        raise BadPreset(f"{file}: a number of thousands of digits, or as many brackets: this is no TLB") from None
    presets = {}
    for name, table in tables.items():
        place = _Place(file, text, name)
        if not isinstance(table, dict):
            raise place.error("stands outside of a table; a geometry is [NAME], then its fields", name)
        if not name.isprintable():
            raise place.error("a name has no characters that cannot be printed")
        presets[name] = _preset(place, table, documented)
    return presets


def _syntax_error(text: str, told: str) -> str:
    """The line of an error of TOML's, and what is wrong there."""
    at = re.search(r" \(at line (\d+)", told)
    if at is None:
        return f": {told}"
    single = re.search(r"^[ \t]*\[([^\[\]\n]+\.arrays)\]", text, re.MULTILINE)
    if single and told.startswith("Cannot "):
        return f":{text.count(chr(10), 0, single.start()) + 1}: an array stands under [[{single[1]}]], in two brackets"
    return f":{at[1]}: {told[: at.start()]}"


def _preset(place: _Place, table: dict[str, Any], documented: bool) -> Preset:
    needed = _NEEDED_OF_GEOMETRY | (_DOCUMENTED_GEOMETRY if documented else set())
    _check_keys(place, table, needed, _OF_GEOMETRY)
    own = f"as {Path(place.file).name} says"
    read = _Reader(place, table)
    arrays, sources = [], {}
    for number, one in enumerate(read.tables("arrays")):
        inner = _Place(place.file, place.text, place.table, number, str(one.get("name", "without a name")))
        array = _array(inner, one, documented)
        if array.name in sources:
            raise inner.error("there is another array of this name", "name")
        arrays.append(array)
        sources[array.name] = _Reader(inner, one).text("source", own)
    structure_source = read.text("structure_source", own)
    cautions = tuple(read.texts("cautions"))
    latency, latency_source = _latency(replace(place, structure="latency"), table.get("latency"), documented, own)
    nested, nested_source = _nested(replace(place, structure="nested"), table.get("nested"), documented, own)
    lines = [f"{array}: {source}" for array, source in sources.items()]
    lines.append(f"paging-structure caches: {structure_source}")
    if latency is not None:
        lines.append(f"latencies: {latency_source}")
    lines.extend(f"caution: {caution}" for caution in cautions)
    geometry = Geometry(
        name=place.table,
        arrays=tuple(arrays),
        structure_caches=_structure_caches(place, table.get("structure_caches", {})),
        inclusive=read.truth("inclusive", False),
        smash_1g=read.truth("smash_1g", False),
        prefetch_next=read.truth("prefetch_next", False),
        counters=read.text("counters", COUNTERS[0]),
        provenance="\n".join(lines),
    )
    try:
        check_geometry(replace(geometry, latency=latency))
        check_geometry(replace(geometry, nested=nested))
    except BadGeometry as error:
        part = error.field if error.field in _TABLES_OF_GEOMETRY else ""
        raise replace(place, structure=part).error(error.message.removeprefix(f"{part}: "), error.field) from None
    default = read.truth("default", ":" not in place.table)
    return Preset(
        place.table, read.text("title", own), geometry, sources, structure_source, cautions, default, latency,
        latency_source, nested, nested_source, tuple(read.texts("aliases")),
    )  # fmt: skip


def _latency(place: _Place, table: Any, documented: bool, own: str) -> tuple[Latency | None, str]:
    """What translations cost, and where that is from."""
    if table is None:
        return None, ""
    if not isinstance(table, dict):
        raise place.error(f"expected a table, [NAME.latency], not {table!r}")
    _check_keys(place, table, {"stlb_hit", "load"} | ({"source"} if documented else set()), _OF_LATENCY)
    read = _Reader(place, table)
    caches = []
    for cache in read.tables("walk_caches"):
        _check_keys(place, cache, _OF_WALK_CACHE, _OF_WALK_CACHE)
        inner = _Reader(place, cache)
        shape = (inner.number("sets"), inner.number("ways"), inner.cycles("cycles"))
        caches.append(WalkCache(inner.name(), *shape))
    stlb_hit, walk, structure_hit, load = map(read.cycles, ("stlb_hit", "walk", "structure_hit", "load"))
    return Latency(stlb_hit, walk, structure_hit, load, tuple(caches)), read.text("source", own)


def _nested(place: _Place, table: Any, documented: bool, own: str) -> tuple[Nested | None, str]:
    """The second dimension, and where that is from."""
    if table is None:
        return None, ""
    if not isinstance(table, dict):
        raise place.error(f"expected a table, [NAME.nested], not {table!r}")
    _check_keys(place, table, {"page_size", "structure_caches"} | ({"source"} if documented else set()), _OF_NESTED)
    read = _Reader(place, table)
    page = _known(place, "page_size", read.text("page_size", ""), PAGE_SIZES)
    caches = _structure_caches(place, table["structure_caches"])
    entries = {level: shape for level, shape in caches.items() if isinstance(shape, int)}
    if len(entries) != len(caches):
        raise place.error("structure_caches: those of EPT are fully associative, as { PDE = 32 }", "structure_caches")
    return Nested(int(page).bit_length(), entries, read.entries("tlb")), read.text("source", own)


def _structure_caches(place: _Place, table: Any) -> dict[int, int | StructureShape]:
    if not isinstance(table, dict):
        raise place.error(f"structure_caches: expected a table, as {{ PDE = 32 }}, not {table!r}", "structure_caches")
    found: dict[int, int | StructureShape] = {}
    for entry, number in table.items():
        level = _known(place, "structure_caches", entry, STRUCTURE_LEVELS)
        if isinstance(number, dict):
            found[level] = _structure_shape(replace(place, structure=entry), number)
            continue
        if type(number) is not int or number < 0:
            raise place.error(f"structure_caches: {entry}: expected a number of entries, not {number!r}",
                              "structure_caches")  # fmt: skip
        found[level] = number
    return found


def _structure_shape(place: _Place, table: dict[str, Any]) -> StructureShape:
    _check_keys(place, table, {"sets", "ways"}, {"sets", "ways", "replacement"})
    read = _Reader(place, table)
    policy = _known(place, "replacement", read.text("replacement", "lru"), REPLACEMENT)
    return StructureShape(read.number("sets"), read.number("ways"), policy)


def _array(place: _Place, table: dict[str, Any], documented: bool) -> Array:
    _check_keys(place, table, _NEEDED_OF_ARRAY | (_DOCUMENTED_ARRAY if documented else set()), _OF_ARRAY)
    read = _Reader(place, table)
    kinds, sizes = Kinds(0), PageSizes(0)
    for kind in read.texts("kinds"):
        kinds |= _known(place, "kinds", kind, KINDS)
    for size in read.texts("page_sizes"):
        sizes |= _known(place, "page_sizes", size, PAGE_SIZES)
    array = Array(
        name=read.name(),
        level=read.number("level"),
        kinds=kinds,
        page_sizes=sizes,
        sets=read.number("sets"),
        ways=read.number("ways"),
        replacement=_known(place, "replacement", read.text("replacement", "lru"), REPLACEMENT),
        index_hash=_known(place, "index_hash", read.text("index_hash", "linear"), INDEX_HASH),
        pcids=read.limit("pcids"),
        coalesce=read.number("coalesce") if "coalesce" in table else 1,
    )
    try:
        check_array(array)
    except BadGeometry as error:
        raise place.error(error.message, error.field) from None
    return array


@dataclass(frozen=True)
class _Reader:
    """The fields of a table, each of the type that it must have."""

    place: _Place
    table: dict[str, Any]

    def _typed(self, key: str, default: Any, fits: Callable[[Any], bool], wanted: str) -> Any:
        value = self.table.get(key, default)
        if not fits(value):
            raise self.place.error(f"{key}: expected {wanted}, not {value!r}", key)
        return value

    def number(self, key: str) -> int:
        return int(self._typed(key, None, lambda value: type(value) is int and value > 0, "a number from 1"))

    def limit(self, key: str) -> int | None:
        wanted = "a number of PCIDs"
        return None if key not in self.table else int(self._typed(key, 0, lambda value: type(value) is int, wanted))

    def entries(self, key: str) -> int:
        return int(self._typed(key, 0, lambda value: type(value) is int and value >= 0, "a number of entries"))

    def cycles(self, key: str) -> int:
        return int(self._typed(key, 0, lambda value: type(value) is int and value >= 0, "a number of cycles"))

    def text(self, key: str, default: str) -> str:
        return str(self._typed(key, default, lambda value: isinstance(value, str), "a string"))

    def name(self) -> str:
        """What the array or the cache is called, in tables too."""
        name = self.text("name", "")
        if not name.isprintable():
            raise self.place.error(f"name: expected a string that can be printed, not {name!r}", "name")
        return name

    def truth(self, key: str, default: bool) -> bool:
        return bool(self._typed(key, default, lambda value: isinstance(value, bool), "true or false"))

    def texts(self, key: str) -> list[str]:
        return list(self._typed(key, [], lambda value: _all(value, str), "a list of strings"))

    def tables(self, key: str) -> list[dict[str, Any]]:
        return list(self._typed(key, [], lambda value: _all(value, dict), f"tables, each under [[NAME.{key}]]"))


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)


def _check_keys(place: _Place, table: dict[str, Any], needed: set[str], known: set[str]) -> None:
    if unknown := sorted(table.keys() - known):  # before what is missing: it may be that, misspelt
        names = ", ".join(sorted(known))
        raise place.error(f"there is no {', '.join(unknown)}; known are {names}", unknown[0])
    if missing := sorted(needed - table.keys()):
        raise place.error(f"without {', '.join(missing)}")


def _known(place: _Place, key: str, word: str, meanings: Mapping[str, _Meaning]) -> _Meaning:
    if word not in meanings:
        raise place.error(f"{key}: {word!r} is none of {', '.join(meanings)}", key)
    return meanings[word]


def word_of(meanings: Mapping[str, _Meaning], meaning: _Meaning) -> str:
    """The word for a value."""
    return next(word for word, value in meanings.items() if value == meaning)
