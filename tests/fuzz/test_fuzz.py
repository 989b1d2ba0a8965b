"""A part of every attack, and the page that tells of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.attacks import ATTACKS
from tests.fuzz.ledger import PAGE, TOP, table
from tests.fuzz.standing import STANDING


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_found(name: str) -> None:
    """In a process of its own, which has one thread and can fork.

    A third of the cases; `python -m tests.fuzz all` has them all.
    """
    cases = max(ATTACKS[name].cases // 3, 1)
    words = [sys.executable, "-W", "error", "-m", "tests.fuzz", name, "--cases", str(cases)]
    ran = subprocess.run(words, cwd=TOP, capture_output=True, encoding="utf-8", errors="backslashreplace", check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.fullmatch(rf"{name}: {cases} cases from seed 0 \(.*\); nothing found\n", ran.stdout)


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
