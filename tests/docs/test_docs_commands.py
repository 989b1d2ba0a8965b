"""Every command on every page runs, and says what stands below it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.docs.pages import LANGUAGES, PAGES, ROOT, Command, blocks, commands, in_recipe, path_with_tools

COMMANDS = [
    command
    for page in PAGES
    for block in blocks(page)
    if block.language == "console" and not in_recipe(block)
    for command in commands(block)
]
RUN = [command for command in COMMANDS if not command.not_run]
#: Commands of others: what they name is looked up, and they are not run.
FOREIGN = ("make", "pip", "tox", "git", "pytest", ".")
#: CPUID leaf 2 of a processor with TLBs: enough of a dump for --tlb-from-cpuid.
DUMP = "CPUID 00000002: 76036301-00F0B5FF-00000000-00C30000 [SL 00]\n"

needs_installation = pytest.mark.skipif(
    not entry_points(group="unimmu.modules"), reason="unimmu is not installed: its kernel modules are entry points"
)


def test_every_block_says_what_it_is() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.language in LANGUAGES, block.where


def test_few_commands_are_not_run() -> None:
    assert len(COMMANDS) - len(RUN) <= 15


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return path_with_tools(tmp_path_factory.mktemp("tools") / "bin")


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the commands of each page run: they find the files that earlier ones on the page have written."""
    return {page.relative_to(ROOT).as_posix(): tmp_path_factory.mktemp("page") for page in PAGES}


@pytest.fixture(scope="module")
def seen() -> list[Command]:
    """The commands that this process has run."""
    return []


OURS = [c for c in RUN if c.text.split()[0] not in FOREIGN]


@needs_installation
@pytest.mark.parametrize("command", OURS, ids=lambda c: f"{c.where} {c.text[:50]}")
def test_command(command: Command, path: str, directories: dict[str, Path], seen: list[Command]) -> None:
    page = command.where.rpartition(":")[0]
    directory = directories[page]
    if not (directory / "guests").exists():
        (directory / "guests").symlink_to(ROOT / "guests")
        (directory / "examples").symlink_to(ROOT / "examples")
        (directory / "dump.txt").write_text(DUMP)
    for earlier in OURS[: OURS.index(command)]:  # which another process of pytest-xdist may have run
        if earlier.where.rpartition(":")[0] == page and earlier not in seen:
            _run(earlier, directory, path)
            seen.append(earlier)
    ran = _run(command, directory, path)
    seen.append(command)
    assert ran.returncode == command.status, ran.stdout
    said = iter(ran.stdout.splitlines())
    for line in command.says:
        if line not in ("", "..."):
            assert any(each.startswith(line) for each in said), (line, ran.stdout)


def _run(command: Command, directory: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", command.text], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.text.split()[0] in FOREIGN], ids=lambda c: f"{c.where} {c.text[:50]}"
)
def test_what_other_tools_are_told_is_there(command: Command) -> None:
    tool, *words = shlex.split(command.text)
    if tool == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets)
    elif tool == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = re.findall(r"\[([\w,]+)\]", command.text)
        assert {extra for names in named for extra in names.split(",")} <= set(extras)
    elif tool == "tox":
        environments = re.findall(r"^\[testenv:([\w-]+)\]", (ROOT / "tox.ini").read_text(), re.MULTILINE)
        assert set(words[words.index("-e") + 1].split(",")) <= set(environments)
    elif tool == "pytest":
        options = re.findall(r"--unimmu-[\w-]+", command.text)
        known = (ROOT / "emu" / "testing" / "plugin.py").read_text()
        assert all(f'"{option}"' in known for option in options)
