"""The example project, as an outside user would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import guests.build
from tests.plugin.installed import ROOT, environment

EXAMPLE = ROOT / "examples" / "regression"
COMPILER = guests.build.compiler() is not None


def run(tmp_path: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *options]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment(tmp_path), capture_output=True, text=True, timeout=200, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_example_passes(tmp_path: Path) -> None:
    status, output = run(tmp_path)
    assert status == 0, output
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|skipped)", output.splitlines()[-1])}
    assert counts == ({"passed": 14} if COMPILER else {"passed": 9, "skipped": 5})
    assert "plugins:" in output and "unimmu-" in output


def test_levels_and_interfaces_are_options(tmp_path: Path) -> None:
    options = ("-v", "--unimmu-levels", "pte", "--unimmu-abis", "v3")
    status, output = run(tmp_path, *options, "tests/test_interfaces.py", "tests/test_costs.py")
    assert status == 0, output
    assert "test_a_child_sees_what_its_parent_wrote[pte-v3] PASSED" in output
    assert output.count(": runs with level pmd only") == 3
