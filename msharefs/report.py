"""The report on regions: for ``--json``, and in /sys/kernel/debug/mshare.

No posted kernel shows any of this (the figures of a host mm are in no /proc entry).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from emu.fs.dentry import d_path
from emu.fs.file import file_of
from emu.mm.pagetable import ADDRESS, span
from emu.mm.vma import Vma
from mmu.entries import PS
from mmu.memory import PAGE_SHIFT
from msharefs.accounting import prot_text

if TYPE_CHECKING:
    from msharefs.region import Region


def shared_tables(region: Region) -> Iterator[dict[str, Any]]:
    """Each table that can be linked: its address, its range, and how many entries of sharers point at it."""
    share_counts, makers = region.kernel.share_counts, region.figures.table_makers
    for address, frame in sorted(_linkable(region)):
        yield {
            "paddr": frame << PAGE_SHIFT,
            "level": region.level,
            "region_offset": address - region.host_base,
            "share_count": share_counts[frame],
            "made_by": makers.get(address),
        }


def _linkable(region: Region) -> Iterator[tuple[int, int]]:
    """(host address, frame) of the tables that slots link."""
    tables, q = region.host.tables, region.host.frames.ram.qwords
    todo = [(tables.levels, tables.pgd_frame, 0)]
    while todo:
        level, frame, base = todo.pop()
        for slot in tables.set_slots(frame << 9, 512):
            address, entry = base + (slot & 511) * span(level), q[slot]
            if entry & PS:
                continue
            child = (entry & ADDRESS) >> PAGE_SHIFT
            if level == region.link_level:
                yield address, child
            else:
                todo.append((level - 1, child, address))


def objects(region: Region) -> Iterator[dict[str, Any]]:
    """The objects mapped in the region, by offset."""
    for vma in region.host.vmas:
        yield {
            "region_offset": vma.start - region.host_base,
            "size_bytes": vma.length,
            "prot": prot_text(vma.prot),
            "backing": _backing(region, vma),
        }


def _backing(region: Region, vma: Vma) -> str:
    if (file := file_of(vma)) is not None:
        return d_path(file.path)
    return "anonymous, shared" if vma.page_cache is not None else "anonymous, private"


def describe(region: Region, pids: dict[int, int], *, ended: bool) -> dict[str, Any]:
    """The region as ``--json`` shows it; an ended one with its peak figures.

    ``pids`` are the processes by the serial number of their address space.
    """
    figures, peaks = region.figures, region.figures.peaks
    owner = region.owner
    return {
        "name": region.name,
        "level": region.level,
        "abi": region.options.abi,
        "size_bytes": region.size,
        "sharers": peaks.sharers if ended else region.sharers,
        "sharer_pids": sorted(pids[mm.serial] for mm in region.sharing if mm.serial in pids),
        "pagetable_bytes": peaks.pagetable_bytes if ended else region.host.tables.table_bytes,
        "resident_bytes": peaks.resident_bytes if ended else region.resident_bytes,
        "peak_sharers": peaks.sharers,
        "peak_pagetable_bytes": peaks.pagetable_bytes,
        "peak_resident_bytes": peaks.resident_bytes,
        "owner_pid": None if owner is None else owner.tgid,
        "owner_exit": "die" if region.dies_with_owner else "persist",
        "orphaned": region.orphaned,
        "links": figures.links,
        "unlinks": figures.unlinks,
        "link_faults": figures.link_faults,
        "populate_faults": figures.populate_faults,
        "populated": [{"pid": pid, "pages": pages} for pid, pages in sorted(figures.pages_by_pid.items())],
        "shared_tables": [] if ended else list(shared_tables(region)),
        "objects": [] if ended else list(objects(region)),
        "ended": ended,
    }


def text(regions: Iterable[dict[str, Any]]) -> str:
    """The same as text: /sys/kernel/debug/mshare."""
    return "".join("\n".join(_lines(region)) + "\n" for region in regions)


def _lines(region: dict[str, Any]) -> Iterator[str]:
    state = ", ended" if region["ended"] else ", orphaned" if region["orphaned"] else ""
    yield f"{region['name']}: level {region['level']}, abi {region['abi']}, {region['size_bytes']} bytes{state}"
    owner = "nobody" if region["owner_pid"] is None else region["owner_pid"]
    yield f"  owner {owner} ({region['owner_exit']})"
    yield _joined(f"  sharers {region['sharers']} (at most {region['peak_sharers']})", region["sharer_pids"])
    for name in ("pagetable", "resident"):
        yield f"  {name} {region[name + '_bytes']} bytes (at most {region[f'peak_{name}_bytes']})"
    yield f"  links {region['links']}, unlinks {region['unlinks']}"
    yield f"  faults: link {region['link_faults']}, populate {region['populate_faults']}"
    for table in region["shared_tables"]:
        maker = "" if table["made_by"] is None else f", made by {table['made_by']}"
        yield (
            f"  {table['level']} table {table['paddr']:#x} at +{table['region_offset']:#x}: "
            f"shared {table['share_count']} times{maker}"
        )
    for item in region["objects"]:
        end = item["region_offset"] + item["size_bytes"]
        yield f"  object +{item['region_offset']:#x}-{end:#x} {item['prot']} {item['backing']}"
    for part in region["populated"]:
        yield f"  populated by {part['pid']}: {part['pages']} pages"


def _joined(head: str, numbers: list[int]) -> str:
    return f"{head}: {' '.join(map(str, numbers))}" if numbers else head
