"""Calls on memory by chance: after every step the machine shows what this host shows."""

from __future__ import annotations

import os
import platform
import sys

import pytest

from tests.native import host
from tests.native.memory_fuzz import (
    FIRST_OF_HUGE,
    FIRST_OF_TESTS,
    GUEST,
    HUGE_GUEST,
    SINCE,
    SOURCE,
    differences,
    first_difference,
    newest_enough,
    sequences,
)

#: UNIMMU_EXHAUSTIVE=1 compares all of them.
EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")
AT_ONCE, SMALL, HUGE = (20, 60, 10) if EXHAUSTIVE else (10, 20, 4)


def _why_not() -> str:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the host is no x86-64 Linux"
    if not newest_enough(host.release()):
        return f"the host's Linux {host.release()} is older than {SINCE[0]}.{SINCE[1]}"
    if not host.NEEDS["no swap"]():
        return "the host has swap"
    return host.peculiarities(SINCE)


@pytest.mark.parametrize("first", range(FIRST_OF_TESTS, FIRST_OF_TESTS + SMALL, AT_ONCE))
def test_sequences(first: int) -> None:
    if reason := _why_not():
        pytest.skip(reason)
    found = list(differences(first, AT_ONCE))
    assert not found, "\n\n".join(found)


def test_sequences_on_huge_pages() -> None:
    if reason := _why_not() or (
        "" if host.NEEDS["transparent huge pages"]() else "the host's huge pages are set otherwise"
    ):
        pytest.skip(reason)
    found = list(differences(FIRST_OF_HUGE, HUGE, guest=HUGE_GUEST))
    assert not found, "\n\n".join(found)


def test_the_guest_is_built_from_its_source() -> None:
    assert SOURCE.exists()
    for guest in (GUEST, HUGE_GUEST):
        assert guest.stat().st_size < 24 << 10


def test_a_difference_is_shown_with_the_steps_before_it() -> None:
    text = "sequence 7\n0: mmap = at 3, 0 faults\n  3-4 rw-p 0\n1: write 0, 1 faults\n  3-4 rw-p d\n"
    ((name, linux),) = sequences(text)
    assert name == "7" and len(linux) == 4
    ours = [*linux[:3], "  3-4 rw-p 9"]
    assert first_difference(linux, linux) == ""
    assert first_difference(linux, ours).endswith("1: write 0, 1 faults\n-   3-4 rw-p d\n+   3-4 rw-p 9")
    assert first_difference(linux, linux[:2]) == "one of them has ended"
