"""The native loops of streams, against the same functions as plain Python, and against what they are to do."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
import pytest

from emu.lab import page_policy_loop, replay_loop, table_mapper_loop
from emu.lab.batch import CONTROL, Op, controls_of
from emu.lab.foreign import lackey_loop
from mmu.events import EventRecord
from mmu.memory import PhysicalMemory
from mmu.native import EntryPoint
from mmu.objectcode import load
from mmu.registers import Registers
from mmu.state import MmuState
from mmu.translation import load_registers

Words = npt.NDArray[np.uint64]
UPPER = 0xFFFF_FFFF_FFE0_0000


def both_ways(module: str, entry: EntryPoint) -> tuple[object, object]:
    """An entry point as native code, if there is any, and as Python."""
    return load(module)[entry.name], entry


def accesses(seed: int, number: int) -> tuple[Words, npt.NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    pages = np.array([0x1000, 0x2000, UPPER, UPPER + 0x1000], np.uint64)
    vaddrs = pages[random.integers(0, 4, number)] | random.integers(0, 4096, number).astype(np.uint64)
    return vaddrs, random.integers(0, 3, number, np.uint8)


def slowly(
    vaddrs: Words, kinds: npt.NDArray[np.uint8], stops: set[int], apart: bool, near: int
) -> list[tuple[int, int, int]]:
    """The runs: page, kind, how many accesses.  An access goes on with the last run of its page and kind if no other
    one that changes what it finds stands between them."""
    runs: list[list[int]] = []
    last: dict[int, int] = {}
    for at, (vaddr, kind) in enumerate(zip(vaddrs.tolist(), kinds.tolist(), strict=True)):
        page = vaddr & ~4095
        if at in stops:
            last.clear()
        if kind in last and runs[last[kind]][0] == page:
            runs[last[kind]][2] += 1
            continue
        for other in list(last):
            same_page, fetches = runs[last[other]][0] == page, 2 in (kind, other)
            if fetches:
                gone = other == kind or (runs[last[other]][0] ^ page) >> near == 0 or not apart
            else:
                gone = not same_page or kind == 1
            if gone:
                del last[other]
        last[kind] = len(runs)
        runs.append([page, kind, 1])
    return [(page, kind, number) for page, kind, number in runs]


@pytest.mark.parametrize("near", [12, 13, 30])
@pytest.mark.parametrize("apart", [0, 1])
def test_runs(apart: int, near: int) -> None:
    vaddrs, kinds = accesses(apart, 3000)
    places = [0, 7, 7, 1000, 3000]
    for gather in both_ways("emu.lab.replay_loop", replay_loop.gather):
        controls = controls_of([(at, Op.INVLPG, 0, 0, 0) for at in places])
        for pages, at in ((np.zeros(0, np.uint64), vaddrs), indexed(vaddrs)):
            runs = np.zeros((3001, 2), np.uint64)
            moved = controls.copy()
            made = gather(  # type: ignore[operator]
                pages.ctypes.data if len(pages) else 0, at.ctypes.data, kinds.ctypes.data, 3000, moved.ctypes.data, 5,
                runs.ctypes.data, apart, near,
            )  # fmt: skip
            found = [(int(page), int(word) & 0xFF, int(word) >> 8) for page, word in runs[:made]]
            assert found == slowly(vaddrs, kinds, set(places), bool(apart), near)
            before = np.concatenate(([0], np.cumsum([number for _, _, number in found])))
            assert moved["at"][0] == 0 and moved["at"][-1] == made and (np.diff(moved["at"].astype(int)) >= 0).all()
            assert made < 3000 and before[-1] == 3000


def indexed(vaddrs: Words) -> tuple[Words, npt.NDArray[np.uint16]]:
    pages, index = np.unique(vaddrs & np.uint64(0xFFFF_FFFF_FFFF_F000), return_inverse=True)
    return pages, index.astype(np.uint16)


def test_tables_are_made_the_same_both_ways() -> None:
    vaddrs, _ = accesses(5, 500)
    made = []
    for map_pages in both_ways("emu.lab.page_policy_loop", page_policy_loop.map_pages):
        ram, controls = PhysicalMemory(1 << 20), np.zeros(64, CONTROL)
        known = np.zeros((page_policy_loop.REMEMBERED, 2), np.uint64)
        mapper = page_policy_loop.Mapper(
            ram=ram.host, ram_bytes=ram.size, next_table=0x2000, next_page=1 << 30, leaf=1, capacity=64,
            controls=controls.ctypes.data, known=known.ctypes.data,
        )  # fmt: skip
        address = mapper if isinstance(map_pages, EntryPoint) else ctypes.addressof(mapper)
        assert map_pages(address, 0x1000, vaddrs.ctypes.data, 0, 500) == 500  # type: ignore[operator]
        made.append((mapper.made, controls.tobytes(), ram.read(0, ram.size)))
    assert made[0] == made[1] and made[0][0] == 3 + 2 + 3 + 2


def test_tables_are_looked_up_the_same_both_ways() -> None:
    """Two pages of the lower half, one of which is read-only, and none of the upper one; 40 controls at a time."""
    vaddrs, kinds = accesses(6, 300)
    found = []
    for look_up in both_ways("emu.lab.table_mapper_loop", table_mapper_loop.look_up):
        ram, frames = PhysicalMemory(1 << 16), PhysicalMemory(1 << 12)
        for at, value in ((0, 0x1067), (0x1000, 0x2067), (0x2000, 0x3067), (0x3008, 0x9067), (0x3010, 0xA065)):
            ram.write_u64(at, value)
            frames.write_u64((at >> 12) * table_mapper_loop.FRAME_BYTES + 8, 1)
        event, state, controls = EventRecord(), MmuState(), np.zeros(60, CONTROL)
        state.ram, state.ram_bytes, state.read_only = ram.host, ram.size, 1
        state.ring, state.ring_capacity = ctypes.addressof(event), 1
        load_registers(state, Registers(cr3=0))
        known = np.zeros((table_mapper_loop.REMEMBERED, table_mapper_loop.KNOWN_WORDS), np.uint64)
        shifts, outcomes = np.zeros(300, np.uint8), np.zeros(300, np.uint8)
        reader = table_mapper_loop.TableReader(
            state=ctypes.addressof(state), frames=frames.host, known=known.ctypes.data, capacity=60,
            controls=controls.ctypes.data, kinds=kinds.ctypes.data, shifts=shifts.ctypes.data,
            outcomes=outcomes.ctypes.data,
        )  # fmt: skip
        address = reader if isinstance(look_up, EntryPoint) else ctypes.addressof(reader)
        assert look_up(address, vaddrs.ctypes.data, 0, 300) == 300  # type: ignore[operator]
        found.append((reader.made, reader.kept, controls.tobytes(), shifts.tobytes(), outcomes.tobytes()))
    assert found[0] == found[1] and found[0][0] == 5
    lower = vaddrs < np.uint64(UPPER)
    may = lower & ((vaddrs < np.uint64(0x2000)) | (kinds != 1))
    assert (np.frombuffer(found[0][3], np.uint8) == np.where(may, 12, 0)).all() and found[0][1] == may.sum()
    outcome = np.where(lower, table_mapper_loop.NOT_ALLOWED, table_mapper_loop.NOT_MAPPED)
    assert (np.frombuffer(found[0][4], np.uint8) == np.where(may, table_mapper_loop.FOUND, outcome)).all()


def test_lines_of_lackey_are_read_the_same_both_ways() -> None:
    lines = (
        "I  04001000,3", " L ffffffffff600ffc,16", "I  zz,1", " S 1,", " S ,1", " L 12345678901234567,1", " S 1F,4",
        " M 1f,9999999999", " M ab,8", "",
    )  # fmt: skip
    text = "\n".join(lines).encode()
    bytes_of = np.frombuffer(text, np.uint8)
    for parse in both_ways("emu.lab.foreign.lackey_loop", lackey_loop.parse):
        rows, counted = np.zeros((20, 3), np.uint64), np.zeros(2, np.uint64)
        first = bytes_of.ctypes.data
        parse(first, first + len(text), rows.ctypes.data, counted.ctypes.data)  # type: ignore[operator]
        assert counted.tolist() == [3, len(text)]
        assert rows[:3].tolist() == [[2, 0x4001000, 3], [0, 0xFFFF_FFFF_FF60_0FFC, 16], [1, 0xAB, 8]]
