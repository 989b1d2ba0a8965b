"""Replaying a recorded stream of accesses: through one model, through eight in one pass, where everything misses."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, cpu_seconds, median_ratio
from emu.bench.pycachesim import batches_of, is_installed, ours, theirs, two_levels
from emu.lab.batch import BATCH, Batch
from emu.lab.page_policy import TABLE_BYTES, PageMapper, PagePolicy
from emu.lab.recorder import record_machine
from emu.lab.simulation import Simulation
from emu.lab.stream_file import StreamWriter, facts_of, read, read_pages
from emu.machine import Machine
from mmu.geometry import Geometry, Replacement
from mmu.presets import load_preset

#: Two levels of data TLB, and one of instruction TLB.
PRESET = "skylake-sp"
_EIGHT = (PRESET, "ice-lake-sp", "sapphire-rapids", "granite-rapids", "zen2", "zen3", "zen4", "zen5")
_MEMORY = 256 << 20
#: More pages than all levels have.
_MISSING_PAGES = 8192
_MISSING_ACCESSES = 1 << 20
_READ_IT = """
import resource, sys
from emu.bench.lab import replayed
from mmu.presets import load_preset
replayed(sys.argv[1], [load_preset("skylake-sp")])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def lab(rounds: int, turns: int, times: int) -> Measurement:
    """Streams of two processes on a region that they share, of random updates, and one that is so many times longer."""
    with tempfile.TemporaryDirectory() as directory:
        stream, longer, random = (os.path.join(directory, f"{name}.parquet") for name in ("stream", "longer", "random"))
        accesses = recorded(stream, "region_stress", ("2", str(max(1, turns // 4))))
        updates = recorded(random, "gups", ("64M", str(turns * 20_000)))
        repeated(stream, longer, times)
        eight = [load_preset(name) for name in _EIGHT]
        missing = list(PageMapper(PagePolicy.FOUR_K).mapped(_missing()))
        beside = _beside_pycachesim(turns * 20_000)
        taken = alternate(
            rounds,
            {
                **beside,
                "one": partial(cpu_seconds, partial(replayed, stream, eight[:1])),
                "eight": partial(cpu_seconds, partial(replayed, stream, eight)),
                "random": partial(cpu_seconds, partial(replayed, random, eight[:1])),
                "random, eight": partial(cpu_seconds, partial(replayed, random, eight)),
                "missing": partial(cpu_seconds, partial(_simulate, missing)),
            },
        )
        kib, longer_kib = (_resident_kib(path) for path in (stream, longer))
        size = os.path.getsize(random) / updates
    figures = (
        Figure(
            "lab_replay_maccesses",
            f"replay of a recorded stream through {PRESET}: million accesses a second, the file read",
            accesses / median(taken["one"]) / 1e6, "M/s", aim=Aim(60, at_most=False),
        ),
        Figure(
            "lab_eight_ratio", "  eight models in one pass / one", median_ratio(taken["eight"], taken["one"]),
            aim=Aim(5),
        ),
        Figure("lab_random_maccesses", "  of random updates", updates / median(taken["random"]) / 1e6, "M/s"),
        Figure(
            "lab_random_eight_ratio", "  eight models of that / one",
            median_ratio(taken["random, eight"], taken["random"]), aim=Aim(5),
        ),
        Figure(
            "lab_missing_maccesses", "  where each access misses everywhere",
            _MISSING_ACCESSES / median(taken["missing"]) / 1e6, "M/s", aim=Aim(15, at_most=False),
        ),
        *(
            [
                Figure(
                    "lab_pycachesim_ratio", "  random loads: pycachesim, which walks no tables / one model, which does",
                    median_ratio(taken["pycachesim"], taken["two levels"]),
                )
            ]
            if beside
            else []
        ),
        Figure("lab_bytes", "a stream of random updates: bytes an access", size, "B", aim=Aim(3)),
        Figure(
            "lab_memory_growth", f"memory of a replay: a stream {times} times as long / that", longer_kib / kib,
            aim=Aim(1.1),
        ),
    )  # fmt: skip
    return Measurement("lab", taken, figures)


def _beside_pycachesim(accesses: int) -> dict[str, Callable[[], float]]:
    """Random loads through two levels, ours and pycachesim's; nothing where that is not installed."""
    if not is_installed():
        return {}
    geometry = two_levels((16, 4), (128, 12), Replacement.LRU)
    vaddrs = np.random.default_rng(1).integers(0, 1 << 14, accesses, dtype=np.uint64) << np.uint64(12)
    batches, plain = list(batches_of(vaddrs)), vaddrs.tolist()
    if ours(geometry, batches) != theirs(geometry, plain):
        raise RuntimeError("bench: pycachesim does not count what the model does")
    return {
        "two levels": partial(cpu_seconds, partial(ours, geometry, batches)),
        "pycachesim": partial(cpu_seconds, partial(theirs, geometry, plain)),
    }


def recorded(path: str, program: str, arguments: Sequence[str]) -> int:
    """Record a guest; returns how many accesses it has made."""
    machine, accesses = Machine(_MEMORY, tlb=PRESET, stdout=lambda data: None), 0
    machine.spawn(guests.path(program), arguments)
    writer = StreamWriter(path, {"memory_bytes": str(_MEMORY)})

    def write(batch: Batch) -> None:
        nonlocal accesses
        accesses += len(batch)
        writer.write(batch)

    recorder = record_machine(machine, write)
    machine.run()
    recorder.finish()
    writer.close()
    return accesses


def replayed(path: str, geometries: Sequence[Geometry]) -> Simulation:
    """Replay a file through these models."""
    simulation = Simulation(geometries, int(facts_of(path)["memory_bytes"]))
    for batch in read_pages(path):
        simulation.add(batch)
    return simulation


def repeated(path: str, longer: str, times: int) -> None:
    """Write a stream that is the same again and again."""
    writer = StreamWriter(longer, facts_of(path))
    for _ in range(times):
        for batch in read(path):
            writer.write(batch)
    writer.close()


def _missing() -> Iterator[Batch]:
    pages = np.arange(_MISSING_ACCESSES, dtype=np.uint64) % np.uint64(_MISSING_PAGES)
    vaddr = (pages << np.uint64(12)) + np.uint64(0x1000_0000)
    for begin in range(0, _MISSING_ACCESSES, BATCH):
        yield Batch.of(vaddr=vaddr[begin : begin + BATCH])


def _simulate(batches: Sequence[Batch]) -> None:
    simulation = Simulation([load_preset(PRESET)], TABLE_BYTES)
    for batch in batches:
        simulation.add(batch)
    walks = simulation.figures()[0]["perf"]["dTLB-load-misses"]
    if walks != _MISSING_ACCESSES:
        raise RuntimeError(f"bench: {_MISSING_ACCESSES - walks} accesses did not miss")


def _resident_kib(path: str) -> int:
    """The most memory that a process has had which replays a file."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _READ_IT, path]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"bench: {ran.stderr.splitlines()[-1]}")
    return int(ran.stdout)
