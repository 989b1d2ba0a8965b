"""CONTRIBUTING.md: each way to add something is made in a copy of the tree as the page says, and works.

A block whose first line names a file is an edit; all others of the section are run afterwards.  The section says how
many places there were.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmu.codecache import cache_directory
from tests.docs.pages import ROOT, Block, blocks, commands, is_edit, path_with_tools

PAGE = ROOT / "CONTRIBUTING.md"
EDIT = re.compile(r"# ([\w./]+): (a new file|at its end|in place of|after) ?(.*)\n")
SECTIONS = [
    (title, text)
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if re.search(r"^\*\*\d+ places?\.\*\*", text, re.MULTILINE)
]
RECIPES = ["A kernel module", "A system call", "A TLB preset", "An event kind", "A file system", "An ABI generation"]


def in_section(title: str) -> list[Block]:
    return [block for block in blocks(PAGE) if block.section == title]


def edit(tree: Path, block: Block) -> None:
    """Do what a block says: its first line is where, the others are what."""
    found = EDIT.match(block.text)
    assert found is not None, block.where
    file, text = tree / found[1], block.text[found.end() :]
    if found[2] == "a new file":
        assert not file.exists(), block.where
        file.write_text(text)
    elif found[2] == "at its end":
        assert file.exists(), block.where
        file.write_text(file.read_text() + text)
    else:
        lines = file.read_text().splitlines(keepends=True)
        (at,) = (number for number, line in enumerate(lines) if line.startswith(found[3]))
        kept = lines[:at] if found[2] == "in place of" else lines[: at + 1]
        file.write_text("".join([*kept, text, *lines[at + 1 :]]))


def test_every_recipe_is_there() -> None:
    assert [title for title, _ in SECTIONS] == RECIPES


@pytest.mark.parametrize(("title", "text"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_recipe(title: str, text: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for package in ("mmu", "emu", "msharefs", "sharing", "guests"):
        # with the bytecode, which Python uses where the source is as old; but for files that it is about to rename
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("*.pyc.*"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    shutil.copytree(ROOT / "docs", tree / "docs")
    edits = [block for block in in_section(title) if is_edit(block)]
    for block in edits:
        edit(tree, block)
    told = re.search(r"^\*\*(\d+) places?\.\*\*", text, re.MULTILINE)
    assert told is not None and len(edits) == int(told[1])
    environment = {
        **os.environ, "PATH": path_with_tools(tmp_path / "bin"), "PYTHONPATH": str(tree),
        "UNIMMU_CACHE_DIR": str(cache_directory()),
    }  # fmt: skip
    for block in in_section(title):
        if is_edit(block):
            continue
        if block.language == "python":
            run([sys.executable, "-c", block.text], tree, environment)
        else:
            for command in commands(block):
                said = run(["bash", "-c", command.text], tree, environment)
                for line in command.says:
                    assert any(each.startswith(line) for each in said.splitlines()), (line, said)


def run(command: list[str], directory: Path, environment: dict[str, str]) -> str:
    ran = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout
