"""The example that users read first runs, and says what its reader expects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

BARE = """\
#PF at 0x405000, error code 0x2 (supervisor write: not present)
eax = 42
[0x1000] = 0x0000000000002027  PML4E PDPT table at 0x2000: P RW US A
[0x2000] = 0x0000000000003027  PDPTE PD table at 0x3000: P RW US A
[0x3010] = 0x0000000000004027  PDE PT table at 0x4000: P RW US A
[0x4028] = 0x8000000000006067  PTE 4K page at 0x6000: P RW US A D XD
"""

ALIASES = """\
WRITE of 42 at 0x405010, which is 0x6010
READ of 42 at 0x406010, which is 0x6010
2a000000 by [0x4030] = 0x8000000000006027  PTE 4K page at 0x6000: P RW US A XD
#PF at 0x407000, error code 0x4 (user read: not present) because [0x4038] = 0x0000000000000000  PTE not present
"""


@pytest.mark.parametrize(("name", "expected"), [("bare_mmu.py", BARE), ("aliases.py", ALIASES)])
def test_an_example(name: str, expected: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected


@pytest.mark.parametrize("name", ["bare_mmu.py", "aliases.py"])
def test_it_fits_a_screen(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 40
