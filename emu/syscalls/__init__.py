"""System calls: one module for each subject, with a table of handlers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall

#: In the order in which they are looked through: what more programs ask for comes first.
LATE = (
    "prctl",
    "attributes",
    "directories",
    "mounts",
    "fsmount",
    "naming",
    "residence",
    "mempolicy",
    "backing",
    "userfaultfd",
    "eventpoll",
    "timers",
    "queued",
    "pidfd",
    "inotify",
    "sockets",
    "sockopt",
    "messages",
    "sysv",
    "mqueue",
    "aio",
    "splice",
    "lookup",
    "handles",
    "fileattr",
    "keys",
    "filesystems",
    "statmount",
    "xattr",
    "scheduling",
    "privileges",
    "namespaces",
    "seccomp",
    "remote",
    "clockset",
    "futex2",
    "ptrace",
)


def all_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of every subject."""
    yield from early_tables()
    yield from late_tables()


def late_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of subjects that not every program asks for: each is imported when one does that the ones before it
    do not have.
    """
    for subject in LATE:
        table: tuple[Syscall, ...] = import_module(f"emu.syscalls.{subject}").TABLE
        yield table


def early_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of subjects that every machine has from the start."""
    from emu.syscalls import (
        fcntl,
        fdctl,
        files,
        futex,
        identity,
        limits,
        memory,
        openclose,
        poll,
        process,
        rseq,
        sessions,
        signals,
        system,
        times,
        wait,
    )

    for subject in (
        openclose, files, fcntl, fdctl, poll, memory, futex, limits, process, rseq, wait, sessions, identity,
        signals, system, times,
    ):  # fmt: skip
        yield subject.TABLE
