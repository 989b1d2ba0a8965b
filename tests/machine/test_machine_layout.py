"""Where programs and their memory go: random places by the seed, or fixed ones."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from emu.kernel.layout import ELF_ET_DYN_BASE, STACK_TOP, LayoutRandom, Persona, choose_layout
from emu.linux.mman import MapFlags, Prot
from emu.mm.mmap import do_mmap
from tests.booted import Booted


def places(**options: Any) -> list[dict[str, int]]:
    """Where things are in two programs of one machine."""
    booted = Booted(**options)
    tasks = [booted.guest("calls", "brk 0; @mark 1; @pause") for _ in range(2)]
    found = []
    for task in tasks:
        booted.run_until_mark(task, 1)
        vdso = next(vma.start for vma in task.mm.vmas if vma.ops.name(vma) == "[vdso]")
        found.append({"heap": task.mm.start_brk, "stack": task.mm.start_stack, "vdso": vdso})
    return found


def test_the_places_of_a_library_machine_are_fixed() -> None:
    first, second = places()
    assert first == second and first["vdso"] == 0x7FFF_F7FF_D000


def test_random_places_come_from_the_seed() -> None:
    first, second = places(aslr=True, seed=1)
    assert [first, second] == places(aslr=True, seed=1)
    other, _ = places(aslr=True, seed=2)
    assert all(first[name] != other[name] for name in first)
    assert first["vdso"] == second["vdso"] and first["stack"] != second["stack"] and first["heap"] != second["heap"]


@pytest.mark.parametrize("aslr", [False, True])
def test_map_32bit_begins_anew_for_each_mapping(aslr: bool) -> None:
    booted = Booted(seed=1, aslr=aslr)
    task = booted.guest("calls", "@mark 1; @pause")
    booted.run_until_mark(task, 1)
    flags = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.MAP_32BIT
    first, second = (do_mmap(task.mm, 0, 4096, Prot.READ, flags) for _ in range(2))
    if aslr:
        assert all(0x4000_0000 < place < 0x4200_0000 for place in (first, second)) and second != first + 4096
    else:
        assert (first, second) == (0x4000_0000, 0x4000_1000)


def test_bytes_for_programs_do_not_depend_on_places() -> None:
    plain, moved = Booted(seed=3), Booted(seed=3, aslr=True)
    for booted in (plain, moved):
        assert booted.outcome("hello").exit_status == 0
    assert plain.kernel.random.random() == moved.kernel.random.random()


@pytest.mark.parametrize("seed", range(50))
def test_the_ranges_are_those_of_linux(seed: int) -> None:
    random, limit = LayoutRandom(seed), Random(seed).choice([None, 8 << 20, 1 << 30, 1 << 46])
    layout = choose_layout(random, 0, limit, heap=True)
    assert STACK_TOP - (16 << 30) < layout.stack_top <= STACK_TOP
    assert 0 <= layout.program < 1 << 40 and 0 <= layout.heap < 1 << 30 and 0 <= layout.stack < 8192
    assert layout.mmap_base < layout.stack_top - (128 << 20) + (16 << 30)
    assert all(not place % 4096 for place in (layout.stack_top, layout.mmap_base, layout.program, layout.heap))
    assert layout.mmap_base > ELF_ET_DYN_BASE + layout.program or limit in (None, 1 << 46)
    low = choose_layout(random, Persona.ADDR_COMPAT_LAYOUT, limit, heap=False)
    assert low.bottom_up and low.mmap_base < 1 << 46 and not low.heap
