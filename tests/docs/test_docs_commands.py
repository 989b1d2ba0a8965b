"""Every command on every page runs, and says what stands below it."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from importlib.metadata import entry_points
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from emu.cli.main import main
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


OURS = [c for c in RUN if c.text.split()[0] not in FOREIGN]


@needs_installation
@pytest.mark.parametrize("page", sorted({command.page for command in OURS}))
def test_commands(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One after the other in one directory: they find the files that earlier ones on the page have written."""
    (directory := tmp_path / "page").mkdir()
    for name in ("guests", "examples"):
        (directory / name).symlink_to(ROOT / name)
    (directory / "dump.txt").write_text(DUMP)
    monkeypatch.setenv("PATH", path_with_tools(tmp_path / "bin"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(directory)
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO()))
    for command in (command for command in OURS if command.page == page):
        status, printed = _run(command.text, capfd)
        assert status == command.status, (command, printed)
        said = printed.splitlines()
        for line in command.says:
            if line not in ("", "..."):
                assert any(each.startswith(line) for each in said), (command, line, printed)


def _run(text: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status, and what is printed.  A command that needs no shell, but may write into a file, is run in this
    process: it starts with all that it imports.
    """
    command, _, target = text.partition(" >") if re.search(" > ?[a-z.]+$", text) else (text, "", "")
    if command.startswith("unimmu ") and not re.search(r"""[]["$&()*;<>?\\`{|}~]""", re.sub("'[^']*'", "", command)):
        status = main(shlex.split(command)[1:])
        out, err = capfd.readouterr()
        if target:
            Path(target.strip()).write_text(out)
        return status, err if target else out + err
    ran = subprocess.run(
        ["bash", "-c", text], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout


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
