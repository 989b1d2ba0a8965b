"""What --help says, of every command: it has room in 100 columns, and its examples are command lines that are taken."""

from __future__ import annotations

import re
import shlex
from importlib import import_module

import pytest

from emu.cli.arguments import Parser
from emu.cli.main import COMMANDS
from tests.cli.conftest import Unimmu

LEAVES = [
    "run", "pt", "presets", "demo", "bench", "tlb sim", "tlb analyze", "tlb sweep", "trace stat", "trace top",
    "trace view", "trace convert", "trace report", "trace diff",
]  # fmt: skip


@pytest.mark.parametrize("command", ["", "tlb", "trace", *LEAVES])
def test_it_has_room_in_100_columns(command: str, unimmu: Unimmu) -> None:
    said = unimmu(*command.split(), "--help")
    assert (said.status, said.err) == (0, "")
    assert [line for line in said.out.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("command", LEAVES)
def test_its_examples_are_taken(command: str, unimmu: Unimmu) -> None:
    """Each word is understood; nothing is run."""
    text = unimmu(*command.split(), "--help").out.partition("\nexamples:\n")[2]
    lines = [line.strip() for line in text.splitlines() if line.startswith("  unimmu ")]
    assert any(line.startswith(f"unimmu {command}") for line in lines)
    for line in lines:
        example = re.split(r"\s{2,}|\s+[#>|] ?", line)[0]
        for part in example.split(" && "):
            program, name, *words = shlex.split(part)
            assert program == "unimmu"
            parser = Parser(f"unimmu {name}")
            import_module(COMMANDS[name][0]).add_arguments(parser)
            parser.parse(words)
