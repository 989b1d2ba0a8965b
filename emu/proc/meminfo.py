"""Files of /proc with figures of the machine's memory: meminfo, buddyinfo, kpageflags and others."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

import numpy as np

from emu.linux.errors import LinuxError
from emu.mm.buddy import MAX_ORDER, free_by_order
from emu.mm.frames import FrameAllocator
from emu.mm.hugepmd import mapped_heads
from emu.mm.pageflags import (
    BLOCK_FRAMES,
    PG_ACTIVE,
    PG_DIRTY,
    PG_LARGE,
    PG_LAZYFREE,
    PG_MAYBE_SHARED,
    PG_REFERENCED,
    PG_SWAPCACHE,
    FrameKind,
)
from emu.proc.pagelists import page_lists
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace

#: KPF_* (include/uapi/linux/kernel-page-flags.h).
_REFERENCED, _UPTODATE, _DIRTY, _LRU, _ACTIVE, _BUDDY, _MMAP, _ANON = 2, 3, 4, 5, 6, 10, 11, 12
_SWAPCACHE, _SWAPBACKED = 13, 14
_COMPOUND_HEAD, _COMPOUND_TAIL, _THP, _ZERO, _PGTABLE, _RESERVED, _ANON_EXCLUSIVE = (
    15, 16, 22, 24, 26, 32, 34,
)  # fmt: skip
_KIND_FLAGS = {
    FrameKind.FREE: 1 << _BUDDY,
    FrameKind.RESERVED: 1 << _RESERVED,
    FrameKind.PAGETABLE: 1 << _PGTABLE,
    FrameKind.ANON: 1 << _UPTODATE | 1 << _LRU | 1 << _MMAP | 1 << _ANON,
    FrameKind.CACHE: 1 << _UPTODATE | 1 << _LRU,
}
#: The room for vmalloc(), by the number of levels of page tables (VMALLOC_TOTAL).
_VMALLOC = {4: (1 << 45) - 1, 5: (12800 << 40) - 1}
#: The most words that one read of kpagecount and kpageflags gives.
_MOST_WORDS = 1 << 13


def _spaces(kernel: Kernel) -> list[AddressSpace]:
    return list(kernel.mm_context.address_spaces.values())


def anon_thps(kernel: Kernel) -> int:
    """NR_ANON_THPS: pages of private memory that are mapped by entries of 2 MiB."""
    return len(mapped_heads(_spaces(kernel), FrameKind.ANON)) << 9


def shmem_thps(kernel: Kernel) -> int:
    """NR_SHMEM_THPS: pages of shared memory that are parts of huge ones."""
    frames = kernel.frames
    if not any(cache.may_have_huge for cache in frames.page_caches):
        return 0
    return int(np.count_nonzero((frames.kinds == FrameKind.CACHE) & (frames.flags & PG_LARGE != 0)))


def pmd_mapped(kernel: Kernel) -> int:
    """NR_SHMEM_PMDMAPPED: those that entries of 2 MiB map."""
    return len(mapped_heads(_spaces(kernel), FrameKind.CACHE)) << 9


def meminfo(kernel: Kernel) -> bytes:
    """/proc/meminfo."""
    frames = kernel.frames
    used, commit, swap = frames.used, kernel.mm_context.commit, kernel.mm_context.swap
    clean = 0 if frames.reclaimer is None else frames.reclaimer.clean_pages
    pages = page_lists(kernel)
    lists = pages.lists
    figures = {
        "MemTotal": frames.total, "MemFree": frames.free, "MemAvailable": frames.free + clean, "Buffers": 0,
        "Cached": pages.file + pages.shmem, "SwapCached": swap.cached,
        "Active": lists.active_anon + lists.active_file, "Inactive": lists.inactive_anon + lists.inactive_file,
        "Active(anon)": lists.active_anon, "Inactive(anon)": lists.inactive_anon, "Active(file)": lists.active_file,
        "Inactive(file)": lists.inactive_file, "Unevictable": lists.unevictable, "Mlocked": lists.unevictable,
        "SwapTotal": swap.areas.total,
        "SwapFree": swap.areas.free, "Zswap": 0, "Zswapped": 0, "Dirty": 0, "Writeback": 0,
        "AnonPages": pages.anon, "Mapped": pages.mapped, "Shmem": pages.shmem, "KReclaimable": 0,
        "Slab": frames.kmem.pages, "SReclaimable": 0, "SUnreclaim": frames.kmem.pages, "KernelStack": 0,
        "PageTables": used[FrameKind.PAGETABLE], "SecPageTables": 0, "NFS_Unstable": 0, "Bounce": 0,
        "WritebackTmp": 0, "CommitLimit": commit.limit, "Committed_AS": commit.pages, "VmallocTotal": 0,
        "VmallocUsed": 0, "VmallocChunk": 0, "Percpu": 0, "AnonHugePages": anon_thps(kernel),
        "ShmemHugePages": shmem_thps(kernel), "ShmemPmdMapped": pmd_mapped(kernel),
        "FileHugePages": 0, "FilePmdMapped": 0, "Balloon": 0,
    }  # fmt: skip
    sizes = {name: pages * PAGE_SIZE >> 10 for name, pages in figures.items()}
    sizes["VmallocTotal"] = _VMALLOC[kernel.mm_context.levels] >> 10
    text = "".join(f"{name + ':':<16}{size:>8} kB\n" for name, size in sizes.items())
    text += "".join(f"{name + ':':<16}{number:>8}{unit}\n" for name, number, unit in kernel.huge_pages.meminfo())
    small = frames.total % BLOCK_FRAMES
    direct = {"4k": small, "2M": frames.total - small, "1G": 0}
    text += "".join(f"{f'DirectMap{size}:':<16}{pages * PAGE_SIZE >> 10:>8} kB\n" for size, pages in direct.items())
    return text.encode()


def node_figures(kernel: Kernel) -> dict[str, int]:
    """What there is of each kind, in pages."""
    frames = kernel.frames
    used = frames.used
    swap = kernel.mm_context.swap
    pages = page_lists(kernel)
    return {
        "nr_inactive_anon": pages.lists.inactive_anon, "nr_active_anon": pages.lists.active_anon,
        "nr_inactive_file": pages.lists.inactive_file, "nr_active_file": pages.lists.active_file,
        "nr_unevictable": pages.lists.unevictable, "nr_slab_reclaimable": 0,
        "nr_slab_unreclaimable": frames.kmem.pages, "nr_isolated_anon": 0, "nr_isolated_file": 0,
        "nr_anon_pages": pages.anon, "nr_mapped": pages.mapped,
        "nr_file_pages": pages.file + pages.shmem + swap.cached,
        "nr_dirty": 0, "nr_writeback": 0, "nr_shmem": pages.shmem,
        "nr_anon_transparent_hugepages": anon_thps(kernel) >> 9, "nr_shmem_hugepages": shmem_thps(kernel) >> 9,
        "nr_shmem_pmdmapped": pmd_mapped(kernel) >> 9,
        "nr_page_table_pages": used[FrameKind.PAGETABLE], "nr_swapcached": swap.cached,
        "nr_hugetlb": kernel.huge_pages.total << 9,
    }  # fmt: skip


def zone_figures(kernel: Kernel) -> dict[str, int]:
    """The figures of the one zone, in pages."""
    node = node_figures(kernel)
    zone = {"nr_free_pages": kernel.frames.free}
    for name in ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"):
        zone[f"nr_zone_{name}"] = node[f"nr_{name}"]
    return zone | {"nr_zone_write_pending": 0, "nr_mlock": node["nr_unevictable"], "nr_free_cma": 0}


def _free_blocks(kernel: Kernel) -> str:
    return " ".join(f"{count:>6}" for count in free_by_order(kernel.frames, kernel.stop))


def buddyinfo(kernel: Kernel) -> bytes:
    """/proc/buddyinfo."""
    return f"Node 0, zone      DMA {_free_blocks(kernel)} \n".encode()


def pagetypeinfo(kernel: Kernel) -> bytes:
    """/proc/pagetypeinfo: every free page can be used for anything."""
    head = "Page block order: 9\nPages per block:  512\n\nFree pages count per migrate type at order "
    head += " ".join(f"{order:>6}" for order in range(MAX_ORDER + 1)) + " \n"
    none = " ".join(["     0"] * (MAX_ORDER + 1))
    lines = [head]
    for name in ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"):
        counts = _free_blocks(kernel) if name == "Movable" else none
        lines.append(f"Node    0, zone      DMA, type {name:>12} {counts} \n")
    return "".join(lines).encode()


def _page_range(kernel: Kernel, count: int, pos: int) -> range:
    """The frames of a read of 64-bit words.  LinuxError(EINVAL) if it is not aligned."""
    if pos % 8 or count % 8:
        raise LinuxError(errno.EINVAL)
    first = pos // 8
    return range(first, min(first + min(count // 8, _MOST_WORDS), kernel.frames.ram.size >> PAGE_SHIFT))


def kpagecount(kernel: Kernel, count: int, pos: int) -> bytes:
    """/proc/kpagecount: how often each frame is mapped."""
    frames = kernel.frames
    words = []
    for frame in _page_range(kernel, count, pos):
        kind = frames.kind(frame)
        if kind == FrameKind.ANON:
            words.append(frames.mapcount(frame))
        else:
            words.append(max(0, frames.mapcount(frame)) if kind == FrameKind.CACHE else 0)
    return struct.pack(f"<{len(words)}Q", *words)


def _page_flags(frames: FrameAllocator, frame: int) -> int:
    """KPF_* of a frame (stable_page_flags)."""
    if frame == frames.zero_frame:
        return 1 << _ZERO | 1 << _REFERENCED | 1 << _RESERVED
    if frames.page_flags(frame) & PG_LARGE and frames.kind(frame) == FrameKind.RESERVED:  # the huge page of zeros
        return 1 << _ZERO | 1 << _THP | 1 << (_COMPOUND_TAIL if frame % BLOCK_FRAMES else _COMPOUND_HEAD)
    kind, flags = FrameKind(frames.kind(frame)), frames.page_flags(frame)
    word = _KIND_FLAGS[kind]
    if kind == FrameKind.CACHE:
        word |= 1 << _MMAP if frames.count(frame) > 1 else 0
        word |= 1 << _DIRTY if flags & PG_DIRTY else 0
        word |= 1 << _REFERENCED if flags & PG_REFERENCED else 0
        word |= 1 << _ACTIVE if flags & PG_ACTIVE else 0
    elif kind == FrameKind.ANON and not flags & PG_LAZYFREE:
        word |= 1 << _SWAPBACKED
        word |= 1 << _SWAPCACHE if flags & PG_SWAPCACHE else 0
    if kind == FrameKind.ANON and not flags & PG_MAYBE_SHARED:
        word |= 1 << _ANON_EXCLUSIVE
    if flags & PG_LARGE:
        word |= 1 << _THP | 1 << (_COMPOUND_TAIL if frame % BLOCK_FRAMES else _COMPOUND_HEAD)
    return word


def kpageflags(kernel: Kernel, count: int, pos: int) -> bytes:
    """/proc/kpageflags."""
    words = [_page_flags(kernel.frames, frame) for frame in _page_range(kernel, count, pos)]
    return struct.pack(f"<{len(words)}Q", *words)


def slabinfo(kernel: Kernel) -> bytes:
    """/proc/slabinfo: all objects of the kernel are in one cache, whose objects are bytes."""
    kmem = kernel.frames.kmem
    head = (
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : "
        "tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
    )
    line = f"{'kmem':<17} {kmem.charged:>6} {kmem.pages << PAGE_SHIFT:>6} {1:>6} {PAGE_SIZE:>4} {1:>4}"
    return f"{head}{line} : tunables {0:>4} {0:>4} {0:>4} : slabdata {kmem.pages:>6} {kmem.pages:>6} {0:>6}\n".encode()
