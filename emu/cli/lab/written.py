"""Files that the commands of ``unimmu tlb`` write."""

from __future__ import annotations

import pathlib
from typing import Final

from emu.cli.messages import complain

#: The exit status where a file cannot be written.
OUTPUT_FAILED: Final = 74  # EX_IOERR


def write_text(command: str, path: pathlib.Path, text: str) -> int:
    """Write a file, or complain; returns the exit status."""
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        complain(f"{command}: {path}: {getattr(error, 'strerror', None) or error}")
        return OUTPUT_FAILED
    return 0
