"""``unimmu demo --sga``: the large shared memory of a database, here a smaller one."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import pytest

import emu.cli.demos.sga
from emu.cli.main import main
from emu.machine import Machine
from emu.trace.report.sga import Group, Sga, grid, in_words
from mmu import PhysicalMemory
from tests.booted import GIB, MIB

ROOT = pathlib.Path(__file__).parents[2]
SMALL = ["demo", "--sga", "--size", "2G", "--processes", "5", "--plain", "2"]


@pytest.fixture(autouse=True)
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("modules")
def test_what_is_measured_and_what_is_computed(directory: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--json", "sga.json"]) == 0
    out, err = capfd.readouterr()
    report = json.loads((directory / "sga.json").read_text())
    measured, computed = report["measured"], report["computed"]
    leaf = 2 * GIB // 4096 * 8
    assert computed["unshared_leaf_bytes"] == 5 * leaf
    assert measured["plain"]["processes"] == 2 and measured["plain"]["leaf_bytes"] == 2 * leaf
    assert measured["sharing"]["processes"] == 5 and measured["sharing"]["leaf_bytes"] == 0
    assert measured["region_leaf_bytes"] == leaf
    assert measured["region_pagetable_bytes"] == leaf + 4 * 4096, "two PMD tables, a PUD and the PGD"
    pages = 2 * GIB // 4096
    assert measured["plain"]["minor_faults"] // 2 - pages // 16 in range(20), "one for each 64 KiB, and its own few"
    assert measured["donor_minor_faults"] - pages in range(100), "one for each page, and its own few"
    assert measured["sharing"]["link_faults"] == measured["links"] == 10, "two slots of five processes"
    assert 5 * 16384 <= measured["sharing"]["pagetable_bytes"] <= 5 * 65536
    assert measured["shared_pagetable_bytes"] == (
        measured["sharing"]["pagetable_bytes"] + measured["region_pagetable_bytes"]
    )
    assert report["audit"]["findings"] == [] and report["host"]["peak_rss_bytes"] > 50 * MIB
    assert set(report["stages_s"]) == {"populate", "marks", "plain", "mshare", "attach", "end"}
    assert "computed: 20 MiB" in out and "measured: 4 MiB" in out
    assert "computed leaf tables: 5 x 2 GiB / 4 KiB x 8 bytes" in out
    assert "audit: nothing is lost" in out and "mshare(2)" in out
    assert out.splitlines()[-1].startswith("2 GiB shared by 5 processes take 4.")
    assert "7 processes have read 448 words, checksum " in err
    assert "\x1b" not in out + err, "no terminal, no colours"


@pytest.mark.usefixtures("modules")
def test_without_plain_processes(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    monkeypatch.setattr(PhysicalMemory, "want_huge_pages", lambda ram, want: wanted.append(want))
    assert main(["demo", "--sga", "--size", "1G", "--processes", "1", "--plain", "0"]) == 0
    out = capfd.readouterr().out
    assert "computed: 2 MiB" in out and out.splitlines()[-1].startswith("1 GiB shared by 1 process take 2.0 MiB of")
    assert wanted == [True, False], "each table would take 2 MiB of the host"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--size", "1536M"], "--size 1536M: with --sga it must be a multiple of 1 GiB, and not 0"),
        (["--size", "0"], "--size 0: with --sga it must be a multiple of 1 GiB, and not 0"),
        (["--level", "pud"], "--size 300G: with --sga it must be a multiple of 512 GiB, and not 0"),
        (["--size", "512G"], "--size 512G: too large: a machine has at most 512 GiB"),
        (["--processes", "0"], "--processes 0: it must be at least 1"),
        (["--processes", "4000"], "--processes 4000: a machine has at most 4000 processes"),
        (["--plain", "-1"], "--plain -1: it must be at least 0"),
        (["--json", "no/sga.json"], "--json no/sga.json: cannot be written: No such file or directory"),
        (["--output", "sga.svg"], "--output: --sga draws no picture"),
    ],
)
def test_bad_usage(arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--sga", *arguments]) == 2
    assert capfd.readouterr() == ("", f"unimmu demo: {complaint}\n")


@pytest.mark.parametrize(("option", "demos"), [("plain", "--sga"), ("json", "--sga or --postgres")])
def test_options_of_other_demos(option: str, demos: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", f"--{option}", "1"]) == 2
    assert capfd.readouterr().err == f"unimmu demo: --{option} needs {demos}\n"


def test_too_little_memory_on_the_host(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(emu.cli.hostmemory, "available_memory", lambda: 2 * GIB)
    assert main(["demo", "--sga"]) == 2
    assert capfd.readouterr().err == (
        "unimmu demo: about 4.7 GiB of this host's memory are needed and 2 GiB are free: use a smaller --size, or fewer"
        " --plain\n"
    )


def test_a_host_that_refuses(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError("the host refuses 123 bytes of address space: Cannot allocate memory")

    monkeypatch.setattr(PhysicalMemory, "__init__", refuse)
    assert main(["demo", "--sga", "--size", "1G", "--processes", "1"]) == 2
    assert capfd.readouterr().err.splitlines()[-1] == (
        "unimmu demo: the host does not have enough memory: the host refuses 123 bytes of address space:"
        " Cannot allocate memory"
    )


@pytest.mark.usefixtures("modules")
def test_a_finding_of_the_audit_is_an_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Machine, "audit", lambda self: ["a frame was lost"])
    assert main(["demo", "--sga", "--size", "1G", "--processes", "1", "--plain", "0"]) == 70
    assert "demo: the audit found: a frame was lost" in capfd.readouterr().err


def test_interrupted(directory: pathlib.Path) -> None:
    program = (  # a shell ignores SIGINT for what it runs in the background, and that is inherited
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys, msharefs.module, emu.machine;"
        "emu.machine.find_modules = lambda: {'msharefs': msharefs.module.init};"
        "from emu.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "demo", "--sga", "--size", "8G", "--processes", "50"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=directory
    ) as running:
        assert running.stdout and running.stderr
        while "marks written" not in (line := running.stderr.readline()):
            assert line, "it ended early"
        running.send_signal(signal.SIGINT)
        rest, printed = running.stderr.read(), running.stdout.read()
    assert (running.returncode, printed) == (130, "")
    assert rest.splitlines()[-1] == "unimmu demo: interrupted" and "Traceback" not in rest


def test_the_founding_problem_in_figures() -> None:
    size = 300 * GIB
    plain = Group(3, 3 * (600 * MIB + 1_270_000), 3 * 600 * MIB, 3 * 4_915_206, 0, 30.0)
    sharing = Group(1500, 1500 * 32768, 0, 9000, 86_000, 15.0)
    sga = Sga(size, "pmd", 78_643_200, plain, sharing, 600 * MIB, 630_435_840, 0)
    assert sga.leaf_formula(1) == 600 * MIB
    rows = {row[0]: row[1:] for row in grid(sga).rows}
    assert rows["leaf tables of 1,500"] == ("computed: 878.9 GiB", "measured: 600 MiB")
    assert rows["seconds to start one, measured"] == ("10.000", "0.010")
    assert in_words(sga) == (
        "300 GiB shared by 1,500 processes take 648.1 MiB of page tables instead of 880.7 GiB: 1,391 times less."
    )


@pytest.mark.parametrize("size", [GIB, 5 * GIB])
def test_a_large_or_scattered_memory_is_not_made_of_huge_pages(size: int) -> None:
    ram = PhysicalMemory(size)
    if size == GIB:
        ram.want_huge_pages(False)
    start = f"{ram.host & -4096:x}-"
    try:
        maps = pathlib.Path("/proc/self/smaps").read_text()
    except OSError:
        pytest.skip("the host has no /proc/self/smaps")
    flags = maps[maps.index(start) :].partition("VmFlags:")[2].partition("\n")[0].split()
    if "nr" not in flags and "mr" not in flags:
        pytest.skip(f"the host does not tell the flags of a mapping: {flags}")
    assert "nh" in flags
