"""docs/experiments.md: every command runs, and says what stands below it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Unimmu

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[list[str], list[str]]]:
    """Each command of a block, and the lines that it says.  A command goes on while a quote is open."""
    found: list[tuple[list[str], list[str]]] = []
    lines = iter(block.splitlines())
    for line in lines:
        if line.startswith("$ unimmu "):
            while line.count("'") % 2:
                line += "\n" + next(lines)
            found.append((shlex.split(line)[2:], []))
        else:
            found[-1][1].append(line)
    return found


def test_every_command_says_what_stands_there(unimmu: Unimmu) -> None:
    told = [pair for block in BLOCKS for pair in commands(block) if pair[1]]
    assert len(told) == 6
    for words, lines in told:
        ran = unimmu(*words)
        stale = any("finding" in line for line in lines)
        assert ran.status == (70 if stale else 0), words
        said = (ran.out + ran.err).splitlines()
        for line in lines:
            assert any(each.startswith(line) for each in said), (words, line, said)


def test_64_processes(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {name: tuple(int(n.replace(",", "")) for n in row) for name, *row in
            re.findall(r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", DOCUMENT, re.MULTILINE)}  # fmt: skip
    silent = [words for block in BLOCKS for words, lines in commands(block) if not lines]
    assert len(silent) == len(rows) == 4
    for words in silent:
        assert unimmu(*words).status == 125
        file = Path(words[2])
        run = json.loads(file.read_text())
        tables = sum(one["pagetable_bytes"] for one in run["processes"] + run["regions"]) >> 10
        faults = (sum(process[kind] for process in run["processes"]) for kind in ("minor_faults", "link_faults"))
        assert (tables, *faults) == rows[file.stem], words
