"""Floating-point registers, exceptions and signal frames at the edges: what Linux does, which the host is asked for."""

from __future__ import annotations

import re

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

#: What they must print stands at the head of their sources.
PROGRAMS = ("fpu", "traps")


def expected(name: str) -> str:
    head = (guests.path(name).parents[1] / "src" / f"{name}.c").read_text().split("*/")[1]
    return "".join(f"{line}\n" for line in re.findall(r"^ \*   (.*)$", head, re.MULTILINE))


@needs_host
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_host_does(name: str) -> None:
    assert native(guests.path(name)) == (expected(name), "", 0, "")


@pytest.mark.parametrize("options", [{}, {"tlb": "textbook"}, {"cpus": 2, "turn": 700}])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_machine_does_the_same(machine: MakeMachine, name: str, options: dict[str, object]) -> None:
    assert machine(**options).outcome(name) == (expected(name), "", 0, "")
