"""What models of a TLB have counted, as nested dictionaries: those of --json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mmu.entries import ENTRY_NAME
from mmu.geometry import Geometry
from mmu.model import TlbModel
from mmu.registers import Access


def model_figures(geometry: Geometry, models: Sequence[TlbModel], perf: Mapping[str, int]) -> dict[str, Any]:
    """The counters of all models of one geometry together, by level and array, and those of their structure caches;
    ``perf`` are their events (:mod:`mmu.perf_events`)."""
    counted = [model.array_counters() for model in models]
    levels: dict[str, dict[str, Any]] = {}
    for array in geometry.arrays:
        each = [dataclasses.asdict(counters[array.name]) for counters in counted]
        levels.setdefault(f"L{array.level}", {})[array.name] = {name: sum(c[name] for c in each) for name in each[0]}
    structures: dict[str, dict[str, int]] = {}
    for model in models:
        for level, (lookups, hits) in model.structure_counters().items():
            cache = structures.setdefault(ENTRY_NAME[level], {"lookups": 0, "hits": 0})
            cache["lookups"] += lookups
            cache["hits"] += hits
    return {
        "geometry": geometry.name,
        "tlb": levels,
        "structure_caches": structures,
        "perf": dict(perf),
        "latency": _latency(models),
        "nested": _nested(models),
    }


def _latency(models: Sequence[TlbModel]) -> dict[str, Any] | None:
    """The cycles that translations cost by kind of access, and the loads of walks by where the entry was; None where
    that is not counted.
    """
    cycles = {access.name.lower(): {"stlb_hit_cycles": 0, "walk_cycles": 0} for access in Access}
    loads: dict[str, int] = {}
    for model in models:
        if model.costs is None:
            return None
        for access, each in model.costs.cycles().items():
            cycles[access.name.lower()]["stlb_hit_cycles"] += each.stlb_hits
            cycles[access.name.lower()]["walk_cycles"] += each.walks
        for nested in (False, True):
            for name, sides in model.costs.loads(nested=nested).items():
                loads[name] = loads.get(name, 0) + sum(sides)
    return {"cycles": sum(sum(each.values()) for each in cycles.values()), "by_access": cycles, "walk_loads": loads}


def _nested(models: Sequence[TlbModel]) -> dict[str, Any] | None:
    """What was done in the second dimension of paging; None where there is none."""
    found: dict[str, Any] = {"structure_caches": {}}
    for model in models:
        if model.second is None:
            return None
        found["page_size"] = 1 << 12 + 9 * (model.second.nested.page_level - 1)
        for name, number in dataclasses.asdict(model.second.counts).items():
            found[name] = found.get(name, 0) + number
        for level, (lookups, hits) in model.second.cache_counters().items():
            if level:
                cache = found["structure_caches"].setdefault(ENTRY_NAME[level], {"lookups": 0, "hits": 0})
                cache["lookups"] += lookups
                cache["hits"] += hits
    return found
