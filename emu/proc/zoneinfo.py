"""/proc/zoneinfo: one node with one zone that has memory (zoneinfo_show_print)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.proc.meminfo import node_figures, zone_figures
from emu.proc.vmstat import NUMA_EVENTS, OF_NODE, OF_ZONE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_ZONES = ("DMA", "DMA32", "Normal", "Movable", "Device")
#: Of each processor's list of free pages, and where what is counted for it is told of.
_PAGESET = ("count", "high", "batch", "high_min", "high_max")


def zoneinfo(kernel: Kernel) -> bytes:
    """The file."""
    node, zone = node_figures(kernel), zone_figures(kernel)
    lines = [f"Node 0, zone {_ZONES[0]:>8}", "  per-node stats", *(_figure(name, node) for name in OF_NODE.split())]
    marks = kernel.mm_context.watermarks
    levels = {"min": marks.min, "low": marks.low, "high": marks.high, "promo": marks.promo}
    lines += _sizes(kernel.frames.free, kernel.frames.total, levels)
    lines += [_figure(name, zone) for name in (*OF_ZONE.split(), *NUMA_EVENTS.split())]
    lines.append("  pagesets")
    for cpu in range(kernel.cpus):
        lines += [
            f"    cpu: {cpu}",
            *(f"              {name + ':':<9} 0" for name in _PAGESET),
            "  vm stats threshold: 0",
        ]
    lines += ["  node_unreclaimable:  0", "  start_pfn:           0"]
    for name in _ZONES[1:]:
        lines += [f"Node 0, zone {name:>8}", *_sizes(0, 0, dict.fromkeys(levels, 0))]
    return "".join(f"{line}\n" for line in lines).encode()


def _figure(name: str, figures: dict[str, int]) -> str:
    return f"      {name:<12} {figures.get(name, 0)}"


def _sizes(free: int, total: int, levels: dict[str, int]) -> list[str]:
    sizes = {"boost": 0, **levels, "spanned": total, "present": total}
    lines = [f"        {name:<8} {pages}" for name, pages in {**sizes, "managed": total, "cma": 0}.items()]
    return [f"  pages free     {free}", *lines, f"        protection: ({', '.join('0' for _ in _ZONES)})"]
