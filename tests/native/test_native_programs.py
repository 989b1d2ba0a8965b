"""Programs of this system print in a machine with ``--root /`` what they print on the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.native.programs import Case, cases, in_machine, on_host


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="not an x86-64 host")
@pytest.mark.skipif(not Path("/lib64/ld-linux-x86-64.so.2").exists(), reason="the host has no glibc")
@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.program} {case.what}"[:40])
def test_a_program_does_what_it_does_on_the_host(case: Case) -> None:
    if not case.installed:
        pytest.skip(f"{case.program} is not installed")
    host, machine = on_host(case), in_machine(case)
    assert (machine.status, machine.out) == (host.status, host.out), machine.err
