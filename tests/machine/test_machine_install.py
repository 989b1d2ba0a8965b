"""A program of the host that is spawned again is copied again only if its file in the machine has changed."""

from __future__ import annotations

import pytest

import guests
from tests.booted import Booted, MakeMachine, machine

__all__ = ["machine"]


def written_at(booted: Booted, name: str) -> int:
    """st_mtime of a program in the machine."""
    return booted.kernel.vfs.walker(None).resolve(f"/bin/{name}").inode.mtime


def test_what_is_there_already_stays(machine: MakeMachine) -> None:
    """Also while it runs, whose code would be written and translated anew."""
    booted = machine()
    booted.guest("calls", "@pause")
    booted.run_until_idle()
    before = written_at(booted, "calls")
    booted.guest("calls", "say 1; @pause")
    assert written_at(booted, "calls") == before
    booted.run_until_idle()
    assert booted.stdout == "say = 1\n"


@pytest.mark.parametrize(
    "change",
    [
        'truncate "/bin/hello" 10', 'chmod "/bin/hello" 0', 'chown "/bin/hello" 5 0', 'unlink "/bin/hello"',
        '@f = open "/bin/hello" O_RDWR; pwrite f "other" 5 0', '@f = open "/bin/hello" O_RDWR; pwrite f "more" 4 1M',
        '@a = rename "/bin/hello" "/bin/x"; symlink "/bin/calls" "/bin/hello"',
        'syscall 188 "/bin/hello" "user.a" "b" 1 0',
    ],
)  # fmt: skip
def test_what_a_guest_has_changed_is_copied_again(machine: MakeMachine, change: str) -> None:
    booted = machine()
    assert booted.outcome("hello").stdout == "hello, world\n"
    booted.calls(change)
    assert booted.outcome("hello").stdout == "hello, world\n"
    assert booted.kernel.vfs.read_file("/bin/hello") == guests.path("hello").read_bytes()
