"""The table of docs/experiments.md is what its commands measure."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import emu.machine
import msharefs.module
from emu.cli.main import main
from tests.docs.pages import ROOT, blocks, commands

PAGE = ROOT / "docs" / "experiments.md"


def test_64_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(emu.machine, "find_modules", lambda: {"msharefs": msharefs.module.init})
    rows = {name: tuple(int(n.replace(",", "")) for n in row) for name, *row in
            re.findall(r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE.read_text(), re.M)}  # fmt: skip
    measure = [command for block in blocks(PAGE) for command in commands(block) if "--json" in command.text]
    assert len(measure) == len(rows) == 4
    for command in measure:
        words = shlex.split(command.text)
        assert main(words[1:]) == 125
        file = Path(words[3])
        run = json.loads(file.read_text())
        tables = sum(one["pagetable_bytes"] for one in run["processes"] + run["regions"]) >> 10
        faults = (sum(process[kind] for process in run["processes"]) for kind in ("minor_faults", "link_faults"))
        assert (tables, *faults) == rows[file.stem], command.text
