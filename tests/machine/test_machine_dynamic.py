"""Programs that are linked dynamically: the interpreter is loaded, and finds its libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.booted import Booted

INTERPRETER = Path("/lib64/ld-linux-x86-64.so.2")
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")
ECHO = Path("/bin/echo")


@pytest.mark.skipif(
    not (INTERPRETER.exists() and LIBC.exists() and ECHO.exists()),
    reason="the host has no glibc, or not where Debian puts it",
)
def test_a_dynamic_program_of_the_host_runs(machine: Callable[..., Booted]) -> None:
    """ld.so allocates from the rest of its last page, which must be zero to its end (once it was not)."""
    m = machine()
    for file in (INTERPRETER, LIBC):
        m.install(file, str(file))
    outcome = m.outcome(ECHO, "dynamic", "works")
    assert (outcome.stdout, outcome.exit_status) == ("dynamic works\n", 0)
