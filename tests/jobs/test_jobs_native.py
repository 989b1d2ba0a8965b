"""Job control, sessions, terminals and signals: C guests that print the same on the host and in the machine."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

from guests import build
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

HERE = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))
_FLAGS = ("-O1", "-static", "-pthread", "-w")


@functools.cache
def _built(name: str, directory: str) -> Path:
    compiler = build.compiler()
    if compiler is None:
        pytest.skip("there is no gcc to build guest programs with")
    program = Path(directory) / name
    subprocess.run([compiler, *_FLAGS, "-o", program, HERE / f"{name}.c"], check=True)
    return program


@needs_host
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_guest_does_what_it_does_on_the_host(
    machine: MakeMachine, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    program = _built(name, str(tmp_path_factory.getbasetemp()))
    assert machine().outcome(program) == native(program, [])
