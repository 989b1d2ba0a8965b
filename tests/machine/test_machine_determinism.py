"""The same input gives the same run: twice, and compiled or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.booted import Booted, MakeMachine

PROGRAMS = (("fork_shared",), ("mshare_donor",), ("mshare_call_donor",), ("faults", "regs"))


def figures(booted: Booted, *command: object) -> dict[str, Any]:
    """Everything that a run counts and prints."""
    name, *arguments = command
    outcome = booted.outcome(str(name), *arguments)
    counters = booted.kernel.cpu.mmu.counters
    return {
        "outcome": list(outcome),
        "processes": booted.processes(),
        "mmu": {field: getattr(counters, field) for field in counters.__dataclass_fields__},
        "clock": booted.kernel.clock.now_ns(),
        "switches": booted.kernel.scheduler.switches,
        "frames": booted.kernel.frames.used,
    }


@pytest.mark.parametrize("command", [("region_stress", 3, 2, "256K"), ("pipes",), *PROGRAMS])
def test_two_runs_are_the_same(machine: MakeMachine, command: tuple[object, ...]) -> None:
    first, second = machine(seed=7), machine(seed=7)
    assert figures(first, *command) == figures(second, *command)


def test_a_seed_decides_what_is_random(machine: MakeMachine) -> None:
    """AT_RANDOM and getrandom(2)."""
    script = "@b = bytes 16; syscall 318 b 8 0; load b"
    first, again, other = (machine(seed=seed).calls(script) for seed in (1, 1, 2))
    assert first == again != other


def test_the_reference_mode_counts_the_same(machine: MakeMachine) -> None:
    """Python functions in place of the compiled ones: every counter and every byte is the same."""
    code = (
        "import json, sys\n"
        "from tests.booted import Booted\n"
        "from tests.machine.test_machine_determinism import PROGRAMS, figures\n"
        "booted = [Booted() for _ in PROGRAMS]\n"
        "assert booted[0].kernel.cpu.mmu.code == 'reference', booted[0].kernel.cpu.mmu.code\n"
        "json.dump([figures(b, *command) for b, command in zip(booted, PROGRAMS)], sys.stdout)\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    top = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=top, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    compiled = [figures(machine(), *command) for command in PROGRAMS]
    assert json.loads(done.stdout) == json.loads(json.dumps(compiled))
