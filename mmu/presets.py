"""The translation caches of known processors, read from presets.toml, each number with its source."""

from __future__ import annotations

from importlib.resources import files

from mmu.geometry import Geometry
from mmu.geometry_file import Preset, read_text


class UnknownPreset(KeyError):
    """No preset has this name; the message lists the existing ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def all_presets() -> dict[str, Preset]:
    """Every preset, under its full name ("zen4", "skylake-sp:cpuid")."""
    text = (files("mmu") / "presets.toml").read_text(encoding="utf-8")
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
