"""Numbers as people read them."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size: int) -> str:
    """A size in bytes in its largest fitting unit, with one decimal if it is not whole: ``512 GiB``, ``16.3 MiB``."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.0f} {_UNITS[unit]}" if value == int(value) else f"{value:.1f} {_UNITS[unit]}"


def kib(size: int) -> str:
    """A number of bytes as whole KiB, in groups of three digits."""
    return f"{size >> 10:,}"


def plural(count: int, one: str, many: str) -> str:
    """``1 process``, ``8 processes``."""
    return f"{count:,} {one if count == 1 else many}"
