"""Scratch files of a sweep: they go with whoever made them, or are removed by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emu.cli.main import main
from emu.lab.scratch import scratch_directory, scratch_file
from emu.lab.store import Store

_HOLD = """
import sys
from pathlib import Path
from emu.lab.scratch import scratch_directory, scratch_file
with scratch_directory() as directory, scratch_file(Path(sys.argv[1])) as file:
    (Path(directory) / "stream").write_bytes(b"x")
    print(directory, file, flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(results: Path) -> Iterator[tuple[subprocess.Popen[str], Path, Path]]:
    """A process that has a scratch directory, and a scratch file beside results; ended by SIGKILL in the end."""
    command = [sys.executable, "-c", _HOLD, str(results / "results.parquet")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            directory, file = map(Path, process.stdout.readline().split())
            yield process, directory, file
        finally:
            process.send_signal(signal.SIGKILL)


def test_what_a_killed_sweep_leaves_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing of one that goes on."""
    results, temporary = tmp_path / "r", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    spec = tmp_path / "s.toml"
    spec.write_text('program = "{what}"\n[axes]\nwhat = ["hello"]\n')
    (results / "points").mkdir(parents=True)
    (temporary / "unimmu-scratch-of-nobody").mkdir()
    (temporary / "else").mkdir()
    with held(results) as (_, directory, file):
        Store(results)
        with scratch_directory() as own, scratch_file(results / "report.html") as beside:
            assert directory.is_dir() and file.is_file() and os.path.isdir(own) and beside.is_file()
        assert not os.path.exists(own) and not beside.exists()
    assert (directory / "stream").is_file() and file.is_file()
    assert main(["tlb", "sweep", str(spec), "-d", str(results)]) == 0
    assert "1 done" in capsys.readouterr().out
    assert os.listdir(temporary) == ["else"] and not file.exists()
    assert [name for name in os.listdir(results) if name.startswith(".")] == []


def test_a_scratch_file_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with scratch_file(path) as scratch:
        scratch.write_text("new")
        os.replace(scratch, path)
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a"]
    with pytest.raises(OSError, match="No such file"), scratch_file(tmp_path / "none" / "a"):
        pass
