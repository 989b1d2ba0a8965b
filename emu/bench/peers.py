"""Others that run Linux programs, where the host has them: the same programs run in them and in us.

Whole processes are compared, in CPU time (user and system), all warm.  qemu-user compiles code and runs system calls of
the host's kernel; Qiling answers them in Python, as we do; valgrind's lackey counts loads and stores, as exact mode
does, and a plugin of QEMU's models a TLB for them (:mod:`emu.bench.qemu_plugin`).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, median_ratio, process_seconds
from emu.bench.loops import branches, compute, copies, program, touch
from emu.bench.qemu_plugin import PRESET, build_plugin, command_of, find_plugin
from emu.bench.startup import COMMAND, environment_of
from mmu.memory import PAGE_SIZE

_QILING = (
    "import sys; from qiling import Qiling; from qiling.const import QL_VERBOSE;"
    "Qiling(sys.argv[1:], '/', verbose=QL_VERBOSE.OFF).run()"
)
_TEXT, _DATA, _PAGES = 0x40_0000, 0x50_0000, 16384
_OURS, _QEMU, _QILING_NAME, _LACKEY, _PLUGIN = "unimmu", "qemu-user", "Qiling", "lackey", "QEMU plugin"
#: Everybody who is looked for, and in the names of figures.
PEERS = {_QEMU: "qemu", _QILING_NAME: "qiling", _LACKEY: "lackey", _PLUGIN: "plugin"}
_TLB = ("--tlb", PRESET)


class _Job(NamedTuple):
    """A program that all of them run."""

    name: str
    what: str
    words: Sequence[str]
    #: Whom it is for.  Qiling delivers no signals, and a fork is one of its own process.
    peers: Sequence[str] = (_QEMU,)
    #: How unimmu runs it.
    options: Sequence[str] = ()
    #: What is wanted beside the plugin, which knows no page tables.
    plugin_aim: Aim | None = None


def find_peers() -> dict[str, list[str]]:
    """The command of each that is installed, before the program: qemu-user and valgrind in PATH; Qiling among the
    packages of this Python, or behind the ``qltool`` in PATH.
    """
    peers = {}
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if qemu is not None:
        peers[_QEMU] = [qemu]
    python = sys.executable if importlib.util.find_spec("qiling") is not None else _python_of(shutil.which("qltool"))
    if python is not None:
        peers[_QILING_NAME] = [python, "-c", _QILING]
    valgrind = shutil.which("valgrind")
    if valgrind is not None:
        peers[_LACKEY] = [valgrind, "--tool=lackey", "--log-file=/dev/null"]
    plugin = find_plugin()
    if not plugin.missing():
        assert plugin.qemu is not None
        peers[_PLUGIN] = [plugin.qemu]
    return peers


def absent_peers(found: Mapping[str, object]) -> list[str]:
    """Those that were not found, the plugin with what it lacks."""
    names = [peer for peer in PEERS if peer not in found]
    return [f"{name} (without {find_plugin().missing()})" if name == _PLUGIN else name for name in names]


def _python_of(script: str | None) -> str | None:
    """The interpreter that an installed script names."""
    if script is None:
        return None
    with open(script, "rb") as file:
        first = file.readline().split()
    return os.fsdecode(first[0][2:]) if first and first[0].startswith(b"#!") else None


def beside(found: Mapping[str, Sequence[str]], rounds: int, calls: int) -> Measurement:
    """The same programs in us and in each of those that were found."""
    with tempfile.TemporaryDirectory(prefix="unimmu-bench-") as directory:
        environment = environment_of(directory)
        if _PLUGIN in found:
            plugin = find_plugin()
            found = {**found, _PLUGIN: command_of(plugin, build_plugin(plugin, pathlib.Path(directory)))}
        others = environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}  # not beside our packages
        subjects: dict[str, Callable[[], float]] = {}
        jobs = _jobs(pathlib.Path(directory), calls)
        jobs = [job for job in jobs if any(peer in found for peer in job.peers)]
        for job in jobs:
            unimmu = [sys.executable, "-c", COMMAND, "run", *job.options]
            for peer, command in {_OURS: unimmu, **found}.items():
                if peer == _OURS or peer in job.peers:
                    subjects[f"{job.name}, {peer}"] = functools.partial(
                        process_seconds, [*command, *job.words], environment if peer == _OURS else others
                    )
        taken = alternate(rounds, subjects, to_and_fro=True)
    figures = []
    for job in jobs:
        ours = taken[f"{job.name}, {_OURS}"]
        figures.append(Figure(f"{job.name}_ms", job.what, statistics.median(ours) * 1e3, "ms"))
        for peer in found:
            theirs = taken.get(f"{job.name}, {peer}")
            if theirs is not None:
                name, what = f"{job.name}_{PEERS[peer]}_ratio", f"  unimmu / {peer}: {job.name}"
                aim = Aim(1) if peer == _QILING_NAME else job.plugin_aim if peer == _PLUGIN else None
                figures.append(Figure(name, what, median_ratio(ours, theirs), aim=aim))
    return Measurement("peers", taken, tuple(figures))


def _jobs(directory: pathlib.Path, calls: int) -> list[_Job]:
    passes = max(2, calls // 100)
    loops = {
        "loop": compute(_DATA, calls * 400), "copies": copies(_DATA, calls * 10), "branches": branches(calls * 10),
        "pages": touch(_DATA, _PAGES, PAGE_SIZE, passes),
    }  # fmt: skip
    paths = {}
    for name, loop in loops.items():
        path = directory / name
        path.write_bytes(program(loop, _TEXT, _DATA, (_PAGES if name == "pages" else 3) * PAGE_SIZE))
        path.chmod(0o755)
        paths[name] = str(path)
    costs = str(guests.path("costs"))
    few, both = max(10, calls // 10), (_QEMU, _QILING_NAME)
    modelled = f"whole process: {calls * 400} turns of a loop, each access told to a model (exact mode; lackey counts)"
    misses = f"whole process: {passes} times a load from each page of 64 MiB, all misses (exact mode)"
    return [
        _Job("peers_start", "whole process: a static program that does nothing", [costs, "calls", "0"], peers=both),
        _Job("peers_compute", f"whole process: {calls * 400} turns of a loop", [paths["loop"]], peers=both),
        _Job("peers_branches", f"whole process: {calls * 10} numbers in a loop with branches", [paths["branches"]]),
        _Job("peers_copies", f"whole process: {calls * 20} KiB copied, 16 bytes at a time", [paths["copies"]]),
        _Job("peers_pages", f"whole process: {passes} times a load from each page of 64 MiB", [paths["pages"]]),
        _Job("peers_calls", f"whole process: {calls} times getpid(2)", [costs, "calls", str(calls)], peers=both),
        _Job("peers_io", f"whole process: {few} times read(2) and write(2)", [costs, "io", str(few)], peers=both),
        _Job("peers_signals", f"whole process: {few} signals", [costs, "signals", str(few)]),
        _Job("peers_pipes", f"whole process: a byte {few} times to a child and back", [costs, "pipes", str(few)]),
        _Job("peers_threads", f"whole process: {few} round trips of two threads", [costs, "threads", str(few)]),
        _Job("peers_exact", modelled, [paths["loop"]], peers=(_LACKEY, _PLUGIN), options=_TLB, plugin_aim=Aim(5)),
        _Job("peers_misses", misses, [paths["pages"]], peers=(_PLUGIN,), options=_TLB),
    ]
