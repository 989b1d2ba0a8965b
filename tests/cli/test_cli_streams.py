"""The command as a process: its streams, and the signals that end it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import command, environment, start

ECHO = "@b = bytes 4096; n = read 0 b 4096; write 1 b n"


def run(*words: object, shell: str = "", stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a shell, with redirections behind it."""
    line = subprocess.list2cmdline(command(*words)) + f" {shell}"
    return subprocess.run(
        ["bash", "-c", line], env=environment(), input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


def test_standard_input_is_the_guests() -> None:
    ran = run("run", "calls", ECHO, stdin="ein Fisch\n")
    assert ran.stdout.splitlines() == ["n = 10", "ein Fisch", "write = 10"]


def test_standard_input_that_is_closed() -> None:
    ran = run("run", "calls", 'read 0 0 0; open "/dev/null" 0', shell="<&-")
    assert (ran.stdout, ran.stderr) == ("read = EBADF\nopen = 0\n", "")


def test_seeking_from_nowhere(tmp_path: Path) -> None:
    """As on Linux, the last argument is looked at before the file: one of the host, one that cannot seek."""
    (tmp_path / "input").write_text("ein Fisch\n")
    script = (
        "lseek 0 4 0; lseek 0 0 0x80000000; lseek 0 0 0xffffffff; lseek 0 0 5; lseek 9 0 5; @p = bytes 8; @pipe2 p 0"
    )
    ran = run("run", "calls", f"{script}; lseek 3 0 7; lseek 3 0 0", shell=f"<{tmp_path}/input")
    assert [line.split()[-1] for line in ran.stdout.splitlines()] == ["4", *["EINVAL"] * 3, "EBADF", "EINVAL", "ESPIPE"]


def test_standard_output_that_is_full() -> None:
    ran = run("run", "hello", shell=">/dev/full")
    assert (ran.returncode, ran.stderr) == (
        0,
        "unimmu run: standard output cannot be written: No space left on device\n",
    )


def test_standard_output_that_is_closed() -> None:
    ran = run("run", "hello", shell=">&-")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_standard_error_that_is_closed() -> None:
    ran = run("run", "--strace", "--stats", "--audit", "hello", shell="2>&-")
    assert (ran.returncode, ran.stdout) == (0, "hello, world\n")


def test_a_reader_that_is_gone_is_sigpipe_for_the_guest() -> None:
    ran = run("run", "hello", shell="| true; exit ${PIPESTATUS[0]}")
    assert ran.returncode == 141
    assert ran.stderr == ""  # as shells say nothing


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_a_reader_that_is_gone_is_no_mistake_of_ours(words: list[str]) -> None:
    ran = run(*words, shell="| true; exit ${PIPESTATUS[0]}")
    assert (ran.returncode, ran.stderr) in ((141, ""), (0, ""))


def test_nor_of_rich_s() -> None:
    """Tables are printed by rich, which would end the program with status 1."""
    ran = run("presets", shell="| true; exit ${PIPESTATUS[0]}")
    assert (ran.returncode, ran.stderr) == (141, "")


def test_output_of_our_own_that_cannot_be_written() -> None:
    ran = run("--version", shell=">/dev/full")
    assert (ran.returncode, ran.stderr) == (74, "unimmu: standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("option", ["--json", "--trace"])
def test_a_file_that_cannot_be_written_to_its_end(option: str) -> None:
    ran = run("run", *(["--trace-format", "jsonl"] if option == "--trace" else []), option, "/dev/full", "hello")
    assert (ran.returncode, ran.stdout) == (74, "hello, world\n")
    assert ran.stderr == f"unimmu run: {option} /dev/full: No space left on device; the file is not complete\n"


def test_what_the_guest_prints_keeps_its_place_among_our_lines() -> None:
    ran = run("run", "--strace", "fork_shared", shell="2>&1")
    lines = ran.stdout.splitlines()
    assert lines[lines.index("42") + 1].startswith('write(1, "42\\n", 3)')


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize(
    ("program", "doing"),
    [
        (["spin"], r"100 \(spin\) runs at 0x4010[0-9a-f]{2}"),
        (
            ["calls"],
            r"100 \(calls\) (reads its input|waits in read|runs at 0x40[0-9a-f]{4})",
        ),  # it may not have got that far
    ],
)
def test_a_signal_ends_the_run_and_what_is_known_is_said(
    tmp_path: Path, number: int, status: int, word: str, program: list[str], doing: str
) -> None:
    log, figures = tmp_path / "log", tmp_path / "figures"
    process = start(
        "run", "--strace", "-o", log, "--json", figures, "--audit", *program,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(log)  # the first line comes before the first instruction
    time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    stopped, audited = said.splitlines()
    assert re.fullmatch(f"unimmu: {word}: {doing}", stopped)
    assert audited == "unimmu: audit: every table and every frame is accounted for"
    run = json.loads(figures.read_bytes())
    assert run["exit_status"] == status
    assert run["processes"][0]["instructions"] == run["instructions"]


def test_a_time_limit_while_the_guest_waits_for_input() -> None:
    with start("run", "--timeout", "0.3", "calls", stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.read() == "unimmu: stopped by --timeout: 100 (calls) reads its input\n"
        assert process.wait(60) == 124


def test_a_time_limit_that_ends_while_input_comes() -> None:
    read, write = os.pipe()
    process = start("run", "--timeout", "20", "calls", ECHO, stdin=read, stdout=subprocess.PIPE)
    os.close(read)
    os.write(write, b"late\n")
    os.close(write)
    assert process.communicate(timeout=60)[0].splitlines()[:2] == ["n = 5", "late"]
    assert process.returncode == 0
