"""Progress of long work: a bar on the terminal, and nothing where standard error is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

#: How often the bar is drawn, whatever is reported.
_PER_SECOND = 8


class Report(Protocol):
    """Told how much is done, and perhaps what comes now."""

    def __call__(self, done: int, title: str | None = None) -> None: ...


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Report]:
    """Show a bar meanwhile, that has ``total`` steps (None: nobody knows how many); gives what is to be told of each.

    What is printed meanwhile on standard output or error stands above the bar.  Nothing of it is left in the end, and
    nothing at all is written, nor is rich imported, where standard error is no terminal.
    """
    if not on_terminal():
        yield lambda done, title=None: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from emu.cli.screen import Screen

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Screen(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=_PER_SECOND, transient=True) as bar:
        task = bar.add_task(title, total=total)

        def report(done: int, title: str | None = None) -> None:
            bar.update(task, completed=done if total is None else min(done, total), description=title)

        yield report


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
