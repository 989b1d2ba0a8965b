"""QEMU's own plugin of caches (contrib/plugins/cache.c), with blocks of 4096 bytes, counts what a replay counts.

Where there is a ``qemu-x86_64`` that takes plugins, a C compiler, and QEMU's source of that version, whose directory
UNIMMU_QEMU_SOURCE names; of the headers of glib, CPATH says where they are if pkg-config does not.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from emu.bench.loops import program, touch
from emu.bench.qemu_plugin import find_plugin, glib_options
from emu.lab.batch import Batch
from emu.lab.page_policy import TABLE_BYTES, PageMapper, PagePolicy
from emu.lab.recorder import record_machine
from emu.lab.simulation import Simulation
from emu.machine import Machine
from mmu.geometry import Geometry, Replacement
from tests.bench.qemu_loops import random_stores
from tests.lab.cachegrind import three_arrays

SOURCE, PLUGIN = "UNIMMU_QEMU_SOURCE", "contrib/plugins/cache.c"
TEXT, DATA, PAGES, PAGE = 0x40_0000, 0x50_0000, 4096, 4096
LOOPS = {
    "first level": touch(DATA, 60, PAGE, 50), "second level": touch(DATA, 500, PAGE, 20),
    "misses": touch(DATA, PAGES, PAGE, 3), "sets": touch(DATA, 9, 128 * PAGE, 50, store=True),
    "random": random_stores(DATA, 40_000),
}  # fmt: skip
#: Sets and ways for fetches, for data, and of the second level.
SHAPES = (((16, 4), (16, 4), (128, 12)), ((1, 2), (1, 64), (16, 8)))
#: Misses of fetches and of data; accesses to the second level, and misses there.
Counts = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def qemu() -> str:
    """A QEMU that takes plugins.  Skips the test, with what is missing, if not all is there that it needs."""
    found, source = find_plugin(), Path(os.environ.get(SOURCE, "no source"))
    there = {
        "a qemu-x86_64 that takes plugins": found.qemu is not None, "a C compiler": found.compiler is not None,
        f"QEMU's source in {SOURCE}": (source / PLUGIN).is_file(),
    }  # fmt: skip
    if not all(there.values()):
        pytest.skip(f"needs {', '.join(what for what, is_there in there.items() if not is_there)}")
    return str(found.qemu)


@pytest.fixture(scope="module")
def library(qemu: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, as the source has it, in a library."""
    source, library = Path(os.environ[SOURCE]), tmp_path_factory.mktemp("plugin") / "cache.so"
    options = ["-O2", "-shared", "-fPIC", "-I", str(source / "include/qemu"), *glib_options()]
    subprocess.run([str(find_plugin().compiler), *options, "-o", library, source / PLUGIN], check=True)
    return library


def theirs(qemu: str, library: Path, geometry: Geometry, path: Path, log: Path) -> tuple[int, Counts]:
    """Accesses to data, and what it counts."""
    words = [str(library), f"evict={geometry.arrays[0].replacement.name.lower()}"]
    for prefix, array in zip(("i", "d", "l2"), geometry.arrays, strict=True):
        size = array.sets * array.ways * PAGE
        words += [f"{prefix}blksize={PAGE}", f"{prefix}assoc={array.ways}", f"{prefix}cachesize={size}"]
    subprocess.run([qemu, "-plugin", ",".join(words), "-d", "plugin", "-D", log, path], check=True)
    row = next(line for line in log.read_text().splitlines() if line.startswith("0 ")).replace("%", "").split()
    assert len(row) == 10, row
    return int(row[1]), (int(row[5]), int(row[2]), int(row[7]), int(row[8]))


def ours(batches: Sequence[Batch], geometry: Geometry) -> Counts:
    """What our model counts."""
    simulation = Simulation([geometry], TABLE_BYTES)
    for batch in PageMapper(PagePolicy.FOUR_K).mapped(iter(batches)):
        simulation.add(batch)
    tlb = simulation.figures()[0]["tlb"]
    fetches, data, second = tlb["L1"]["I1"], tlb["L1"]["D1"], tlb["L2"]["LL"]
    return fetches["misses"], data["misses"], second["hits"] + second["misses"], second["misses"]


def accesses_of(path: Path) -> list[Batch]:
    """What a program does in the machine, without what faulted and was done again."""
    machine, batches = Machine(64 << 20, tlb="textbook", stdout=lambda data: None), list[Batch]()
    machine.spawn(path)
    recorder = record_machine(machine, batches.append)
    machine.run()
    recorder.finish()
    return [Batch.of(vaddr=one.vaddr[one.shift != 0], kind=one.kind[one.shift != 0]) for one in batches]


@pytest.mark.parametrize("name", LOOPS)
def test_it_counts_what_a_replay_counts(name: str, qemu: str, library: Path, tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.write_bytes(program(LOOPS[name], TEXT, DATA, PAGES * PAGE))
    path.chmod(0o755)
    batches = accesses_of(path)
    data = sum(int(np.count_nonzero(batch.kind != 2)) for batch in batches)
    for shape in SHAPES:
        for policy in (Replacement.LRU, Replacement.FIFO):
            geometry = three_arrays(*shape, policy)
            accesses, counts = theirs(qemu, library, geometry, path, tmp_path / "log")
            assert (accesses, counts) == (data, ours(batches, geometry)), (shape, policy.name)
            assert counts[3] > 0
