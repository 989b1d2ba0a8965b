"""Which TLB a command line asks for: a preset, what a CPUID dump describes, or this host's."""

from __future__ import annotations

from pathlib import Path

from emu.cli.arguments import UsageError
from mmu.cpuid import CpuidError, from_cpuid, host_leaves, parse_dump
from mmu.geometry import Geometry
from mmu.presets import UnknownPreset, load_preset

#: In place of a file: this host's own CPUID.
HOST = "host"


def geometry_of_preset(name: str) -> Geometry:
    """The geometry of a preset.  :class:`UsageError` names the presets if there is none of that name."""
    try:
        return load_preset(name)
    except UnknownPreset as error:
        raise UsageError(f"--tlb: {error} (or off)") from None


def geometry_from_cpuid(source: str, option: str) -> Geometry:
    """What a dump, or this host's CPUID where ``source`` is "host", describes.

    :class:`UsageError` if it describes none.
    """
    try:
        if source == HOST:
            return from_cpuid(host_leaves(), HOST)
        text = Path(source).read_text(encoding="utf-8", errors="replace")
        return from_cpuid(parse_dump(text), source)
    except CpuidError as error:
        raise UsageError(f"{option} {source}: {error}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {source}: {getattr(error, 'strerror', None) or error}") from None
