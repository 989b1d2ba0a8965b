"""The files that commands write when their work is done: what cannot be written is told before the work, in each."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

import emu.cli.bench
import emu.cli.demo
import emu.cli.demos.postgres
import emu.cli.demos.sga
import emu.lab.analysis
import emu.lab.sweep
import emu.trace.pictures.tally
from emu.cli.arguments import OutputError, UsageError
from emu.cli.results import ResultFiles
from tests.cli.conftest import Unimmu

SWEEP = 'program = "{what}"\n[axes]\nwhat = ["hello"]\n'


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of each command ends the test."""

    def begun(*_given: object, **_named: object) -> None:
        raise AssertionError("the work has begun")

    for module, name in (
        (emu.cli.demo, "_run_sharers"), (emu.cli.demos.sga, "_Run"), (emu.cli.demos.postgres, "initdb"),
        (emu.cli.bench, "_suite"), (emu.lab.analysis, "analyse"), (emu.trace.pictures.tally, "tally"),
        (emu.lab.sweep.LocalPool, "run"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, begun)
    monkeypatch.setattr(emu.cli.demos.postgres, "programs_in", lambda root: root)


@pytest.fixture
def there(tmp_path: Path, unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a stream, a trace, and a specification."""
    monkeypatch.chdir(tmp_path)
    assert unimmu("run", "--record", "s.parquet", "--trace", "t.jsonl", "hello").status == 0
    Path("few.toml").write_text(SWEEP)
    return tmp_path


@pytest.mark.usefixtures("no_work", "there")
@pytest.mark.parametrize(
    "words",
    [
        "demo --output FILE.svg",
        "demo --sga --size 1G --processes 1 --json FILE",
        "demo --postgres --output FILE.svg",
        "demo --postgres --json FILE",
        "demo --postgres --trace FILE.jsonl",
        "bench --json FILE",
        "tlb analyze s.parquet --json FILE",
        "tlb analyze s.parquet -o FILE",
        "tlb sim s.parquet --tlb zen4 --json FILE",
        "trace report t.jsonl -o FILE",
        "trace convert t.jsonl FILE.csv",
        "pt --html FILE hello",
        "pt --svg FILE hello",
        "pt --save FILE hello",
        "run --json FILE hello",
        "run --trace FILE.jsonl hello",
        "run --record FILE.parquet hello",
        "run --strace -o FILE hello",
    ],
)
def test_a_name_that_cannot_be_is_told_before_the_work(words: str, unimmu: Unimmu) -> None:
    """In one line that names the option, where there is one; nothing has been run."""
    ran = unimmu(*words.replace("FILE", "no/file").split())
    option, file = next(pair for pair in pairwise(words.split()) if pair[1].startswith("FILE"))
    named = f"{option} {file}" if option.startswith("-") else file
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f": {named.replace('FILE', 'no/file')}: cannot be written: No such file or directory\n" in ran.err


@pytest.mark.usefixtures("no_work", "there")
def test_a_sweep_that_cannot_write_runs_no_point(unimmu: Unimmu) -> None:
    os.makedirs("few.results/results.parquet")  # where a file is to be
    ran = unimmu("tlb", "sweep", "few.toml")
    assert (ran.status, ran.err) == (74, "unimmu tlb sweep: few.results/results.parquet: Is a directory\n")


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    "words", ["pt --save FILE hello", "tlb sim s.parquet --tlb zen4 --json FILE", "trace report t.jsonl -o FILE"]
)
def test_a_full_disk_is_told_at_the_end(words: str, unimmu: Unimmu) -> None:
    ran = unimmu(*words.replace("FILE", "/dev/full").split())
    assert ran.status == 74
    assert "/dev/full: No space left on device; the file is not complete\n" in ran.err


def test_what_a_file_has_stays_until_there_is_something_else(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("something long")
    with ResultFiles({"--json": old, "--html": new, "--svg": None}):
        assert old.read_text() == "something long" and new.exists()
    assert old.read_text() == "something long" and not new.exists()
    with ResultFiles({"--json": old, "--html": new}) as files:
        files.write("--json", "new")
        files.write("--json", b"er")
        files.write("--html", "")
    assert (old.read_text(), new.read_text()) == ("newer", "")


def test_one_file_for_two_options(tmp_path: Path) -> None:
    """By another name too; a device keeps nothing, so it does for both."""
    one, link = tmp_path / "one", tmp_path / "link"
    link.symlink_to(one)
    with pytest.raises(UsageError, match=r"^--svg .*link: --html .*one writes to the same file$"):
        ResultFiles({"--html": one, "--svg": link})
    assert not one.exists()
    with ResultFiles({"--html": Path("/dev/null"), "--svg": Path("/dev/null")}) as files:
        files.write("--svg", "nowhere")


def test_nobody_reads(tmp_path: Path) -> None:
    """The other end of a pipe has been closed."""
    reader, writer = os.pipe()
    with ResultFiles({"--json": Path(f"/dev/fd/{writer}")}) as files:
        os.close(reader)
        os.close(writer)
        with pytest.raises(OutputError, match="nobody reads it"):
            files.write("--json", "x")
