"""System calls: one module for each subject, with a table of handlers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall


def all_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of every subject."""
    yield from early_tables()
    yield from late_tables()


def late_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of subjects that few programs ask for: a machine imports them for the first that does."""
    from emu.syscalls import remote, sysv

    for subject in (remote, sysv):
        yield subject.TABLE


def early_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of subjects that every machine has from the start."""
    from emu.syscalls import (
        attributes,
        directories,
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
        residence,
        signals,
        system,
        times,
    )

    for subject in (
        openclose, files, fcntl, fdctl, naming, attributes, directories, poll, memory, residence, futex, limits,
        process, identity, signals, system, times,
    ):  # fmt: skip
        yield subject.TABLE
