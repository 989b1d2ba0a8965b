"""System calls: one module for each subject, with a table of handlers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall


def all_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of every subject."""
    from emu.syscalls import (
        attributes,
        directories,
        eventpoll,
        fcntl,
        fdctl,
        files,
        futex,
        identity,
        limits,
        memory,
        naming,
        openclose,
        poll,
        process,
        remote,
        residence,
        signals,
        system,
        times,
    )

    for subject in (
        openclose, files, fcntl, fdctl, naming, attributes, directories, poll, eventpoll, memory, residence, remote,
        futex, limits, process, identity, signals, system, times,
    ):  # fmt: skip
        yield subject.TABLE
