"""What the command says of itself: complaints, and its version."""

from __future__ import annotations

import sys


def complain(line: str) -> None:
    """Print a line on stderr, if anybody still listens there."""
    if sys.stderr is not None:
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            pass  # nowhere left to complain


def version() -> str:
    """The version of the installed distribution; ``unknown`` in a source tree that is not installed."""
    from importlib import metadata

    try:
        return metadata.version("unimmu")
    except metadata.PackageNotFoundError:
        return "unknown"
