"""Counters under perf's names, on programs whose counts follow from a formula.

The textbook preset: L1I and L1D of 4 sets of 4 ways, L2 of 16 sets of 4 ways, LRU everywhere.
"""

from __future__ import annotations

import pytest

from mmu import Access, PageFault
from mmu.perf_events import perf_events
from tests.mmu.guest import ADD, DATA, DATA_PADDR, LOAD, LOAD_OTHER, STORE, Guest

LOCK = "f0"
PAGE = 4096
PASSES = 5


def loop(body: str, pages: int, passes: int) -> list[str]:
    """``passes`` times the body (with the address in RBX) on each of ``pages`` pages, upwards."""
    inner = f"{body}4801f3" + "48ffc9"  # body; add rbx, rsi; dec rcx
    inner += "0f85" + (-len(inner) // 2 - 6).to_bytes(4, "little", signed=True).hex()  # jnz
    outer = f"bb{DATA.to_bytes(4, 'little').hex()}b9{pages.to_bytes(4, 'little').hex()}{inner}48ffca"  # dec rdx
    outer += "0f85" + (-len(outer) // 2 - 6).to_bytes(4, "little", signed=True).hex()
    return [f"ba{passes.to_bytes(4, 'little').hex()}be{PAGE.to_bytes(4, 'little').hex()}", outer]


def counted(body: str, pages: int, tlb: str = "textbook", **entry: int) -> dict[str, int]:
    guest = Guest(tlb=tlb)
    for i in range(pages):
        guest.tables.map_page(DATA + i * PAGE, DATA_PADDR + i * PAGE, **{"A": 1, "D": 1, **entry})
    guest.program(*loop(body, pages, PASSES))
    guest.run()
    return perf_events(guest.mmu)


def without_zeros(events: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in events.items() if number}


#: A fetch is counted a block: in each pass one for each page, and one for the outer loop's end; then the HLT.
def fetches(pages: int) -> dict[str, int]:
    completed = {f"ITLB_MISSES.{name}": 1 for name in ("MISS_CAUSES_A_WALK", "WALK_COMPLETED", "WALK_COMPLETED_4K")}
    return {"iTLB-loads": PASSES * (pages + 1) + 1, "iTLB-load-misses": 1, **completed}


@pytest.mark.parametrize("pages", [1, 2, 16])
def test_loads_that_the_first_level_holds(pages: int) -> None:
    assert without_zeros(counted(LOAD, pages)) == {
        "dTLB-loads": PASSES * pages,
        "dTLB-load-misses": pages,
        "DTLB_LOAD_MISSES.MISS_CAUSES_A_WALK": pages,
        "DTLB_LOAD_MISSES.WALK_COMPLETED": pages,
        "DTLB_LOAD_MISSES.WALK_COMPLETED_4K": pages,
        # the code's walk reads 4 entries, the first of the data 2 (its PDPTE is cached), the others 1 (so is their PDE)
        "PAGE_WALKER_LOADS": 4 + 2 + (pages - 1),
        **fetches(pages),
    }


@pytest.mark.parametrize("pages", [32, 48])
def test_loads_that_the_second_level_holds(pages: int) -> None:
    """LRU holds nothing of a cyclic pattern that has more pages than ways in each set."""
    assert without_zeros(counted(LOAD, pages)) == {
        "dTLB-loads": PASSES * pages,
        "dTLB-load-misses": pages,
        "DTLB_LOAD_MISSES.STLB_HIT": (PASSES - 1) * pages,
        "DTLB_LOAD_MISSES.MISS_CAUSES_A_WALK": pages,
        "DTLB_LOAD_MISSES.WALK_COMPLETED": pages,
        "DTLB_LOAD_MISSES.WALK_COMPLETED_4K": pages,
        "PAGE_WALKER_LOADS": 4 + 2 + (pages - 1),
        **fetches(pages),
    }


def test_loads_that_nothing_holds() -> None:
    pages = 128
    events = counted(LOAD, pages)
    assert events["dTLB-loads"] == events["DTLB_LOAD_MISSES.WALK_COMPLETED_4K"] == PASSES * pages
    assert events["DTLB_LOAD_MISSES.STLB_HIT"] == 0
    assert events["PAGE_WALKER_LOADS"] == 4 + 2 + (PASSES * pages - 1)


def test_without_any_tlb_each_access_walks() -> None:
    pages = 3
    events = counted(LOAD, pages, tlb="none")
    accesses = fetches(pages)["iTLB-loads"] + PASSES * pages
    assert events["PAGE_WALKER_LOADS"] == 4 * accesses
    assert events["iTLB-load-misses"] == events["iTLB-loads"] == fetches(pages)["iTLB-loads"]
    assert events["dTLB-load-misses"] == events["dTLB-loads"] == PASSES * pages


def test_stores() -> None:
    events = counted(STORE, 16)
    assert (events["dTLB-stores"], events["dTLB-store-misses"], events["dTLB-loads"]) == (PASSES * 16, 16, 0)
    assert events["DTLB_STORE_MISSES.WALK_COMPLETED_4K"] == events["DTLB_STORE_MISSES.MISS_CAUSES_A_WALK"] == 16


@pytest.mark.parametrize("prefix", ["", LOCK])
def test_a_read_modify_write_is_a_store(prefix: str) -> None:
    events = counted(prefix + ADD, 4)
    assert (events["dTLB-loads"], events["dTLB-stores"]) == (0, PASSES * 4)
    assert (events["dTLB-load-misses"], events["dTLB-store-misses"]) == (0, 4)


def test_the_first_store_to_a_clean_page_walks_again_to_set_d() -> None:
    events = counted(LOAD + STORE, 4, D=0)
    assert (events["dTLB-load-misses"], events["dTLB-store-misses"]) == (4, 4)
    assert (events["dTLB-loads"], events["dTLB-stores"]) == (PASSES * 4, PASSES * 4)


@pytest.mark.parametrize(("level", "name"), [(2, "_2M_4M"), (3, "_1G")])
def test_large_pages(level: int, name: str) -> None:
    guest = Guest(tlb="textbook")
    guest.tables.map_page(0x4000_0000, 0, level=level, A=1, D=1)
    guest.tables.map_page(DATA, DATA_PADDR, A=1, D=1)
    guest.program(LOAD, LOAD_OTHER, LOAD_OTHER)
    guest.run(rbx=DATA, rdx=0x4000_0000 + 5 * PAGE)
    events = perf_events(guest.mmu)
    assert events["dTLB-loads"] == 3
    assert events[f"DTLB_LOAD_MISSES.WALK_COMPLETED{name}"] == events["DTLB_LOAD_MISSES.WALK_COMPLETED_4K"] == 1
    assert events["DTLB_LOAD_MISSES.WALK_COMPLETED"] == 2


def test_a_walk_that_faults_is_caused_and_not_completed() -> None:
    """The access is made again when the fault has been resolved, and counted once."""
    guest = Guest(tlb="textbook")
    faults: list[PageFault] = []

    def resolve(fault: PageFault) -> bool:
        faults.append(fault)
        guest.tables.map_page(DATA, DATA_PADDR)
        return True

    guest.mmu.on_page_fault = resolve
    guest.program(LOAD, LOAD)
    guest.run(rbx=DATA)
    events = perf_events(guest.mmu)
    assert [fault.access for fault in faults] == [Access.READ]
    assert (events["dTLB-loads"], events["dTLB-load-misses"]) == (2, 1)
    assert events["DTLB_LOAD_MISSES.MISS_CAUSES_A_WALK"] == 2
    assert events["DTLB_LOAD_MISSES.WALK_COMPLETED"] == 1


def test_filtered_mode_counts_none_of_this() -> None:
    guest = Guest()
    guest.program()
    guest.run()
    assert perf_events(guest.mmu) == {}
