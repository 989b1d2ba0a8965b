"""Which TLB a command line asks for: a preset, what a CPUID dump describes, or this host's."""

from __future__ import annotations

from emu.cli.arguments import UsageError
from mmu.cpuid import CpuidError, from_cpuid, host_leaves, parse_dump
from mmu.geometry import Geometry
from mmu.presets import UnknownPreset, load_preset

#: In place of a file: this host's own CPUID.
HOST = "host"
#: A dump has some tens of kilobytes, and a device may have no end.
_MOST_BYTES = 4 << 20


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
