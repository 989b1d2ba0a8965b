"""Counts under AMD's names, on sweeps whose counts follow from a formula."""

from __future__ import annotations

import pytest

from mmu import Access
from mmu.geometry import Geometry
from mmu.perf_events import events_of, vendor_names
from mmu.presets import load_preset
from tests.mmu.swept import Sweep

#: As Linux 6.1 and later name them (tools/perf/pmu-events/arch/x86/amdzen1 to amdzen5), of what a TLB counts.
ZEN_4 = {
    "ls_l1_d_tlb_miss.tlb_reload_4k_l2_hit", "ls_l1_d_tlb_miss.tlb_reload_coalesced_page_hit",
    "ls_l1_d_tlb_miss.tlb_reload_2m_l2_hit", "ls_l1_d_tlb_miss.tlb_reload_1g_l2_hit",
    "ls_l1_d_tlb_miss.tlb_reload_4k_l2_miss", "ls_l1_d_tlb_miss.tlb_reload_coalesced_page_miss",
    "ls_l1_d_tlb_miss.tlb_reload_2m_l2_miss", "ls_l1_d_tlb_miss.tlb_reload_1g_l2_miss",
    "ls_l1_d_tlb_miss.all_l2_miss", "ls_l1_d_tlb_miss.all", "bp_l1_tlb_miss_l2_tlb_hit",
    "bp_l1_tlb_miss_l2_tlb_miss.if4k", "bp_l1_tlb_miss_l2_tlb_miss.if2m", "bp_l1_tlb_miss_l2_tlb_miss.if1g",
    "bp_l1_tlb_miss_l2_tlb_miss.coalesced_4k", "bp_l1_tlb_miss_l2_tlb_miss.all", "bp_l1_tlb_fetch_hit.if4k",
    "bp_l1_tlb_fetch_hit.if2m", "bp_l1_tlb_fetch_hit.if1g", "bp_l1_tlb_fetch_hit.all",
}  # fmt: skip
OLDER = {"ls_dc_accesses", "ls_tablewalker.dside", "ls_tablewalker.iside"}
RENAMED = {
    "bp_l1_tlb_miss_l2_tlb_miss.all": "bp_l1_tlb_miss_l2_tlb_miss", "bp_l1_tlb_fetch_hit.all": "bp_l1_tlb_fetch_hit",
}  # fmt: skip
ZEN_3 = {RENAMED.get(name, name) for name in ZEN_4 - {"ls_l1_d_tlb_miss.all_l2_miss"}} | OLDER
ZEN_2 = ZEN_3 - {"bp_l1_tlb_miss_l2_tlb_miss.coalesced_4k", "bp_l1_tlb_miss_l2_tlb_hit"} | {"bp_l1_tlb_miss_l2_hit"}
ZEN_1 = {name.replace("coalesced_page", "32k_l2") for name in ZEN_2 if not name.startswith("bp_")} | {
    "bp_l1_tlb_fetch_hit", "bp_l1_tlb_miss_l2_hit", "bp_l1_tlb_miss_l2_miss",
}  # fmt: skip
NAMES = {"zen1": ZEN_1, "zen2": ZEN_2, "zen3": ZEN_3, "zen4": ZEN_4, "zen5": ZEN_4}
READ, FETCH = Access.READ, Access.FETCH


@pytest.mark.parametrize("name", NAMES)
def test_each_zen_has_the_names_that_perf_has_for_it(name: str) -> None:
    geometry = load_preset(name)
    assert set(vendor_names(geometry.counters)) == NAMES[name]
    assert NAMES[name] <= events_of(Sweep(geometry, 1).model, 0).keys()


def test_others_have_none_of_them() -> None:
    assert vendor_names(load_preset("skylake-sp").counters) == ()
    assert not [name for name in events_of(Sweep(load_preset("skylake-sp"), 1).model, 0) if name.startswith("ls_")]


def counted(geometry: Geometry, pages: int, access: Access, *, contiguous: bool, rounds: int = 1) -> dict[str, int]:
    """What is not 0 after some rounds."""
    sweep = Sweep(geometry, pages, contiguous=contiguous)
    sweep.round(access, warm=rounds - 1)
    events = events_of(sweep.model, 0)
    return {name: events[name] for name in vendor_names(geometry.counters) if events[name]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("contiguous", [False, True])
def test_loads_by_the_size_of_their_pages(name: str, contiguous: bool) -> None:
    """512 pages, twice: each entry misses both levels once, and then the first one in each round."""
    geometry = load_preset(name)
    at_once = geometry.coalesce if contiguous else 1
    entries = 512 // at_once
    small = {"zen1": "32k_l2", "zen2": "coalesced_page"}.get(name, "coalesced_page") if contiguous else "4k_l2"
    found = counted(geometry, 512, READ, contiguous=contiguous, rounds=2)
    first = next(array for array in geometry.arrays if array.name == "L1D").entries
    again = entries if entries > first else 0
    expected = {f"ls_l1_d_tlb_miss.tlb_reload_{small}_miss": entries, "ls_l1_d_tlb_miss.all": entries + again}
    if again:
        expected[f"ls_l1_d_tlb_miss.tlb_reload_{small}_hit"] = again
    if name in ("zen1", "zen2", "zen3"):
        expected |= {"ls_dc_accesses": 1024, "ls_tablewalker.dside": entries}
    else:
        expected["ls_l1_d_tlb_miss.all_l2_miss"] = entries
    assert found == expected


@pytest.mark.parametrize("contiguous", [False, True])
def test_fetches_by_the_size_of_their_pages(contiguous: bool) -> None:
    found = counted(load_preset("zen4"), 64, FETCH, contiguous=contiguous)
    entries = 16 if contiguous else 64
    size = "coalesced_4k" if contiguous else "if4k"
    expected = {f"bp_l1_tlb_miss_l2_tlb_miss.{size}": entries, "bp_l1_tlb_miss_l2_tlb_miss.all": entries}
    if contiguous:
        expected |= {"bp_l1_tlb_fetch_hit.if4k": 48, "bp_l1_tlb_fetch_hit.all": 48}
    assert found == expected
