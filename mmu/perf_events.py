"""The counts of the TLB model, under the names of the ``perf`` events with the same meaning: Intel's, and for a
geometry that says so AMD's as well.

docs/mmu.md has the mapping and its differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmu.perf_amd import amd_events, amd_names
from mmu.registers import Access

if TYPE_CHECKING:
    from mmu.costs import TranslationCosts
    from mmu.model import TlbModel
    from mmu.plugin import Mmu

#: Intel's prefix for each kind of access (SDM vol. 3, chapter 20, and the event files of Skylake-SP).
_PREFIX = {Access.READ: "DTLB_LOAD_MISSES", Access.WRITE: "DTLB_STORE_MISSES", Access.FETCH: "ITLB_MISSES"}
#: The generic names of perf: accesses and misses.
_GENERIC = {
    Access.READ: ("dTLB-loads", "dTLB-load-misses"),
    Access.WRITE: ("dTLB-stores", "dTLB-store-misses"),
    Access.FETCH: ("iTLB-loads", "iTLB-load-misses"),
}
_COMPLETED = {"_4K": "walk_completed_4k", "_2M_4M": "walk_completed_2m", "_1G": "walk_completed_1g"}
#: Where a walk found an entry: the walk caches from the first on, or memory.
_SIDES = ("DTLB", "ITLB", "EPT_DTLB", "EPT_ITLB")
_FOUND = ("L1", "L2", "L3", "L4", "MEMORY")
#: The names of what is counted only where the geometry has latencies: cycles, and where the entries were.
LATENCY_NAMES = (
    *(f"{prefix}.{what}" for prefix in _PREFIX.values() for what in ("WALK_PENDING", "WALK_ACTIVE")),
    *(f"PAGE_WALKER_LOADS.{kind}_{found}" for kind in _SIDES for found in _FOUND),
    "EPT.WALK_PENDING",
)
#: What names of a geometry's counters begin with that are AMD's.
_AMD = "amdzen"
#: Every other name, but for those of one vendor (:mod:`mmu.perf_amd`).
NAMES = (
    *(name for pair in _GENERIC.values() for name in pair),
    *(
        f"{prefix}.{what}" for prefix in _PREFIX.values() for what in (
            "STLB_HIT", "MISS_CAUSES_A_WALK", "WALK_COMPLETED", *(f"WALK_COMPLETED{size}" for size in _COMPLETED),
        )
    ),
    "PAGE_WALKER_LOADS",
)  # fmt: skip


def perf_events(mmu: Mmu, processor: int | None = None) -> dict[str, int]:
    """Every event by its name, of one logical processor or of all together; empty in filtered mode, which models no
    TLB.
    """
    if processor is None:
        each = [perf_events(mmu, one) for one in range(mmu.processors)]
        return {name: sum(events[name] for events in each) for name in each[0]}
    if not mmu.tlbs:
        return {}
    return events_of(mmu.tlbs[processor], mmu.counters_of(processor).walk_loads)


def events_of(model: TlbModel, walk_loads: int) -> dict[str, int]:
    """Every event by its name, of one model, whose walks have read so many entries."""
    counted = model.access_counters()
    events: dict[str, int] = {}
    for access, (accesses, misses) in _GENERIC.items():
        kind = counted[access]
        events[accesses] = kind["accesses"] - kind["walk_faults"]
        events[misses] = sum(kind[name] for name in _COMPLETED.values())
    for access, prefix in _PREFIX.items():
        kind = counted[access]
        completed = sum(kind[name] for name in _COMPLETED.values())
        events[f"{prefix}.STLB_HIT"] = kind["stlb_hits"]
        events[f"{prefix}.MISS_CAUSES_A_WALK"] = completed + kind["walk_faults"]
        events[f"{prefix}.WALK_COMPLETED"] = completed
        for suffix, name in _COMPLETED.items():
            events[f"{prefix}.WALK_COMPLETED{suffix}"] = kind[name]
    events["PAGE_WALKER_LOADS"] = walk_loads
    if model.geometry.counters.startswith(_AMD):
        events |= amd_events(model, int(model.geometry.counters.removeprefix(_AMD)))
    if model.costs is None:
        return events
    second = model.second
    return events | _of_latency(model.costs) | {"EPT.WALK_PENDING": 0 if second is None else second.counts.cycles}


def _of_latency(costs: TranslationCosts) -> dict[str, int]:
    """What :data:`LATENCY_NAMES` count."""
    events: dict[str, int] = {}
    for access, cycles in costs.cycles().items():
        events |= dict.fromkeys((f"{_PREFIX[access]}.WALK_PENDING", f"{_PREFIX[access]}.WALK_ACTIVE"), cycles.walks)
    for nested in (False, True):
        *caches, memory = costs.loads(nested=nested).values()
        caches += [(0, 0)] * (len(_FOUND) - 1 - len(caches))
        for side, kind in enumerate(_SIDES[2:] if nested else _SIDES[:2]):
            for found, loads in zip(_FOUND, (*caches, memory), strict=True):
                events[f"PAGE_WALKER_LOADS.{kind}_{found}"] = loads[side]
    return events


def vendor_names(counters: str) -> tuple[str, ...]:
    """The names of the events that a geometry with these counters has besides those of all."""
    return amd_names(int(counters.removeprefix(_AMD))) if counters.startswith(_AMD) else ()
