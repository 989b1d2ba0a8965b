"""Pages that lie in swap areas: whatever has them sent there, programs see what they see without swap."""

from __future__ import annotations

import random

import pytest

from emu.linux.errors import LinuxError
from emu.mm.swapfile import Header, read_header
from emu.testing import GuestMachine
from tests.exhaustive import by_default

_PAGEOUT, _WILLNEED, _DONTNEED, _FREE, _COLD = 21, 3, 4, 8, 20
_BASE, _PAGES = 0x2000_0000, 24
_AREAS = (("PRIVATE|MAP_ANONYMOUS", 0), ("MAP_SHARED|MAP_ANONYMOUS", 1), ("PRIVATE|MAP_ANONYMOUS", 2))


def _place(area: int, page: int) -> int:
    return _BASE + (area << 24) + (page << 12)


def _operation(chance: random.Random, advice: bool) -> str:
    area, page = chance.randrange(3), chance.randrange(_PAGES)
    number = chance.randrange(1, _PAGES - page + 1)
    place, length = _place(area, page), number << 12
    kind = chance.choice(["store", "store", "load", "out", "out", "ahead", "cold", "protect", "move", "unneeded"])
    if kind == "store":
        return f"store {place + 8 * chance.randrange(512)} {chance.randrange(1, 1 << 30)}"
    if kind == "load":
        return f"load {place}"
    if kind in ("out", "ahead", "cold"):
        which = {"out": _PAGEOUT, "ahead": _WILLNEED, "cold": _COLD}[kind]
        return f"@madvise {place} {length} {which}" if advice else "@getpid"
    if kind == "protect":
        return f"mprotect {place} {length} {chance.choice(['PROT_READ', 'RW'])}; mprotect {place} {length} RW"
    if kind == "move":
        spare = _place(7, 0)
        moves = f"@m = mremap {place} {length} {length} 3 {spare}; load m"
        return f"{moves}; @b = mremap m {length} {length} 3 {place}; load b"
    return f"madvise {place} {length} {_DONTNEED}"


def _script(seed: int, *, advice: bool) -> str:
    chance = random.Random(seed)
    lines = [f"@a{n} = mmap {_place(n, 0)} {_PAGES << 12} RW {kind}|MAP_FIXED -1 0" for kind, n in _AREAS]
    lines += [f"@store {_place(area, page)} {page + 1}" for area in range(3) for page in range(0, _PAGES, 2)]
    for child in range(6):
        lines += [_operation(chance, advice) for _ in range(20)]
        lines += [f"fork c{child}", *(_operation(chance, advice) for _ in range(12)), f"end; @wait c{child}"]
    lines += [f"load {_place(area, page)}" for area in range(3) for page in range(_PAGES)]
    return "; ".join(lines)


def _run(script: str, **options: object) -> tuple[str, GuestMachine]:
    machine = GuestMachine(modules={}, record=False, **options)  # type: ignore[arg-type]
    result = machine.run_guest("calls", script)
    assert result.status == 0, result
    kept = "\n".join(line for line in result.stdout.splitlines() if not line.startswith("c"))
    return kept, machine


@pytest.mark.parametrize("seed", range(by_default(3, 8)))
def test_programs_see_the_same_with_swap(seed: int) -> None:
    plain, machine = _run(_script(seed, advice=False))
    assert machine.close() == []
    swapped, machine = _run(_script(seed, advice=True), swap=1 << 20)
    swap = machine.kernel.mm_context.swap
    assert swapped == plain
    assert swap.events["pswpout"] > 20 and swap.events["pswpin"] > 10
    assert machine.close() == []
    assert swap.areas.free == swap.areas.total and not swap.cached


@pytest.mark.parametrize("seed", range(by_default(2, 4)))
def test_the_same_where_writing_takes_time(seed: int) -> None:
    """A file is no synchronous device: pages stay in the swap cache until somebody needs their frames."""
    plain, machine = _run(_script(seed, advice=False))
    assert machine.close() == []
    machine = GuestMachine(modules={}, record=False, swap=1 << 20)
    device = machine.kernel.swap_device
    assert device is not None
    device.synchronous = False
    result = machine.run_guest("calls", _script(seed, advice=True))
    assert "\n".join(line for line in result.stdout.splitlines() if not line.startswith("c")) == plain
    assert machine.close() == []
    assert device.in_use == 0


def test_a_small_area_takes_as_many_as_fit() -> None:
    script = f"@p = mmap {_BASE} 64K RW PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0; "
    script += "; ".join(f"@store {_BASE + n * 4096} {n + 1}" for n in range(16))
    script += f"; madvise p 64K {_PAGEOUT}; " + "; ".join(f"load {_BASE + n * 4096}" for n in range(16))
    stdout, machine = _run(script, swap=6 << 12)
    assert stdout == "madvise = 0\n" + "\n".join(f"load = {n + 1}" for n in range(16))
    assert machine.kernel.mm_context.swap.events["pswpout"] == 5
    assert machine.close() == []


def test_pages_of_zeros_take_a_slot_and_are_not_stored() -> None:
    script = f"@p = mmap {_BASE} 8K RW PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0; @store p 0; @store {_BASE + 4096} 1"
    stdout, machine = _run(f"{script}; @madvise p 8K {_PAGEOUT}; load p; load {_BASE + 4096}", swap=1 << 20)
    assert stdout == "load = 0\nload = 1"
    events = machine.kernel.mm_context.swap.events
    assert (events["swpout_zero"], events["swpin_zero"], events["pswpout"], events["pswpin"]) == (1, 1, 1, 1)
    assert machine.close() == []


def test_faults_that_read_are_major() -> None:
    script = f"@p = mmap {_BASE} 16K RW PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0; @store p 1; @store {_BASE + 4096} 1"
    machine = GuestMachine(modules={}, swap=1 << 20)
    result = machine.run_guest("calls", f"{script}; @madvise p 16K {_PAGEOUT}; load p; load {_BASE + 4096}")
    assert result.counts.major_faults == 2
    machine.close()


def _header(**fields: int) -> bytes:
    page = bytearray(4096)
    page[4086:] = b"SWAPSPACE2"
    values = {"version": 1, "last": 9, "bad": 0} | fields
    for at, name in ((1024, "version"), (1028, "last"), (1032, "bad")):
        page[at : at + 4] = values[name].to_bytes(4, "little")
    return bytes(page)


def test_headers() -> None:
    assert read_header(_header(), 10, regular=True) == Header(10, ())
    for wrong in ({"version": 2}, {"last": 0}, {"last": 10}, {"bad": 1}):
        with pytest.raises(LinuxError, match="EINVAL"):
            read_header(_header(**wrong), 10, regular=True)
