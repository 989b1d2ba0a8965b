"""Files that the commands of ``unimmu tlb`` write."""

from __future__ import annotations

import os
import pathlib
from typing import Final

from emu.cli.arguments import UsageError
from emu.cli.messages import complain

#: The exit status where a file cannot be written.
OUTPUT_FAILED: Final = 74  # EX_IOERR


def check_that_it_stays(read: str, *written: pathlib.Path | None) -> None:
    """:class:`UsageError` where a file that is written would take the place of the one that is read."""
    for path in written:
        if path is not None and path.exists() and os.path.exists(read) and os.path.samefile(read, path):
            raise UsageError(f"{path}: that is the stream, which would be lost")


def write_text(command: str, path: pathlib.Path, text: str) -> int:
    """Write a file, or complain; returns the exit status."""
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        complain(f"{command}: {path}: {getattr(error, 'strerror', None) or error}")
        return OUTPUT_FAILED
    return 0
