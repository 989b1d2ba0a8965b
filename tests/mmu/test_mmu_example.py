"""The example that users read first runs, and says what its reader expects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "bare_mmu.py"

EXPECTED = """\
#PF at 0x405000, error code 0x2 (supervisor write: not present)
eax = 42
[0x1000] = 0x0000000000002027  PML4E PDPT table at 0x2000: P RW US A
[0x2000] = 0x0000000000003027  PDPTE PD table at 0x3000: P RW US A
[0x3010] = 0x0000000000004027  PDE PT table at 0x4000: P RW US A
[0x4028] = 0x8000000000006067  PTE 4K page at 0x6000: P RW US A D XD
"""


def test_bare_mmu() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(EXAMPLE)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == EXPECTED


def test_it_fits_a_screen() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40
