"""What the command says of itself: complaints, and its version."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO


def complain(line: str, listens: Callable[[int], bool] | None = None) -> None:
    """Print a line on stderr, if anybody still listens there; ``listens`` is asked whether the descriptor is read.

    What a terminal would obey is escaped: files, guests and modules choose their names themselves.
    """
    if sys.stderr is None:
        return
    if not line.isprintable():
        from emu.linux.event_kind import printable

        line = "\t".join(printable(column) for column in line.split("\t"))  # for -x
    try:
        if listens is None or listens(_descriptor(sys.stderr)):
            print(line, file=sys.stderr, flush=True)
    except OSError:
        pass  # nowhere left to complain


def complain_lines(text: str, listens: Callable[[int], bool] | None = None) -> None:
    """:func:`complain` of each line of a text that has several."""
    for line in text.split("\n"):
        complain(line, listens)


def _descriptor(stream: TextIO) -> int:
    """Its descriptor; -1 if it is no file."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return -1


def version() -> str:
    """The version of the installed distribution; ``unknown`` in a source tree that is not installed."""
    from emu.kernel.modules import own_information

    directory = own_information()
    for name in ("METADATA", "PKG-INFO") if directory is not None else ():
        try:
            with open(f"{directory}/{name}", encoding="utf-8") as text:
                head = text.read().partition("\n\n")[0]  # the description follows
        except OSError:
            continue
        for line in head.splitlines():
            if line.startswith("Version: "):
                return line.removeprefix("Version: ")
    from importlib import metadata

    try:
        return metadata.version("unimmu")
    except metadata.PackageNotFoundError:
        return "unknown"
