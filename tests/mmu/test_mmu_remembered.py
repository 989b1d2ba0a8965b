"""What is remembered of an earlier process is believed only if sources, interpreter, engine and CPU are the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from unicorn.unicorn_py3.unicorn import uclib

from mmu import remembered, unchanged
from mmu.codecache import Image
from mmu.remembered import Remembered

ROOT = Path(__file__).resolve().parents[2]
IMAGE = Image({"begin": 3}, b"code")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, in a process that began long after its sources were changed."""
    monkeypatch.setattr(unchanged, "_began", lambda: 1 << 62)
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def source(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only source there is, but for a file of the compiler's."""
    file = directory / "source.py"
    file.write_text("here")
    monkeypatch.setattr(remembered, "_sources", lambda: [str(file)])
    (directory / "compiler.py").write_text("version")
    return file


def keep(directory: Path) -> None:
    memory = Remembered(directory)
    memory.keep_image("mmu.hooks", "key", IMAGE, [directory / "compiler.py"])
    memory.keep_passed("test", "facts")


def is_known(directory: Path) -> bool:
    memory = Remembered(directory)
    known = memory.image("mmu.hooks") == ("key", IMAGE)
    assert known is memory.has_passed("test", "facts")
    assert not memory.has_passed("test", "other facts") and memory.image("mmu.exact") is None
    return known


def kept_file(directory: Path) -> Path:
    (file,) = directory.glob("start-*")
    return file


def test_it_is_there_for_the_next_process(source: Path, directory: Path) -> None:
    assert not is_known(directory)
    keep(directory)
    assert is_known(directory)


@pytest.mark.parametrize("name", ["source.py", "compiler.py"])
@pytest.mark.parametrize("change", ["text", "same size", "same time", "gone"])
def test_a_source_that_has_changed(source: Path, directory: Path, name: str, change: str) -> None:
    keep(directory)
    file = directory / name
    before = file.stat()
    if change == "gone":
        file.unlink()
    else:
        file.write_text(file.read_text() + "more" if change == "text" else file.read_text().upper())
        if change == "same time":
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_known(directory)


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(remembered, "host_cpu", lambda: "another"),
        lambda patch: patch.setattr("unicorn.__version__", "2.1.5"),
        lambda patch: patch.setattr(uclib, "_name", __file__),
        lambda patch: patch.setattr(sys, "version", "3.99"),
        lambda patch: patch.setattr(sys, "prefix", "/another"),
    ],
    ids=["cpu", "version of the engine", "engine", "interpreter", "installation"],
)
def test_another_host_or_engine(
    source: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None]
) -> None:
    keep(directory)
    with monkeypatch.context() as patch:
        change(patch)
        assert not is_known(directory)
    assert is_known(directory)


def test_a_source_that_may_have_changed_since_it_was_imported(
    source: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is that of what was imported, and the file may hold something else by now."""
    monkeypatch.setattr(unchanged, "_began", lambda: source.stat().st_ctime_ns + 1)
    keep(directory)
    assert list(directory.glob("start-*")) == []


def test_when_this_process_began() -> None:
    monday, now = 1_577_000_000 * 10**9, unchanged._began()
    assert monday < now
    assert abs(unchanged._began() - now) < 10**9


@pytest.mark.parametrize("damage", [b"", b"00000000", b"zeros" * 100, b"\xff"])
def test_damage(source: Path, directory: Path, damage: bytes) -> None:
    keep(directory)
    kept_file(directory).write_bytes(damage)
    assert not is_known(directory)
    keep(directory)
    data = kept_file(directory).read_bytes()
    kept_file(directory).write_bytes(data[:-1] + damage)
    assert is_known(directory) is (data[:-1] + damage == data)


@pytest.mark.parametrize("reason", ["others can write it", "it is a link"])
def test_a_file_that_others_may_have_written(source: Path, directory: Path, reason: str) -> None:
    keep(directory)
    file = kept_file(directory)
    if reason == "it is a link":
        shutil.move(file, directory / "elsewhere")
        file.symlink_to(directory / "elsewhere")
    else:
        file.chmod(0o602)
    assert not is_known(directory)


def test_nothing_is_made_where_no_code_is_kept(source: Path, directory: Path) -> None:
    keep(directory / "none")
    assert not (directory / "none").exists()


def test_a_full_disk_is_no_error(source: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        keep(directory)
    assert not is_known(directory)
    assert list(directory.glob("*start*")) == []


def test_another_package_is_not_remembered(source: Path, directory: Path) -> None:
    """Who knows what its constants come from."""
    Remembered(directory).keep_image("tiny", "key", IMAGE, [])
    assert list(directory.glob("start-*")) == []


def test_two_that_start_at_once(tmp_path: Path) -> None:
    """With an empty cache both do their work, and so does a third, which finds what they have left."""
    (tmp_path / "cache").mkdir(mode=0o700)
    environment = {**os.environ, "UNIMMU_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    program = "from mmu.objectcode import load; assert load('emu.bench.empty')['on_access'].address; print('done')"
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate()[0] for each in both] == ["done\n"] * 2
    third = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (third.stdout, third.stderr) == ("done\n", "")
