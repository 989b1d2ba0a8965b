"""What the command says of itself: complaints, and its version."""

from __future__ import annotations

import sys


def complain(line: str) -> None:
    """Print a line on stderr, if anybody still listens there.

    What a terminal would obey is escaped: files, guests and modules choose their names themselves.
    """
    if sys.stderr is None:
        return
    if not line.isprintable():
        from emu.linux.event_kind import printable

        line = printable(line)
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass  # nowhere left to complain


def complain_lines(text: str) -> None:
    """:func:`complain` of each line of a text that has several."""
    for line in text.split("\n"):
        complain(line)


def version() -> str:
    """The version of the installed distribution; ``unknown`` in a source tree that is not installed."""
    from importlib import metadata

    try:
        return metadata.version("unimmu")
    except metadata.PackageNotFoundError:
        return "unknown"
