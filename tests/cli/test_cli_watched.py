"""The options that --strace has of strace(1), and --stats of perf-stat(1)."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import pytest

from emu.cli.arguments import Parser
from emu.cli.run import add_arguments
from emu.cli.running.watched import Watched, watched
from tests.cli.conftest import Unimmu


def parsed(words: str) -> Namespace:
    parser = Parser("unimmu run")
    add_arguments(parser)
    return parser.parse(words.split())


@pytest.mark.parametrize(
    ("words", "asked", "program"),
    [
        ("--strace hello", Watched("all"), ["hello"]),
        ("--strace=open hello", Watched("open"), ["hello"]),
        ("--strace -e trace=open,close hello", Watched("open,close"), ["hello"]),
        ("--strace -e open -e t=%file hello -e x", Watched("%file"), ["hello", "-e", "x"]),
        ("--strace -fe open hello", Watched("open"), ["hello"]),
        ("--strace -ftte open hello", Watched("open"), ["hello"]),
        ("--strace -eopen hello", Watched("open"), ["hello"]),
        ("--strace -e signal=!SIGCHLD hello", Watched("all", "!SIGCHLD"), ["hello"]),
        ("--strace -r hello 5", Watched("all", relative=True), ["hello", "5"]),
        ("--strace -r -- 5", Watched("all", relative=True), ["5"]),
        ("--stats -r 5 hello", Watched(runs=5), ["hello"]),
        ("--stats -r5 -x, hello", Watched(runs=5), ["hello"]),
        ("--stats --repeat 5 -x , 5", Watched(runs=5), ["5"]),
        ("--stats --repeat=5 hello", Watched(runs=5), ["hello"]),
        ("--stats -e cs,faults -e instructions hello", Watched(events=("cs", "faults", "instructions")), ["hello"]),
        ("--stats -e {cs,faults},instructions hello", Watched(events=("cs", "faults", "instructions")), ["hello"]),
        ("--stats --strace -e cs -e trace=write hello", Watched("write", events=("cs",)), ["hello"]),
    ],
)
def test_what_options_mean(words: str, asked: Watched, program: list[str]) -> None:
    arguments = parsed(words)
    assert watched(arguments) == asked
    assert [arguments.program, *arguments.arguments] == program


def test_a_table_of_calls(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--strace", "-c", "fork_shared")
    lines = ran.err.splitlines()
    assert (ran.status, ran.out) == (0, "42\n")
    assert lines[:2] == [
        "% time     seconds  usecs/call     calls    errors syscall",
        "------ ----------- ----------- --------- --------- ----------------",
    ]
    assert [line.split()[-1] for line in lines[2:7]] == ["fork", "wait4", "mmap", "write", "execve"]
    assert re.fullmatch(r"100\.00    0\.0000\d\d +\d+ +5           total", lines[8])
    assert unimmu("run", "--strace", "-c", "fork_shared").err == ran.err


def test_lines_and_a_table_in_a_file(unimmu: Unimmu, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ran = unimmu("run", "--strace", "-C", "-w", "-e", "trace=fstat,write", "-o", log, "calls", "syscall 5 99 0")
    assert (ran.status, ran.err) == (0, "")
    lines = log.read_text().splitlines()
    assert lines[0].startswith("100   fstat(99, ") and lines[0].endswith("= -1 EBADF (Bad file descriptor)")
    table = [line.split()[-4:] for line in lines if line.endswith(" fstat")]
    assert table == [["0", "1", "1", "fstat"]]


def test_times_of_lines(unimmu: Unimmu) -> None:
    """In guest time, and so the same in each run."""
    ran = unimmu("run", "--strace", "-ttt", "-T", "hello")
    assert re.match(
        r'1656543417\.00000\d write\(1, "hello, world\\n", 13\) = 13 <0\.00000\d>\n', ran.err.partition("\n")[2]
    )
    assert unimmu("run", "--strace", "-ttt", "-T", "hello").err == ran.err
    assert re.match(r"22:56:57 execve\(", unimmu("run", "--strace", "-t", "hello").err)
    assert re.match(
        r"22:56:57\.00000\d \(\+     0\.000000\) execve", unimmu("run", "--strace", "-tt", "-r", "hello").err
    )
    slept = unimmu("run", "--strace", "-r", "-T", "calls", "@t = words 1 500000000; @syscall 35 t 0").err
    assert re.search(
        r"^ +0\.0\d+ nanosleep\(\{tv_sec=1, tv_nsec=500000000\}, NULL\) = 0 <1\.5000\d\d>\n +1\.5000", slept, re.M
    )


def test_some_signals(unimmu: Unimmu) -> None:
    assert "SIGCHLD {" in unimmu("run", "--strace=none", "fork_shared").err
    assert "SIGCHLD {" in unimmu("run", "--strace=none", "-e", "signal=chld,11", "fork_shared").err
    for signals in ("none", "!SIGCHLD", "SIGINT,SIGTERM"):
        assert "SIGCHLD" not in unimmu("run", "--strace=none", "-e", f"signal={signals}", "fork_shared").err


# -- perf stat ----------------------------------------------------------------------------------------------------


def test_counts_of_events(unimmu: Unimmu) -> None:
    events = "instructions,page-faults,faults,minor-faults,cs,syscalls:sys_enter_write,raw_syscalls:sys_enter"
    ran = unimmu("run", "--stats", "-e", events, "fork_shared")
    assert (ran.status, ran.out) == (0, "42\n")
    assert ran.err.startswith("\n Performance counter stats for 'fork_shared':\n\n")
    assert re.findall(r"^ +(\d+)      (\S+)", ran.err, re.M) == [
        ("256", "instructions"), ("6", "page-faults"), ("6", "faults"), ("6", "minor-faults"), ("3", "cs"),
        ("1", "syscalls:sys_enter_write"), ("6", "raw_syscalls:sys_enter"),
    ]  # fmt: skip
    assert re.search(
        r"^ +0\.0000\d+ seconds time elapsed\n\n +0\.000000256 seconds user\n +0\.0000\d+ seconds sys$", ran.err, re.M
    )


def test_a_pattern_of_calls(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--stats", "-x;", "-e", "syscalls:sys_exit_*", "-e", "mmu:walks", "fork_shared")
    rows = [line.split(";") for line in ran.err.splitlines()]
    assert [(row[0], row[2]) for row in rows[:-1]] == [
        ("1", f"syscalls:sys_exit_{name}") for name in ("fork", "mmap", "wait4", "write")
    ]
    assert rows[-1][2] == "mmu:walks" and int(rows[-1][0]) > 6


def test_events_of_a_modelled_tlb(unimmu: Unimmu, tmp_path: Path) -> None:
    log = tmp_path / "log"
    events = "dTLB-loads,dTLB-load-misses,dtlb_load_misses.walk_completed,tlb:tlb_flush"
    ran = unimmu("run", "--stats", "--tlb", "skylake-sp", "-x,", "-o", log, "-e", events, "hello")
    assert (ran.status, ran.err) == (0, "")
    loads, misses, walks, flushes = (line.split(",") for line in log.read_text().splitlines())
    assert int(loads[0]) > int(misses[0]) == int(walks[0]) > 0
    assert misses[-1] == "% of all dTLB loads" and float(misses[-2]) == round(100 * int(misses[0]) / int(loads[0]), 3)
    assert walks[2] == "dtlb_load_misses.walk_completed" and int(flushes[0]) > 0


def test_the_columns_of_csv(unimmu: Unimmu) -> None:
    """value, unit, event, run time, percentage, and what says more with its unit."""
    ran = unimmu("run", "--stats", "-x", ",", "hello")
    rows = {line.split(",")[2]: line.split(",") for line in ran.err.splitlines()}
    assert list(rows) == ["task-clock", "context-switches", "cpu-migrations", "page-faults", "instructions"]
    assert rows["task-clock"][1] == "msec" and rows["task-clock"][-1] == "CPUs utilized"
    assert rows["instructions"][:2] == ["235", ""] and rows["instructions"][4] == "100.00"
    assert {len(row) for row in rows.values()} == {7}
    assert len({row[3] for row in rows.values()}) == 1


def test_columns_between_tabs(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--stats", "-x", r"\t", "-e", "instructions", "hello")
    assert ran.err.startswith("235\t\tinstructions\t")


@pytest.mark.parametrize("words", ["--stats -x, -e instructions", "--strace=write"])
def test_output_behind_what_a_file_has(unimmu: Unimmu, tmp_path: Path, words: str) -> None:
    log = tmp_path / "log"
    for append in ([], ["--append"], ["-A"]):
        assert unimmu("run", *words.split(), "-o", log, *append, "hello").status == 0
    once, *more = log.read_text().splitlines(keepends=True)
    assert once.startswith(("235,", "100   write(1, ")) and len({once, *more}) <= 2
    assert unimmu("run", *words.split(), "-o", log, "hello").status == 0
    assert log.read_text() * 3 == "".join([once, *more])


def test_several_runs(unimmu: Unimmu) -> None:
    """Each has the next seed; the same command gives the same figures."""
    ran = unimmu("run", "--stats", "-r", "3", "--seed", "7", "hello")
    assert (ran.status, ran.out) == (0, "hello, world\n" * 3)
    assert " Performance counter stats for 'hello' (3 runs):\n" in ran.err
    assert re.search(r"^ +235      instructions +# .* \( \+-  0\.00% \)$", ran.err, re.M)
    assert re.search(r"^ +0\.0000\d+ \+- 0\.0000\d+ seconds time elapsed  \( \+- *\d+\.\d\d% \)$", ran.err, re.M)
    assert unimmu("run", "--stats", "-r", "3", "--seed", "7", "hello").err == ran.err
    rows = unimmu("run", "--stats", "-x,", "-r", "2", "-e", "instructions", "hello").err.split(",")
    assert rows[:4] == ["235", "", "instructions", "0.00%"] and rows[5] == "100.00"


def test_the_seeds_of_several_runs(unimmu: Unimmu) -> None:
    script = "@b = bytes 8; syscall 318 b 8 0; @load b"
    alone = [unimmu("run", "--seed", seed, "calls", script).out for seed in (4, 5)]
    assert unimmu("run", "--stats", "-r", "2", "--seed", "4", "calls", script).out == "".join(alone)


def test_runs_end_with_one_that_cannot_start(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--stats", "-r", "3", "./none")
    assert ran.status == 127 and ran.err.count("no such file") == 1
