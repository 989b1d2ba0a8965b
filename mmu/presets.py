"""The translation caches of known processors, read from presets.toml, each number with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement

_Meaning = TypeVar("_Meaning")

_KINDS = {"load": Kinds.LOAD, "store": Kinds.STORE, "fetch": Kinds.FETCH}
_PAGE_SIZES = {"4K": PageSizes.K4, "2M": PageSizes.M2, "1G": PageSizes.G1}
_REPLACEMENT = {policy.name.lower().replace("_", "-"): policy for policy in Replacement}
_INDEX_HASH = {hashing.name.lower(): hashing for hashing in IndexHash}

#: The names of the paging-structure entries of each level (SDM vol. 3, 4.5).
STRUCTURE_LEVELS = {"PML5E": 5, "PML4E": 4, "PDPTE": 3, "PDE": 2}


#: What a table must have, and what may stand with it.
_OF_PRESET = {"title", "arrays", "structure_caches", "structure_source"}
_OF_PRESET_OPTIONAL = {"cautions", "default", "inclusive", "smash_1g"}
_OF_ARRAY = {"name", "level", "kinds", "page_sizes", "sets", "ways", "source"}
_OF_ARRAY_OPTIONAL = {"replacement", "index_hash"}


class BadPreset(ValueError):
    """presets.toml has something that is no preset; the message says where, and what is known."""


class UnknownPreset(KeyError):
    """No preset has this name; the message lists the existing ones."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Preset:
    """A geometry with the source of each array and of the structure caches, and its caveats.

    ``default``: whether the name without the variant means this one.
    """

    name: str
    title: str
    geometry: Geometry
    sources: dict[str, str]
    structure_source: str
    cautions: tuple[str, ...]
    default: bool


def all_presets() -> dict[str, Preset]:
    """Every preset, under its full name ("zen4", "skylake-sp:cpuid")."""
    tables = tomllib.loads((files("mmu") / "presets.toml").read_text(encoding="utf-8"))
    return {name: preset_of(name, table) for name, table in tables.items()}


def preset_names() -> list[str]:
    """The full names of all presets."""
    return list(all_presets())


def load_preset(name: str) -> Geometry:
    """The geometry of a preset; a name without its variant means the default variant.

    Raises :class:`UnknownPreset` (a KeyError).

    >>> load_preset("skylake-sp").name
    'skylake-sp:measured'
    """
    return find_preset(name).geometry


def find_preset(name: str) -> Preset:
    """As :func:`load_preset`, with its sources and caveats."""
    presets = all_presets()
    if name in presets:
        return presets[name]
    variants = [preset for full, preset in presets.items() if full.partition(":")[0] == name]
    for preset in variants:
        if preset.default:
            return preset
    base, _, variant = name.partition(":")
    siblings = [full for full in presets if full.partition(":")[0] == base]
    if siblings:
        lacks = f"variant {variant!r}" if variant else "variant with default = true"
        raise UnknownPreset(f"{base} has no {lacks}; there are {', '.join(siblings)}")
    raise UnknownPreset(f"no TLB preset {name!r}; there are {', '.join(presets)}")


def preset_of(name: str, table: dict[str, Any]) -> Preset:
    """The preset that a table of presets.toml says.  :class:`BadPreset` where it says none."""
    _check(name, table, _OF_PRESET, _OF_PRESET_OPTIONAL)
    arrays = tuple(_array(name, array) for array in table["arrays"])
    sources = {array["name"]: str(array["source"]) for array in table["arrays"]}
    structure_source = str(table["structure_source"])
    cautions = tuple(str(caution) for caution in table.get("cautions", ()))
    lines = [f"{array}: {source}" for array, source in sources.items()]
    lines.append(f"paging-structure caches: {structure_source}")
    lines.extend(f"caution: {caution}" for caution in cautions)
    geometry = Geometry(
        name=name,
        arrays=arrays,
        structure_caches={
            _known(f"{name}: structure_caches", entry, STRUCTURE_LEVELS): int(n)
            for entry, n in table["structure_caches"].items()
        },
        inclusive=bool(table.get("inclusive", False)),
        smash_1g=bool(table.get("smash_1g", False)),
        provenance="\n".join(lines),
    )
    default = bool(table.get("default", ":" not in name))
    return Preset(name, str(table["title"]), geometry, sources, structure_source, cautions, default)


def _array(preset: str, table: dict[str, Any]) -> Array:
    where = f"{preset}, array {table.get('name', 'without a name')}"
    _check(where, table, _OF_ARRAY, _OF_ARRAY_OPTIONAL)
    kinds, sizes = Kinds(0), PageSizes(0)
    for kind in table["kinds"]:
        kinds |= _known(f"{where}: kinds", kind, _KINDS)
    for size in table["page_sizes"]:
        sizes |= _known(f"{where}: page_sizes", size, _PAGE_SIZES)
    return Array(
        name=str(table["name"]),
        level=int(table["level"]),
        kinds=kinds,
        page_sizes=sizes,
        sets=int(table["sets"]),
        ways=int(table["ways"]),
        replacement=_known(f"{where}: replacement", table.get("replacement", "lru"), _REPLACEMENT),
        index_hash=_known(f"{where}: index_hash", table.get("index_hash", "linear"), _INDEX_HASH),
    )


def _check(where: str, table: dict[str, Any], needed: set[str], optional: set[str]) -> None:
    if missing := sorted(needed - table.keys()):
        raise BadPreset(f"presets.toml: {where}: without {', '.join(missing)}")
    if unknown := sorted(table.keys() - needed - optional):
        known = ", ".join(sorted(needed | optional))
        raise BadPreset(f"presets.toml: {where}: there is no {', '.join(unknown)}; known are {known}")


def _known(where: str, word: str, meanings: Mapping[str, _Meaning]) -> _Meaning:
    if word not in meanings:
        raise BadPreset(f"presets.toml: {where}: {word!r} is none of {', '.join(meanings)}")
    return meanings[word]
