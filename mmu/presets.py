"""The translation caches of known processors, read from presets.toml, each number with its source."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement

_KINDS = {"load": Kinds.LOAD, "store": Kinds.STORE, "fetch": Kinds.FETCH}
_PAGE_SIZES = {"4K": PageSizes.K4, "2M": PageSizes.M2, "1G": PageSizes.G1}
_REPLACEMENT = {policy.name.lower().replace("_", "-"): policy for policy in Replacement}
_INDEX_HASH = {hashing.name.lower(): hashing for hashing in IndexHash}

#: The names of the paging-structure entries of each level (SDM vol. 3, 4.5).
STRUCTURE_LEVELS = {"PML5E": 5, "PML4E": 4, "PDPTE": 3, "PDE": 2}


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
    return {name: _preset(name, table) for name, table in tables.items()}


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
    base = name.partition(":")[0]
    siblings = [full for full in presets if full.partition(":")[0] == base]
    if siblings:
        raise UnknownPreset(f"{base} has no variant {name.partition(':')[2]!r}; there are {', '.join(siblings)}")
    raise UnknownPreset(f"no TLB preset {name!r}; there are {', '.join(presets)}")


def _preset(name: str, table: dict[str, Any]) -> Preset:
    sources = {array["name"]: str(array["source"]) for array in table["arrays"]}
    structure_source = str(table["structure_source"])
    cautions = tuple(str(caution) for caution in table["cautions"])
    lines = [f"{array}: {source}" for array, source in sources.items()]
    lines.append(f"paging-structure caches: {structure_source}")
    lines.extend(f"caution: {caution}" for caution in cautions)
    geometry = Geometry(
        name=name,
        arrays=tuple(_array(array) for array in table["arrays"]),
        structure_caches={STRUCTURE_LEVELS[entry]: int(n) for entry, n in table["structure_caches"].items()},
        inclusive=bool(table.get("inclusive", False)),
        smash_1g=bool(table.get("smash_1g", False)),
        provenance="\n".join(lines),
    )
    default = bool(table.get("default", ":" not in name))
    return Preset(name, str(table["title"]), geometry, sources, structure_source, cautions, default)


def _array(table: dict[str, Any]) -> Array:
    kinds, sizes = Kinds(0), PageSizes(0)
    for kind in table["kinds"]:
        kinds |= _KINDS[kind]
    for size in table["page_sizes"]:
        sizes |= _PAGE_SIZES[size]
    return Array(
        name=str(table["name"]),
        level=int(table["level"]),
        kinds=kinds,
        page_sizes=sizes,
        sets=int(table["sets"]),
        ways=int(table["ways"]),
        replacement=_REPLACEMENT[table.get("replacement", "lru")],
        index_hash=_INDEX_HASH[table.get("index_hash", "linear")],
    )
