"""The same command gives the same trace, output and figures: on a busy host, with any hash seed, on several vCPUs.

UNIMMU_EXHAUSTIVE=1 compares each program on each number of vCPUs, while other processes compute; otherwise each program
once and each number of vCPUs, and one vCPU with one other number of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import cycle, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.conftest import command, environment

#: For Python's hash(), on which the order of sets of strings depends: on an idle host, and on a busy one.
IDLE, BUSY = "0", "4242"
EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")
CPUS = (1, 2, 4)
PROGRAMS = {
    "processes that share a region": ("region_churn", "3", "2", "2"),
    "threads": ("pthreads",),
    "signals and children": (
        "calls",
        "@p = mmap 0 64K RW ANON -1 0; @fork a; @store p+32K 1; touch p 16K; @store p 2; @pause; end"
        "\n@fork b; @await p 2; load p+32K; @kill a 15; end; wait b; wait a; jump 16"
        "\n@t = words 0 5000; syscall 35 t 0; @b = bytes 16; syscall 318 b 8 0; load b",
    ),
    "modelled TLBs": ("--tlb", "textbook", "--check-tlb", "--trace-accesses", "fork_shared"),
}
BUSY_RUNS = list(product(CPUS, PROGRAMS) if EXHAUSTIVE else zip(cycle(CPUS), PROGRAMS, strict=False))


class Run(NamedTuple):
    """Everything that a run leaves but the time that it took."""

    out: bytes
    err: bytes
    trace: bytes
    calls: bytes
    figures: dict[str, Any]


def let_run(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end."""
    process.wait(120)


def let_run_at_times(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, and let it run half of the time, as where others compute meanwhile."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            process.send_signal(number)
            time.sleep(0.005)
    process.wait(0)


@contextmanager
def busy_host() -> Iterator[None]:
    """Another process computes meanwhile, on each CPU of the host."""
    siblings = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for sibling in siblings:
            sibling.kill()
            sibling.wait()


def run(directory: Path, name: str, cpus: int, seed: str, wait: Callable[[subprocess.Popen[bytes]], None]) -> Run:
    turn = ("--cpus", str(cpus), "--slice", "500") if cpus > 1 else ()
    files = ("--trace", "trace.jsonl", "--json", "figures", "--strace", "-o", "calls")
    words = command("run", "--audit", "--seed", "7", *turn, *files, *PROGRAMS[name])
    given = environment(PYTHONHASHSEED=seed)
    with (directory / "out").open("wb") as stdout, (directory / "err").open("wb") as stderr:
        process = subprocess.Popen(words, cwd=directory, stdout=stdout, stderr=stderr, env=given)
    try:
        wait(process)
    finally:
        process.kill()
    out, err, trace, calls = ((directory / file).read_bytes() for file in ("out", "err", "trace.jsonl", "calls"))
    figures = json.loads((directory / "figures").read_bytes())
    assert figures["exit_status"] == process.returncode == 0, err
    assert figures.pop("wall_s") > 0
    return Run(out, err, trace, calls, figures)


RunOnIdleHost = Callable[[str, int], Run]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> RunOnIdleHost:
    """Runs a program on so many vCPUs, once for all tests."""
    return cache(lambda name, cpus: run(tmp_path_factory.mktemp("run"), name, cpus, IDLE, let_run))


@pytest.mark.parametrize(("cpus", "name"), BUSY_RUNS)
def test_a_busy_host_and_another_hash_seed(idle: RunOnIdleHost, tmp_path: Path, name: str, cpus: int) -> None:
    with busy_host() if EXHAUSTIVE else nullcontext():
        again = run(tmp_path, name, cpus, BUSY, let_run_at_times)
    assert len(again.trace) > 5000 and again.figures["instructions"] > 100
    assert again == idle(name, cpus)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_does_not_depend_on_the_number_of_vcpus(idle: RunOnIdleHost, name: str) -> None:
    """Results do not: output, how each process ended, the audit, the tables of each region.

    What may differ is who comes first: turns and switches, shootdowns, which of two processes faults a shared page in,
    which thread takes memory before the other, how often somebody asks again for what is not ready, and with it
    instructions, fills and walks.
    """
    at = list(PROGRAMS).index(name) % 2
    for cpus in CPUS[1:] if EXHAUSTIVE else (CPUS[2 - at],):
        assert results(idle(name, cpus)) == results(idle(name, 1))


def results(ran: Run) -> dict[str, Any]:
    figures = ran.figures
    return {
        "out": ran.out,
        "err": ran.err,
        "audit": figures["audit"],
        "memory_bytes": figures["memory_bytes"],
        "processes": [
            [process[key] for key in ("pid", "ppid", "argv", "exit_status", "major_faults")]
            for process in figures["processes"]
        ],
        "regions": [
            [region[key] for key in ("name", "level", "size_bytes", "pagetable_bytes", "resident_bytes", "links")]
            for region in figures["regions"]
        ],
    }
