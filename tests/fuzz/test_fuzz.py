"""A part of every attack, and the page that tells of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.attacks import ATTACKS
from tests.fuzz.ledger import PAGE, TOP, table
from tests.fuzz.standing import STANDING

#: UNIMMU_EXHAUSTIVE=1 has a third of the cases that `python -m tests.fuzz all` has; otherwise it is a ninth.
EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")
PART = 3 if EXHAUSTIVE else 9
#: One process for half of the attacks: it takes longer to load everything than many cases do.
HALVES = [list(ATTACKS)[half::2] for half in (0, 1)]
_PROGRAM = """\
import sys
from tests.fuzz.__main__ import main
sys.exit(max(main([name, "--cases", cases]) for name, cases in (word.split("=") for word in sys.argv[1:])))
"""


@pytest.mark.parametrize("names", HALVES, ids="+".join)
def test_nothing_is_found(names: list[str]) -> None:
    """In a process of their own, which has one thread and can fork."""
    cases = {name: max(ATTACKS[name].cases // PART, 2) for name in names}
    words = [sys.executable, "-W", "error", "-c", _PROGRAM, *(f"{name}={number}" for name, number in cases.items())]
    ran = subprocess.run(words, cwd=TOP, capture_output=True, encoding="utf-8", errors="backslashreplace", check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for (name, number), line in zip(cases.items(), ran.stdout.splitlines(), strict=True):
        assert re.fullmatch(rf"{name}: {number} cases from seed 0 \(.*\); nothing found", line)


def test_the_page_is_what_the_script_makes() -> None:
    assert PAGE.read_text("utf-8") == table(), "python -m tests.fuzz --table > docs/robustness.md"


def test_each_cure_has_its_test() -> None:
    for attack in ATTACKS.values():
        for fault in attack.mended:
            file, _, name = fault.test.partition("::")
            assert f"def {name.partition('[')[0]}(" in Path(TOP / file).read_text("utf-8"), fault.test
    for _, _, files in STANDING:
        for file in files:
            assert (TOP / file).exists(), file
