"""Other emulators of Linux programs, where the host has them: qemu-user and Qiling run the same programs beside us.

Whole processes are compared, in CPU time (user and system), all warm.  qemu-user compiles code and runs system calls of
the host's kernel; Qiling answers them in Python, as we do.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, median_ratio
from emu.bench.loops import branches, compute, copies, program
from emu.bench.startup import COMMAND, environment_of

_QILING = (
    "import sys; from qiling import Qiling; from qiling.const import QL_VERBOSE;"
    "Qiling(sys.argv[1:], '/', verbose=QL_VERBOSE.OFF).run()"
)
_TEXT, _DATA = 0x40_0000, 0x50_0000
_OURS = "unimmu"


class _Job(NamedTuple):
    """A program that all of them run."""

    name: str
    what: str
    words: Sequence[str]
    #: Whether Qiling can: it delivers no signals, and a fork is one of its own process.
    qiling: bool = False


def find_peers() -> dict[str, list[str]]:
    """The command of each emulator that is installed, before the program: qemu-user in PATH; Qiling among the packages
    of this Python, or behind the ``qltool`` in PATH.
    """
    peers = {}
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if qemu is not None:
        peers["qemu-user"] = [qemu]
    python = sys.executable if importlib.util.find_spec("qiling") is not None else _python_of(shutil.which("qltool"))
    if python is not None:
        peers["Qiling"] = [python, "-c", _QILING]
    return peers


def _python_of(script: str | None) -> str | None:
    """The interpreter that an installed script names."""
    if script is None:
        return None
    with open(script, "rb") as file:
        first = file.readline().split()
    return os.fsdecode(first[0][2:]) if first and first[0].startswith(b"#!") else None


def beside(found: Mapping[str, Sequence[str]], rounds: int, calls: int) -> Measurement:
    """The same programs under us and under each of the emulators that were found."""
    with tempfile.TemporaryDirectory(prefix="unimmu-bench-") as directory:
        environment = environment_of(directory)
        subjects: dict[str, Callable[[], float]] = {}
        jobs = _jobs(pathlib.Path(directory), calls)
        commands = {_OURS: [sys.executable, "-c", COMMAND, "run"], **found}
        for job in jobs:
            for peer, command in commands.items():
                if peer != "Qiling" or job.qiling:
                    subjects[f"{job.name}, {peer}"] = functools.partial(
                        _cpu_seconds, [*command, *job.words], environment
                    )
        taken = alternate(rounds, subjects)
    figures = []
    for job in jobs:
        ours = taken[f"{job.name}, {_OURS}"]
        figures.append(Figure(f"{job.name}_ms", job.what, statistics.median(ours) * 1e3, "ms"))
        for peer in found:
            theirs = taken.get(f"{job.name}, {peer}")
            if theirs is not None:
                aim = Aim(1) if peer == "Qiling" else None
                name = f"{job.name}_{peer.partition('-')[0].lower()}_ratio"
                figures.append(Figure(name, f"  unimmu / {peer}: {job.name}", median_ratio(ours, theirs), aim=aim))
    return Measurement("peers", taken, tuple(figures))


def _jobs(directory: pathlib.Path, calls: int) -> list[_Job]:
    loops = {"loop": compute(_DATA, calls * 400), "copies": copies(_DATA, calls * 10), "branches": branches(calls * 10)}
    paths = {}
    for name, loop in loops.items():
        paths[name] = directory / name
        paths[name].write_bytes(program(loop, _TEXT, _DATA, 3 << 12))
        paths[name].chmod(0o755)
    costs = str(guests.path("costs"))
    few = max(10, calls // 10)
    return [
        _Job("peers_start", "whole process: a static program that does nothing", [costs, "calls", "0"], qiling=True),
        _Job("peers_compute", f"whole process: {calls * 400} turns of a loop", [str(paths["loop"])], qiling=True),
        _Job(
            "peers_branches", f"whole process: integers with branches, {calls * 10} numbers", [str(paths["branches"])]
        ),
        _Job("peers_copies", f"whole process: {calls * 20} KiB copied, 16 bytes at a time", [str(paths["copies"])]),
        _Job("peers_calls", f"whole process: {calls} times getpid(2)", [costs, "calls", str(calls)], qiling=True),
        _Job("peers_io", f"whole process: {few} times read(2) and write(2)", [costs, "io", str(few)], qiling=True),
        _Job("peers_signals", f"whole process: {few} signals", [costs, "signals", str(few)]),
        _Job("peers_pipes", f"whole process: a byte {few} times to a child and back", [costs, "pipes", str(few)]),
        _Job("peers_threads", f"whole process: {few} round trips of two threads", [costs, "threads", str(few)]),
    ]


def _cpu_seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The CPU time of a process and of what it has waited for."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"bench: {' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
