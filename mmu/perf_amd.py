"""The counts of the TLB model under AMD's names, as perf has them for each Zen (Linux, tools/perf/pmu-events/arch/x86,
amdzen1 to amdzen5).

A coalesced page is none of 4K there.  What Zen 1 calls a page of 32K is one of coalesced pages too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmu.access import AccessCounts
from mmu.registers import Access

if TYPE_CHECKING:
    from mmu.model import TlbModel

#: Sizes of pages: of 4K alone, coalesced, 2M, 1G.
_SIZES = ("4k", "coalesced", "2m", "1g")
_FETCHED = ("if4k", "coalesced_4k", "if2m", "if1g")


def _walks(counts: AccessCounts) -> list[int]:
    """Completed walks, by size."""
    small, *large = counts.walk_completed
    return [small - counts.walk_coalesced, counts.walk_coalesced, *large]


def _second_level(counts: AccessCounts) -> list[int]:
    """Hits in the second level, by size."""
    large = list(counts.stlb_large)
    return [counts.stlb_hits - counts.stlb_coalesced - sum(large), counts.stlb_coalesced, *large]


def _first_level(counts: AccessCounts) -> list[int]:
    """Hits in the first level: on pages of 4K, alone or coalesced, of 2M, of 1G."""
    large = list(counts.l1_large)
    return [counts.l1_hits - sum(large), *large]


def amd_events(model: TlbModel, zen: int) -> dict[str, int]:
    """Every event of that Zen that the model counts, by its name."""
    return _named([model.counts_of(access) for access in Access], zen)


def amd_names(zen: int) -> tuple[str, ...]:
    """The names of these events."""
    return tuple(_named([AccessCounts() for _ in Access], zen))


def _named(counts: Sequence[AccessCounts], zen: int) -> dict[str, int]:
    read, write, fetch = counts
    data_hits, data_walks = ([sum(pair) for pair in zip(of(read), of(write), strict=True)]
                             for of in (_second_level, _walks))  # fmt: skip
    events: dict[str, int] = {}
    if zen <= 3:
        events["ls_dc_accesses"] = sum(each.l1_hits for each in (read, write)) + sum(data_hits) + sum(data_walks)
    for side, of_side in (("hit", data_hits), ("miss", data_walks)):
        for size, number in zip(_SIZES, of_side, strict=True):
            name = f"{size}_l2"
            if size == "coalesced":
                name = "32k_l2" if zen == 1 else "coalesced_page"
            events[f"ls_l1_d_tlb_miss.tlb_reload_{name}_{side}"] = number
    if zen >= 4:
        events["ls_l1_d_tlb_miss.all_l2_miss"] = sum(data_walks)
    events["ls_l1_d_tlb_miss.all"] = sum(data_hits) + sum(data_walks)
    if zen <= 3:
        events["ls_tablewalker.dside"] = sum(data_walks) + read.walk_faults + write.walk_faults
        events["ls_tablewalker.iside"] = sum(_walks(fetch)) + fetch.walk_faults
    return events | _of_fetches(fetch, zen)


def _of_fetches(fetch: AccessCounts, zen: int) -> dict[str, int]:
    hits, walks, first = sum(_second_level(fetch)), _walks(fetch), _first_level(fetch)
    total = ".all" if zen >= 4 else ""
    events = {f"bp_l1_tlb_fetch_hit{total}": sum(first)}
    if zen == 1:
        return events | {"bp_l1_tlb_miss_l2_hit": hits, "bp_l1_tlb_miss_l2_miss": sum(walks)}
    for size, number in zip(("if4k", "if2m", "if1g"), first, strict=True):
        events[f"bp_l1_tlb_fetch_hit.{size}"] = number
    events["bp_l1_tlb_miss_l2_hit" if zen == 2 else "bp_l1_tlb_miss_l2_tlb_hit"] = hits
    by_size = dict(zip(_FETCHED, walks, strict=True))
    if zen == 2:  # which has no name for coalesced pages there
        by_size["if4k"] += by_size.pop("coalesced_4k")
    events |= {f"bp_l1_tlb_miss_l2_tlb_miss.{size}": number for size, number in by_size.items()}
    return events | {f"bp_l1_tlb_miss_l2_tlb_miss{total}": sum(walks)}
