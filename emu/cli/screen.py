"""Where tables are printed: a terminal, or a file, which has no width of its own."""

from __future__ import annotations

import errno
import os

from rich.console import Console


class Screen(Console):
    """A rich console that prints numbers as they are, as wide as ``file_width`` where it is no terminal.

    A reader that has gone (``| head``) is a BrokenPipeError, as with print(); rich itself would end the program with
    status 1.
    """

    def __init__(self, *, file_width: int | None = None, markup: bool = False, stderr: bool = False) -> None:
        super().__init__(highlight=False, markup=markup, stderr=stderr)
        if file_width is not None and not self.is_terminal:
            self.width = file_width

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
