"""Programs that make many calls under the host's strace and under ours: the lines are the same, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.guest import GUESTS, Guest
from tests.native.host import why_not as why_not_here
from tests.trace.host_strace import UNLIKE, compared, in_machine, on_host, why_not

#: Guests of tests/native, which together make nearly all calls that they make at all.
NAMES = (Path(__file__).parent / "strace_guests.txt").read_text("utf-8").split()


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_are_those_of_the_hosts_strace(name: str) -> None:
    guest = Guest(name, GUESTS / f"{name}.c")
    reason = why_not() or why_not_here(guest)
    if reason:
        pytest.skip(reason)
    theirs = compared(on_host(guest))
    assert compared(in_machine(guest)) == theirs


def test_what_is_compared() -> None:
    log = (
        "100   fork()                            = 101\n"
        "100   wait4(101,  <unfinished ...>\n"
        "101   mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0012345000\n"
        "101   +++ exited with 0 +++\n"
        "100   --- SIGCHLD {si_signo=SIGCHLD, si_utime=0, si_stime=2 /* 0.02 s */} ---\n"
        "100   <... wait4 resumed>NULL, 0, NULL)  = 101\n"
    )
    assert compared(log) == [
        [
            "fork() = 101",
            "wait4(101, NULL, 0, NULL) = 101",
            "--- SIGCHLD {si_signo=SIGCHLD, si_utime=TIME, si_stime=TIME} ---",
        ],
        ["mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = ADDRESS", "+++ exited with 0 +++"],
    ]


def test_each_unlikeness_has_a_reason() -> None:
    assert all(reason and not reason.endswith(".") for _, _, reason in UNLIKE)
