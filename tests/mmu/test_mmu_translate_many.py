"""translate_many: its arguments, the state that it leaves unchanged, and its speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmu import Access, EventKind, PhysicalMemory, Registers
from mmu.batch import OUTCOME
from mmu.translation import Walker, translate_many
from tests.mmu.guest import DATA, Guest
from tests.mmu.tables import Tables

ROOT = Path(__file__).resolve().parents[2]
BASE = 0x4000_0000


def many_pages(count: int) -> tuple[PhysicalMemory, Registers]:
    ram = PhysicalMemory(64 << 20)
    tables = Tables(ram)
    for page in range(count):
        tables.map_page(BASE + page * 4096, 0x100_0000 + page % 1000 * 4096)
    return ram, Registers(cr3=tables.cr3)


def test_no_addresses() -> None:
    ram, registers = many_pages(1)
    outcomes = translate_many(ram, registers, np.zeros(0, dtype=np.uint64))
    assert (len(outcomes), outcomes.dtype) == (0, OUTCOME)


def test_any_array_of_addresses() -> None:
    """Not contiguous, of another integer type, read-only: it is copied where need be, and never written."""
    ram, registers = many_pages(8)
    wanted = [0x100_0000 + page * 4096 for page in range(0, 8, 2)]
    vaddrs = np.arange(BASE, BASE + 8 * 4096, 4096, dtype=np.int64)
    vaddrs.setflags(write=False)
    assert translate_many(ram, registers, vaddrs[::2].astype(np.uint64))["paddr"].tolist() == wanted
    assert translate_many(ram, registers, vaddrs.astype(np.uint64)[::2])["paddr"].tolist() == wanted
    assert translate_many(ram, registers, vaddrs[::2])["paddr"].tolist() == wanted  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one-dimensional array, not one of 2 dimensions"):
        translate_many(ram, registers, np.zeros((2, 2), dtype=np.uint64))


def test_a_write_sets_dirty_and_a_read_does_not() -> None:
    ram, registers = many_pages(4)
    vaddrs = np.arange(BASE, BASE + 4 * 4096, 4096, dtype=np.uint64)
    tables = Tables(ram)
    slots = [tables.slot(int(vaddr)) for vaddr in vaddrs]
    translate_many(ram, registers, vaddrs)
    assert {ram.read_u64(slot) & 0x60 for slot in slots} == {0x20}
    translate_many(ram, registers, vaddrs[:2], Access.WRITE)
    assert [ram.read_u64(slot) & 0x60 for slot in slots] == [0x60, 0x60, 0x20, 0x20]


def test_nothing_is_recorded() -> None:
    guest = Guest()
    guest.tables.map_page(DATA, 0x20_0000)
    guest.mmu.events.enable(*EventKind)
    before = guest.mmu.counters
    vaddrs = np.array([DATA, 0, 1 << 63], dtype=np.uint64)
    outcomes = Walker(guest.ram).translate_many(guest.mmu.registers, vaddrs, Access.WRITE)
    assert outcomes["status"].tolist() == [0, 1, 2]
    assert guest.mmu.counters == before and len(guest.mmu.events) == 0


TELL = """
import json, sys
import numpy as np
from mmu import Access
from mmu.translation import batch_library, translate_many
from tests.mmu.test_mmu_translate_many import BASE, many_pages
ram, registers = many_pages(20)
vaddrs = np.concatenate([np.arange(BASE - 8192, BASE + 24 * 4096, 2048), [1 << 47, 1 << 62]]).astype(np.uint64)
told = [translate_many(ram, registers, vaddrs, access).tolist() for access in Access]
json.dump([batch_library().mode, told], sys.stdout)
"""


def test_reference_mode_tells_the_same() -> None:
    told = {}
    for flag in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": flag, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", TELL]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        mode, told[mode] = json.loads(done.stdout)
    assert set(told) == {"native", "reference"}
    assert told["native"] == told["reference"]
    assert {row[2] for rows in told["native"] for row in rows} == {0, 1, 2}
