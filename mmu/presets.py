"""The translation caches of known processors, read from presets.toml, each number with its source."""

from __future__ import annotations

import re
from importlib.resources import files

from mmu.geometry import Geometry
from mmu.geometry_file import Preset, read_text


class UnknownPreset(KeyError):
    """No preset has this name; the message lists the existing ones."""

    def __str__(self) -> str:
        return str(self.args[0])


#: Where the table of a preset begins: its name, and the variant; the tables of its arrays have two brackets.
_HEADING = re.compile(r'^\["?([\w-]+)(?::[\w-]+)?"?\]$', re.MULTILINE)


def all_presets(processor: str | None = None) -> dict[str, Preset]:
    """Every preset, or the variants of one processor, under its full name ("zen4", "skylake-sp:cpuid").

    Of one processor only its own tables are read: a machine needs no others to start.
    """
    text = (files("mmu") / "presets.toml").read_text(encoding="utf-8")
    if processor is not None:
        headings = list(_HEADING.finditer(text))
        ends = [heading.start() for heading in headings[1:]] + [len(text)]
        parts = [text[heading.start() : end] for heading, end in zip(headings, ends, strict=True)
                 if heading[1] == processor]  # fmt: skip
        text = "".join(parts)
    return read_text(text, "presets.toml", documented=True)


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
    processor, _, variant = name.partition(":")
    presets = all_presets(processor)
    for full, preset in presets.items():
        if full == name or (preset.default and processor == name) or variant in preset.aliases:
            return preset
    if presets:
        lacks = f"variant {variant!r}" if variant else "variant with default = true"
        there = [
            name
            for full, preset in presets.items()
            for name in (full, *(f"{processor}:{one}" for one in preset.aliases))
        ]
        raise UnknownPreset(f"{processor} has no {lacks}; there are {', '.join(there)}")
    raise UnknownPreset(f"no TLB preset {name!r}; there are {', '.join(all_presets())}")
