"""The example projects, as somebody outside would run them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import guests.build
from tests.plugin.installed import ROOT, environment

EXAMPLE = ROOT / "examples" / "regression"
MODULE = ROOT / "examples" / "module"
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


def test_the_example_of_a_module_passes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs"]
    environ = environment(tmp_path, MODULE)
    done = subprocess.run(
        command, cwd=MODULE, env=environ, capture_output=True, text=True, timeout=200, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].strip("= ").startswith("9 passed in ")


def test_the_command_loads_the_example_of_a_module_when_it_is_asked_to(tmp_path: Path) -> None:
    script = 'm = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate m 2M; @p = mmap 2T 2M RW 0x400001 m 0; store p 1; pause'

    def run(*options: str) -> tuple[dict[str, Any], str]:
        command = [sys.executable, "-m", "emu.cli.entry", "run", *options, "--json", str(tmp_path / "run.json")]
        done = subprocess.run(
            [*command, "calls", script], env=environ, capture_output=True, text=True, timeout=100, check=False
        )  # fmt: skip
        file = tmp_path / "run.json"
        return (json.loads(file.read_text()) if file.exists() else {}), done.stderr

    environ = environment(tmp_path / "site", MODULE)
    says = r"unimmu run: --module: no kernel module 'nowhere' is installed; there are: .*\banywhere\b.*\bmsharefs\b.*\n"
    assert re.fullmatch(says, run("--module", "nowhere")[1])
    assert "anywhere" not in run()[0]
    figures, _ = run("--module", "anywhere")
    assert figures["anywhere"] == [{"name": "f", "sharers": 1, "pagetable_bytes": 4 * 4096}]
    assert figures["processes"][0]["link_faults"] == 1
