"""``unimmu demo`` as a command."""

from __future__ import annotations

import pathlib
from xml.etree import ElementTree

import pytest

from emu.cli.main import main
from emu.machine import Machine

SMALL = ["demo", "--processes", "3", "--size", "4M"]


@pytest.fixture(autouse=True)
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("modules")
def test_the_story(directory: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    out, err = capfd.readouterr()
    assert "Plain MAP_SHARED: the walks of 0x20000000000 come to 3 different PMD tables" in out
    assert "Through msharefs: every walk of 0x20000000000 comes to the same PMD table" in out
    assert "audit: nothing is lost" in out
    assert "picture: unimmu-demo.svg" in out
    assert out.splitlines()[-2].startswith("3 processes: 144 KiB of page tables without sharing, 128 KiB with.")
    assert out.splitlines()[-1].startswith("The 2 processes that came after the first took ")
    assert "sharers:" not in out, "the guest's own output is checked, not shown"
    assert [line for line in err.splitlines() if line.startswith(("Plain", "Through")) and line.endswith("...")] == [
        "Plain MAP_SHARED: 3 processes, 4 MiB ...",
        "Through msharefs: 3 processes, 4 MiB ...",
    ]
    assert "\x1b" not in out + err, "no terminal, no colours"
    ElementTree.parse(directory / "unimmu-demo.svg")


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_a_page_at_each_level(directory: pathlib.Path, level: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--level", level, "--output", "story.html"]) == 0
    assert "picture: story.html" in capfd.readouterr().out
    page = (directory / "story.html").read_text()
    assert f"one and the same {level.upper()} table" in page
    assert page.startswith("<!doctype html>") and "<svg" in page


@pytest.mark.usefixtures("modules")
def test_quick(directory: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quick"]) == 0
    out = capfd.readouterr().out
    assert out.splitlines()[-2] == "4 processes: 672 KiB of page tables without sharing, 284 KiB with."
    assert (directory / "unimmu-demo.svg").exists()


@pytest.mark.usefixtures("modules")
def test_the_same_twice(directory: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures = []
    for name in ("a.svg", "b.svg"):
        assert main([*SMALL, "--output", name]) == 0
        pictures.append((directory / name).read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--processes", "0"], "--processes 0: it must be from 1 to 512"),
        (["--processes", "513"], "--processes 513: it must be from 1 to 512"),
        (["--processes", "x"], "--processes: 'x' is not a whole number"),
        (["--size", "0"], "--size 0: it must be a multiple of 4096 bytes, and not 0"),
        (["--size", "5000"], "--size 5000: it must be a multiple of 4096 bytes, and not 0"),
        (["--size", "lots"], "--size: 'lots' is not a size (examples: 4096, 512M, 1G)"),
        (["--size", "512G"], "--size 512G: too large: a machine has at most 512 GiB"),
        (["--output", "picture.png"], "--output picture.png: the name must end in .svg or .html"),
        (["--output", "no/picture.svg"], "--output no/picture.svg: cannot be written: No such file or directory"),
        (["--output", "d.svg"], "--output d.svg: cannot be written: Is a directory"),
    ],
)
def test_bad_usage(
    directory: pathlib.Path, capfd: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    (directory / "d.svg").mkdir()
    assert main(["demo", *arguments]) == 2
    assert capfd.readouterr() == ("", f"unimmu demo: {complaint}\n")


def test_without_the_file_system(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("emu.machine.find_modules", dict)
    assert main(SMALL) == 2
    assert "unimmu demo: there is no file system 'msharefs'" in capfd.readouterr().err


@pytest.mark.usefixtures("modules")
def test_a_finding_of_the_audit_is_an_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Machine, "audit", lambda machine: ["frame 0x123 is lost"])
    assert main(SMALL) == 70
    out, err = capfd.readouterr()
    assert "demo: the audit found: frame 0x123 is lost" in err
    assert "nothing is lost" not in out
