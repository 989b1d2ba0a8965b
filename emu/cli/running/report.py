"""The figures of a run: as a dictionary for ``--json``, and as text for ``--stats``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from emu.cli.arguments import format_size
from emu.cli.running.regioncounts import RegionCounts, kernel_counts
from emu.cpu.cpu import Cpu
from emu.kernel.kernel import Kernel
from emu.kernel.usage import Usage
from emu.machine import Machine
from mmu import Mmu

if TYPE_CHECKING:
    pass

#: Columns of the process table: heading, key in the figures.
_PROCESS_COLUMNS = (
    ("PID", "pid"),
    ("PPID", "ppid"),
    ("EXIT", "exit_status"),
    ("INSTRUCTIONS", "instructions"),
    ("FAULTS", "hardware_faults"),
    ("MINOR", "minor_faults"),
    ("MAJOR", "major_faults"),
    ("LINK", "link_faults"),
    ("RSS kB", "rss_bytes"),
    ("TABLES kB", "pagetable_bytes"),
)
_CYCLES_COLUMN = ("CYCLES", "translation_cycles")
_REGION_COLUMNS = (
    ("LEVEL", "level"),
    ("SIZE kB", "size_bytes"),
    ("SHARERS", "sharers"),
    ("RSS kB", "resident_bytes"),
    ("TABLES kB", "pagetable_bytes"),
)
_CPU_COLUMNS = (
    ("CPU", "cpu"),
    ("INSTRUCTIONS", "instructions"),
    ("SWITCHES", "context_switches"),
    ("FILLS", "fills"),
    ("WALKS", "walks"),
    ("FLUSHES", "flushes"),
    ("CR3 LOADS", "cr3_loads"),
    ("SHOOTDOWNS", "shootdowns_sent"),
    ("IPIS", "ipis_received"),
)
_CPU_PERF_COLUMNS = (
    ("CPU", "cpu"),
    *((f"{kind}{what}",) * 2 for kind in ("dTLB-load", "dTLB-store", "iTLB-load") for what in ("s", "-misses")),
)
_POLICY_COLUMNS = (("FLUSHES", "flushes"), ("SHOOTDOWNS", "sent"), ("IPIS", "ipis"), ("CYCLES", "cost_cycles"))
_TLB_COLUMNS = (
    ("LOOKUPS", "lookups"),
    ("HITS", "hits"),
    ("MISSES", "misses"),
    ("EVICTIONS", "evictions"),
    ("INVALIDATIONS", "invalidations"),
)
_STRUCTURE_COLUMNS = (("LOOKUPS", "lookups"), ("HITS", "hits"))
#: Of the figures of a process those that grow, as Usage has them.
_COUNTED = {
    "minor_faults": "min_flt", "major_faults": "maj_flt", "link_faults": "link_faults", "hardware_faults": "hw_faults",
    "instructions": "instructions", "translation_cycles": "translation_cycles",
}  # fmt: skip
_MMU_LINES = (
    ("fills", "fills", "translations that the CPU asked the MMU for"),
    ("walks", "page walks", ""),
    ("walk_loads", "walk loads", "entries that the walks read"),
    ("page_faults", "page faults", "walks that ended in a fault"),
    ("ad_updates", "A/D updates", "entries that a walk marked as accessed or dirty"),
    ("flushes", "flushes", "invalidations of a page, of a range or of everything"),
    ("cr3_loads", "CR3 loads", ""),
)


def figures(
    machine: Machine,
    status: int,
    reason: str,
    wall_s: float,
    findings: list[str] | None,
    stale: list[str] | None = None,
    region: RegionCounts | None = None,
) -> dict[str, Any]:
    """Everything that was counted, by name.

    Names match perf and /proc where the meaning is the same.  ``findings`` is None if nobody asked for an audit,
    ``stale`` if nobody asked to check the TLB; of a ``region`` of interest what it has counted is shown.
    """
    kernel = machine.kernel
    counted = counts(kernel, region)
    return {
        "exit_status": status,
        "ended_by": reason,
        "instructions": counted["instructions"],
        "context_switches": counted["context_switches"],
        "wall_s": round(wall_s, 6),
        "memory_bytes": machine.ram.size,
        "processes": machine.processes() if region is None else _in_region(machine.processes(), region),
        "regions": [],
        "mmu": {"mode": kernel.cpu.mmu.mode, "code": kernel.cpu.mmu.code, **counted["mmu"]},
        "engine": _engine(kernel.cpu),
        "cpus": counted["cpus"],
        **({} if region is None else {"region_of_interest": _of_region(region)}),
        "audit": {
            "ran": findings is not None,
            "findings": findings or [],
            "tlb_checked": stale is not None,
            "stale": stale or [],
        },
        **{name: report() for name, report in kernel.reporters.items()},
    }


def counts(kernel: Kernel, region: RegionCounts | None) -> dict[str, Any]:
    """The figures that grow while the machine runs, or as much as they grew within the region of interest."""
    of_kernel = kernel_counts(kernel) if region is None else region.kernel
    retired = [vcpu.instructions for vcpu in kernel.scheduler.vcpus] if region is None else region.instructions
    mmu = kernel.cpu.mmu
    with contextlib.nullcontext() if region is None else region.shown():
        return {
            "instructions": kernel.cpu.clock if region is None else sum(retired),
            "context_switches": of_kernel["context_switches"],
            "mmu": {**dataclasses.asdict(mmu.counters), **_tlb(mmu), "shootdowns": of_kernel["shootdowns"]},
            "cpus": [_cpu(mmu, number, retired[number], each) for number, each in enumerate(of_kernel["cpus"])],
        }


def _cpu(mmu: Mmu, number: int, instructions: int, of_kernel: dict[str, int]) -> dict[str, Any]:
    """What a vCPU did."""
    tlb = {name: value for name, value in _tlb(mmu, number).items() if name != "geometry"}
    switches = {"context_switches": of_kernel["context_switches"]}
    counters = dataclasses.asdict(mmu.counters_of(number))
    return {"cpu": number, "instructions": instructions, **switches, **counters, **tlb, **of_kernel}


def _in_region(processes: list[dict[str, Any]], region: RegionCounts) -> list[dict[str, Any]]:
    """The figures of processes, as far as they count something, are those of the region."""
    usages = [region.processes.get(process["pid"], Usage()) for process in processes]
    return [
        {**process, **{name: getattr(usage, field) for name, field in _COUNTED.items()}}
        for process, usage in zip(processes, usages, strict=True)
    ]


def _of_region(region: RegionCounts) -> dict[str, Any]:
    return {"asked_for": region.text, "entered": region.entered, "elapsed_ns": region.elapsed}


def _tlb(mmu: Mmu, cpu: int | None = None) -> dict[str, Any]:
    """What the modelled TLB of a vCPU counted, or all of them together, by level and array; nothing in filtered mode,
    which models none.
    """
    if mmu.tlb is None:
        return {"geometry": None, "tlb": {}, "structure_caches": {}, "perf": {}, "latency": None, "nested": None}
    from mmu.model_figures import model_figures
    from mmu.perf_events import perf_events

    return model_figures(mmu.tlb.geometry, mmu.tlbs if cpu is None else (mmu.tlbs[cpu],), perf_events(mmu, cpu))


def to_json(run: dict[str, Any]) -> bytes:
    """The figures as an indented JSON document."""
    return (json.dumps(run, indent=2) + "\n").encode()


def stats_text(run: dict[str, Any], command: str) -> str:
    """The figures in the manner of perf stat."""
    mmu, processes, wall_s = run["mmu"], run["processes"], run["wall_s"]
    speed = f"{run['instructions'] / wall_s / 1e6:,.1f} million a second" if run["instructions"] > 1e6 else ""
    lines = ["", f" Statistics for '{command}':", "", *_region_lines(run.get("region_of_interest"))]
    lines.append(_count(run["instructions"], "instructions", speed))
    lines.append(_count(run["context_switches"], "context switches", ""))
    lines += [_count(mmu[key], name, meaning) for key, name, meaning in _MMU_LINES]
    if mmu["mode"] == "exact":
        lines += [
            "",
            f" TLB: {mmu['geometry']}",
            "",
            *_perf_lines(mmu["perf"]),
            *_latency_lines(mmu),
            *_nested_lines(mmu),
            "",
            *_tlb_lines(mmu),
        ]
    if len(run["cpus"]) > 1:
        lines += ["", *_shootdown_lines(mmu["shootdowns"]), "", *_table(_CPU_COLUMNS, run["cpus"], "", lambda _: "")]
        if mmu["mode"] == "exact":
            rows = [{"cpu": cpu["cpu"], **cpu["perf"]} for cpu in run["cpus"]]
            lines += ["", *_table(_CPU_PERF_COLUMNS, rows, "", lambda _: "")]
    columns = _PROCESS_COLUMNS if mmu["latency"] is None else (*_PROCESS_COLUMNS, _CYCLES_COLUMN)
    lines += ["", *_table(columns, processes, "COMMAND", lambda p: " ".join(p["argv"]))]
    if run["regions"]:
        lines += ["", *_table(_REGION_COLUMNS, run["regions"], "REGION", _region_name)]
    said = (run["engine"]["counting"], run["engine"]["accesses"])
    lines += ["", f" {wall_s:15.6f}  seconds", "", *(f" {line}" for line in said if line is not None), ""]
    return "\n".join(lines)


def _region_lines(region: dict[str, Any] | None) -> list[str]:
    if region is None:
        return []
    times = "once" if region["entered"] == 1 else f"{region['entered']:,} times"
    return [f" In the region {region['asked_for']}, which was entered {times}:", ""]


def _engine(cpu: Cpu) -> dict[str, Any]:
    """What was done to have the engine run faster."""
    path = cpu.mmu.fast_path
    return {
        "fast": not (cpu.inlining if path is None else path).why_not,
        "counting": cpu.inlining.state(),
        "accesses": None if path is None else path.state(),
    }


def _shootdown_lines(shootdowns: dict[str, Any]) -> list[str]:
    """The sums, and what each policy has sent."""
    lines = [
        _count(shootdowns["sent"], "TLB shootdowns", "flushes that other vCPUs were told of"),
        _count(shootdowns["ipis"], "shootdown IPIs", ""),
        _count(shootdowns["cost_cycles"], "shootdown cycles", "by the cost model; the clock does not count them"),
    ]
    rows = [{"policy": policy, **one} for policy, one in shootdowns["by_policy"].items()]
    return lines + (["", *_table(_POLICY_COLUMNS, rows, "POLICY", lambda row: row["policy"])] if rows else [])


def _perf_lines(perf: dict[str, int]) -> list[str]:
    """Accesses and misses with their ratio, as perf stat has them; then every other event that happened."""
    lines = []
    for kind in ("dTLB-load", "dTLB-store", "iTLB-load"):
        accesses, misses = perf[f"{kind}s"], perf[f"{kind}-misses"]
        lines.append(f" {accesses:15,}  {kind}s")
        share = f"# {misses / accesses:8.2%} of all {kind}s" if accesses else ""
        lines.append(f" {misses:15,}  {kind + '-misses':17} {share}".rstrip())
    generic = ("dTLB", "iTLB")
    return lines + [f" {n:15,}  {name}" for name, n in perf.items() if n and not name.startswith(generic)]


def _latency_lines(mmu: dict[str, Any]) -> list[str]:
    """What translations cost, of one walk on average, and where the entries were."""
    latency = mmu["latency"]
    if latency is None:
        return []
    hits, walks = (sum(each[name] for each in latency["by_access"].values()) for name in
                   ("stlb_hit_cycles", "walk_cycles"))  # fmt: skip
    number = mmu["walks"]
    lines = ["", _count(hits, "cycles of hits", "in the second level")]
    lines.append(_count(walks, "cycles of walks", f"{walks / number:.1f} a walk" if number else ""))
    return lines + [_count(n, f"loads, {name}", "entries that walks found there")
                    for name, n in latency["walk_loads"].items() if n]  # fmt: skip


def _nested_lines(mmu: dict[str, Any]) -> list[str]:
    """Entries that walks read in each dimension."""
    nested, loads, walks = mmu["nested"], mmu["walk_loads"], mmu["walks"]
    if nested is None:
        return []
    each = f"{(loads + nested['loads']) / walks:.2f} a walk of both dimensions" if walks else ""
    lines = ["", _count(loads, "guest entries", "read by walks"), _count(nested["loads"], "EPT entries", each)]
    lines.append(_count(nested["walks"], "EPT walks", f"through pages of {format_size(nested['page_size'])}"))
    if nested["tlb_hits"]:
        lines.append(_count(nested["tlb_hits"], "nested TLB hits", "guest-physical pages that were cached"))
    return [*lines, _count(nested["cycles"], "cycles of EPT", "")] if mmu["latency"] else lines


def _tlb_lines(mmu: dict[str, Any]) -> list[str]:
    rows = [{"array": name, **row} for arrays in mmu["tlb"].values() for name, row in arrays.items()]
    lines = _table(_TLB_COLUMNS, rows, "TLB", lambda row: row["array"]) if rows else []
    cached = [{"cache": name, **row} for name, row in mmu["structure_caches"].items()]
    if cached:
        lines += ["", *_table(_STRUCTURE_COLUMNS, cached, "PAGING-STRUCTURE CACHE", lambda row: row["cache"])]
    return lines


def _region_name(region: dict[str, Any]) -> str:
    return f"{region['name']} (ended)" if region["ended"] else str(region["name"])


def _count(value: int, name: str, meaning: str) -> str:
    return f" {value:15,}  {name:17} # {meaning}" if meaning else f" {value:15,}  {name}"


def _table(columns: Iterable[tuple[str, str]], rows: list[dict[str, Any]], last: str, name: Any) -> list[str]:
    columns = list(columns)
    cells = [[heading for heading, _ in columns]]
    cells += [[_cell(heading, row[key]) for heading, key in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    names = [last, *(name(row) for row in rows)]
    return [
        " " + "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) + f"  {what}".rstrip()
        for line, what in zip(cells, names, strict=True)
    ]


def _cell(heading: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value >> 10 if heading.endswith('kB') else value:,}" if heading not in ("PID", "PPID") else str(value)
