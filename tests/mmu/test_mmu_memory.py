"""PhysicalMemory: sparse, bounded, and the same bytes through every view."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from mmu import BusError, PhysicalMemory
from mmu.memory import MAX_BYTES, PAGE_SIZE

GIB = 1 << 30


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE


def test_untouched_memory_costs_nothing() -> None:
    before = resident_bytes()
    ram = PhysicalMemory(512 * GIB)
    assert (ram.size, ram.frames) == (512 * GIB, 512 * GIB // 4096)
    for paddr in (0, 200 * GIB, 512 * GIB - 1):
        ram.write(paddr, b"x")
    assert ram.read(512 * GIB - 2, 2) == b"\0x"
    assert resident_bytes() - before < 4 << 20


@pytest.mark.parametrize("size", [0, -4096, 1, 4095, 4097, MAX_BYTES + 4096])
def test_refused_sizes(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4096"):
        PhysicalMemory(size)


def test_an_address_space_limit_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("mmu.memory.mmap.mmap", refuse)
    with pytest.raises(MemoryError, match=r"host refuses 4096 bytes.*Cannot allocate memory"):
        PhysicalMemory(4096)


def test_every_view_shows_the_same_bytes() -> None:
    ram = PhysicalMemory(1 << 20)
    ram.write(0x1000, bytes(range(1, 9)))
    value = 0x0807060504030201
    assert ram.read_u64(0x1000) == ram.qwords[0x200] == int(ram.words[0x200]) == value
    assert bytes(ram.view[0x1000:0x1008]) == ctypes.string_at(ram.host + 0x1000, 8) == bytes(range(1, 9))
    ram.words[1] = 0xFFFF_FFFF_FFFF_FFFF
    assert ram.read(7, 10) == b"\0" + b"\xff" * 8 + b"\0"
    ram.qwords[1] = 1
    assert int(ram.words[1]) == 1
    ram.write_u64(0xFFFF8, 1 << 63)
    assert ram.read(0xFFFF8, 8) == b"\0" * 7 + b"\x80"
    ctypes.c_uint32.from_address(ram.host + 4).value = 7
    assert ram.read_u64(0) == 7 << 32


def test_write_accepts_every_kind_of_bytes() -> None:
    ram = PhysicalMemory(4096)
    ram.write(0, b"a")
    ram.write(1, bytearray(b"b"))
    ram.write(2, memoryview(b"xcx")[1:2])
    ram.write(3, b"")
    assert ram.read(0, 4) == b"abc\0"
    assert ram.read(4096, 0) == b""


@pytest.mark.parametrize(("paddr", "length"), [(-1, 1), (4096, 1), (4095, 2), (0, 4097), (0, -1), (1 << 64, 8)])
def test_outside_memory_is_a_bus_error(paddr: int, length: int) -> None:
    ram = PhysicalMemory(4096)
    with pytest.raises(BusError, match="outside memory of 0x1000 bytes"):
        ram.read(paddr, length)
    with pytest.raises(BusError):
        ram.discard(paddr, length)


@pytest.mark.parametrize("paddr", [-8, 4096, 1 << 40])
def test_words_outside_memory_are_bus_errors(paddr: int) -> None:
    ram = PhysicalMemory(4096)
    with pytest.raises(BusError):
        ram.read_u64(paddr)
    with pytest.raises(BusError):
        ram.write_u64(paddr, 1)
    with pytest.raises(BusError):
        ram.write(paddr, b"12345678")
    assert not ram.words.any()


def test_discard_gives_whole_pages_back() -> None:
    ram = PhysicalMemory(64 << 20)
    ram.words[:] = 5
    full = resident_bytes()
    ram.discard(0x1000, (64 << 20) - 0x2000)
    assert full - resident_bytes() > 60 << 20
    assert ram.read_u64(0xFF8) == ram.read_u64((64 << 20) - 8) == 5
    assert ram.read_u64(0x1000) == ram.read_u64((64 << 20) - 0x1008) == 0
    ram.discard(0, 0)
    assert ram.read_u64(0) == 5


@pytest.mark.parametrize(("paddr", "length"), [(1, 4096), (0, 1), (4096, 4095)])
def test_discard_refuses_parts_of_pages(paddr: int, length: int) -> None:
    with pytest.raises(ValueError, match="whole pages"):
        PhysicalMemory(1 << 20).discard(paddr, length)


@pytest.mark.parametrize(("size", "flag"), [(64 << 20, "hg"), (8 << 30, "nh")])
def test_the_host_is_asked_for_huge_pages_but_for_sparse_memory(size: int, flag: str) -> None:
    """VmFlags of proc(5)."""
    ram = PhysicalMemory(size)
    with open("/proc/self/smaps", encoding="utf-8", errors="surrogateescape") as smaps:
        lines = smaps.read().splitlines()
    if (
        not any(line.startswith("VmFlags") for line in lines)
        or not Path("/sys/kernel/mm/transparent_hugepage").is_dir()
    ):
        pytest.skip("the host has no transparent huge pages, or does not tell")
    first = next(n for n, line in enumerate(lines) if _holds(line, ram.host))
    assert flag in next(line for line in lines[first:] if line.startswith("VmFlags")).split()


def _holds(line: str, address: int) -> bool:
    begin, dash, end = line.split()[0].partition("-")
    return bool(dash) and int(begin, 16) <= address < int(end, 16)
