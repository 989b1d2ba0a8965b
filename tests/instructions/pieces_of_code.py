"""Programs that are a few bytes of code, and how they end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from emu.bench.loops import program
from tests.booted import Booted

CODE, DATA = 0x40_0000, 0x60_0000
#: Where the code begins.
ENTRY = CODE + 64 + 2 * 56
#: mov rbx, DATA
POINT_AT_DATA = "48bb" + DATA.to_bytes(8, "little").hex()


class End(NamedTuple):
    """How a program has ended: its signal, and what the kernel was told: the vector, the error code, and where RIP was,
    counted from the first byte; or its exit status."""

    signal: str
    vector: int = 0
    error_code: int = 0
    at: int = 0


EXITED = End("")


def build(directory: Path, code: str) -> Path:
    """A program that points RBX at 2 pages of zeros, runs the code and exits with status 0."""
    path = directory / "program"
    path.write_bytes(program(bytes.fromhex(POINT_AT_DATA + code), CODE, DATA, 0x2000))
    path.chmod(0o755)
    return path


def end_in(machine: Booted, path: Path) -> End:
    """How it ends in the machine."""
    task = machine.spawn(path)
    outcome = machine.outcome_of(task)
    if not outcome.signal:
        assert outcome.exit_status == 0
        return EXITED
    error_code, vector, _ = task.fault_words
    return End(outcome.signal, vector, error_code, task.rip - ENTRY - len(POINT_AT_DATA) // 2)


def end_on_host(path: Path) -> str:
    """The signal that ends it on the host, or nothing."""
    status = subprocess.run([path], check=False).returncode
    return signal.Signals(-status).name if status < 0 else ""
