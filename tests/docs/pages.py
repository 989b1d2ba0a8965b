"""The pages that people read, and the blocks of code in them."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Whatever is for readers; docs/make_site.py makes a site of it.
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "guests/*.md", "examples/*/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
#: ``text`` is what something prints, or a picture; every other block is run, or compared with what it quotes.
LANGUAGES = {"console", "python", "toml", "c", "text"}
#: Why a command is not run.  It stands behind the command, where the reader sees it too.
NOT_RUN = ("needs the network", "takes minutes", "needs gcc and musl-gcc", "needs ptrace and namespaces")


@dataclass(frozen=True)
class Block:
    """A block between two fences, with the line of its first fence."""

    page: Path
    line: int
    language: str
    text: str
    #: The heading above it.
    section: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command behind ``$``, its comment, and what stands below it."""

    where: str
    text: str
    comment: str
    says: tuple[str, ...]

    @property
    def page(self) -> str:
        """The page that it is on, as ``where`` has it."""
        return self.where.rpartition(":")[0]

    @property
    def status(self) -> int:
        """The exit status that the comment tells; 0 if it tells none."""
        told = re.search(r"exit status (\d+)", self.comment)
        return int(told[1]) if told else 0

    @property
    def not_run(self) -> bool:
        return any(reason in self.comment for reason in NOT_RUN)


def is_edit(block: Block) -> bool:
    """Whether it shows what to write into a file; tests/contributing does that."""
    return re.match(r"# [\w./]+: ", block.text) is not None


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines: list[str] = []
    start, language, section = 0, "", ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
            section = line.lstrip("# ") if not start and line.startswith("#") else section
        elif start:
            found.append(Block(page, start, language, "\n".join(lines) + "\n", section))
            start = 0
        else:
            start, language, lines = number, line[3:].strip(), []
    assert not start, f"{page.name}:{start}: the block does not end"
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a ``console`` block.  A command goes on while a quote is open."""
    found: list[Command] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            while line.count("'") % 2:
                line += "\n" + next(lines)
            text, _, comment = line[2:].rpartition("  # ") if re.search(r"  # [^']*$", line) else (line[2:], "", "")
            found.append(Command(block.where, text.strip(), comment, ()))
        else:
            assert found, f"{block.where}: the block does not begin with a command"
            last = found.pop()
            found.append(Command(last.where, last.text, last.comment, (*last.says, line)))
    return found


def in_recipe(block: Block) -> bool:
    """Whether it stands in a section of CONTRIBUTING.md on how to add something: tests/contributing follows these."""
    return any(is_edit(other) for other in blocks(block.page) if other.section == block.section)


def path_with_tools(directory: Path) -> str:
    """A PATH on which ``unimmu`` and ``python`` are those of the tests; ``directory`` is made for them."""
    directory.mkdir()
    for name, command in (("unimmu", f"{sys.executable} -m emu.cli.main"), ("python", sys.executable)):
        (directory / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (directory / name).chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"
