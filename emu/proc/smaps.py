"""/proc/PID/smaps, smaps_rollup and clear_refs: what mappings hold, counted from the tables (fs/proc/task_mmu.c)."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm.filepages import FilePages
from emu.mm.flags import VmFlags
from emu.mm.hugefault import head_of
from emu.mm.hugememory import clear_young
from emu.mm.hugepmd import anon_bytes, cached_bytes, is_eligible, leaves
from emu.mm.pageflags import PG_DIRTY, PG_LAZYFREE, PG_REFERENCED, FrameKind
from emu.mm.pagetable import SPECIAL, A, D
from emu.mm.rss import Entries, pages_of
from emu.mm.shmempages import ShmemPages
from emu.mm.swapops import here, slots_of, swapped
from emu.mm.vma import Vma
from emu.proc.memory import GATE_LINE, encode_lines, maps_line
from emu.proc.pidfile import PidFile
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

#: In the order of smaps; those of 0 are of what there is not: samepage merging.
_FIGURES = (
    "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced",
    "Anonymous", "KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb",
    "Private_Hugetlb", "Swap", "SwapPss", "Locked",
)  # fmt: skip
_SPECIAL, _A, _D = np.uint64(SPECIAL), np.uint64(A), np.uint64(D)
_PSS_KINDS = ("Pss_Anon", "Pss_File", "Pss_Shmem")


def present(mm: AddressSpace, vma: Vma) -> Iterator[Entries]:
    """Every PTE of a VMA that maps a page which counts (vm_normal_page), a table at a time."""
    if vma.flags & VmFlags.PFNMAP:
        return
    for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
        mm.stop.check()
        view = mm.tables.words[slot : slot + number]
        if len(mapping := view[here(view) & (view & _SPECIAL == 0)]):
            yield mapping
    for _, ptes in leaves(mm, vma.start, vma.end):
        if not int(ptes[0]) & SPECIAL:
            yield ptes


def is_of_file(vma: Vma) -> bool:
    """Whether pages of the mapping that are not anonymous count as those of a file, not as shared memory."""
    return isinstance(vma.page_cache, FilePages) or vma.ops.secret


def _figures(mm: AddressSpace, vma: Vma) -> dict[str, int]:
    """Bytes (mem_size_stats); what is proportional is scaled by 4096."""
    figures = dict.fromkeys((*_FIGURES, *_PSS_KINDS), 0)
    kind = "Pss_File" if is_of_file(vma) else "Pss_Shmem"
    for ptes in present(mm, vma):
        _add_pages(mm, ptes, kind, figures)
    figures["AnonHugePages"] = anon_bytes(mm, vma)
    figures["ShmemPmdMapped"] = cached_bytes(mm, vma)
    if mm.rss_swap:
        _add_swapped(mm, vma, figures)
    if isinstance(vma.page_cache, ShmemPages):
        figures["Swap"] += _swapped_shmem(mm, vma, vma.page_cache) << PAGE_SHIFT
    figures["Locked"] = figures["Pss"] if vma.flags & VmFlags.LOCKED else 0
    _add_huge(mm, vma, figures)
    return figures


def _add_pages(mm: AddressSpace, ptes: Entries, kind: str, figures: dict[str, int]) -> None:
    """Pages that these entries map; ``kind`` is what those count as that are not anonymous."""
    frames = pages_of(ptes)
    anon = mm.frames.kinds[frames] == FrameKind.ANON
    mapped, flags = mm.frames.mapcounts(frames), mm.frames.flags[frames]
    dirty = (ptes & _D != 0) | (flags & PG_DIRTY != 0)
    share = 4096 * 4096 // np.maximum(1, mapped).astype(np.int64)
    for name, part in (("Pss", share), ("Pss_Anon", share[anon]), (kind, share[~anon]), ("Pss_Dirty", share[dirty])):
        figures[name] += int(part.sum())
    figures["Rss"] += len(ptes) << PAGE_SHIFT
    several = mapped > 1
    for name, which in (
        ("Shared_Dirty", several & dirty),
        ("Shared_Clean", several & ~dirty),
        ("Private_Dirty", ~several & dirty),
        ("Private_Clean", ~several & ~dirty),
        ("Referenced", (ptes & _A != 0) | (flags & PG_REFERENCED != 0)),
        ("Anonymous", anon),
        ("LazyFree", anon & ~dirty & (flags & PG_LAZYFREE != 0)),
    ):
        figures[name] += int(np.count_nonzero(which)) << PAGE_SHIFT


def _add_swapped(mm: AddressSpace, vma: Vma, figures: dict[str, int]) -> None:
    """Private pages that lie in swap areas, and the part of them that is this mapping's."""
    for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
        view = mm.tables.words[slot : slot + number]
        for away in slots_of(view[swapped(view)]).tolist():
            figures["Swap"] += 4096
            figures["SwapPss"] += 4096 * 4096 // max(1, mm.context.swap.uses(away))


def _swapped_shmem(mm: AddressSpace, vma: Vma, cache: ShmemPages) -> int:
    """Pages of shared memory that lie in swap (shmem_swap_usage); where a private mapping may have copies, those for
    which it has no entry.
    """
    if not cache.swapped:
        return 0
    inside = [index for index in cache.swapped if vma.pgoff <= index < vma.pgoff + (vma.length >> PAGE_SHIFT)]
    if vma.shared or not vma.prot & Prot.WRITE:
        return len(inside)
    return sum(not mm.tables.pte(vma.start + (index - vma.pgoff << PAGE_SHIFT)) for index in inside)


def _add_huge(mm: AddressSpace, vma: Vma, figures: dict[str, int]) -> None:
    """Huge pages, which the other figures leave out: those with several mappings, and those with one."""
    if vma.ops.leaf_level > 1:
        for address, slot in mm.tables.huge_slots(vma.start, vma.end):
            mapped = vma.ops.huge_page_use(vma, address, head_of(mm.frames.ram.qwords[slot])).mapped
            figures["Shared_Hugetlb" if mapped > 1 else "Private_Hugetlb"] += vma.ops.page_size


_SCALED = frozenset({"Pss", "Pss_Dirty", "SwapPss", "Locked", *_PSS_KINDS})


def _line(name: str, figures: dict[str, int]) -> str:
    value = figures[name] >> (22 if name in _SCALED else 10)
    return f"{name + ':':<16}{value:>8} kB"


#: Mnemonics in the order of the bits (show_smap_vma_flags).
_FLAG_NAMES = (
    (VmFlags.GROWSDOWN, "gd"), (VmFlags.UFFD_MISSING, "um"), (VmFlags.PFNMAP, "pf"), (VmFlags.MAYBE_GUARD, "gu"),
    (VmFlags.UFFD_WP, "uw"),
    (VmFlags.LOCKED, "lo"), (VmFlags.IO, "io"),
    (VmFlags.SEQ_READ, "sr"), (VmFlags.RAND_READ, "rr"),
    (VmFlags.DONTCOPY, "dc"), (VmFlags.DONTEXPAND, "de"), (VmFlags.LOCKONFAULT, "lf"), (VmFlags.ACCOUNT, "ac"),
    (VmFlags.NORESERVE, "nr"), (VmFlags.NONE, "ht"), (VmFlags.WIPEONFORK, "wf"), (VmFlags.DONTDUMP, "dd"),
    (VmFlags.HUGEPAGE, "hg"), (VmFlags.NOHUGEPAGE, "nh"), (VmFlags.DROPPABLE, "dp"),
    (VmFlags.SEALED, "sl"),
)  # fmt: skip


def _flag_names(vma: Vma) -> list[str]:
    writable = not vma.flags & VmFlags.NEVERWRITE
    names = [word for bit, word in ((Prot.READ, "rd"), (Prot.WRITE, "wr"), (Prot.EXEC, "ex")) if vma.prot & bit]
    names += ["sh"] if vma.writes_through else []
    names += ["mr", "mw"] if writable else ["mr"]
    names += [] if vma.flags & VmFlags.NEVEREXEC else ["me"]
    names += ["ms"] if vma.shared else []
    own = vma.ops.flag_names
    names += [name for flag, name in _FLAG_NAMES if vma.flags & flag or name in own]
    return names + [name for name in own if name not in names]


def smaps(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/smaps."""
    text = io.BytesIO()
    for vma in task.mm.vmas:
        kernel.stop.check()
        figures = _figures(task.mm, vma)
        page = vma.ops.page_size >> 10
        text.write(
            encode_lines(
                _entry(
                    maps_line(kernel, task, vma), vma.length >> 10, page, figures, _flag_names(vma),
                    eligible=is_eligible(task.mm, vma),
                )
            )
        )  # fmt: skip
    none = dict.fromkeys(_FIGURES, 0)
    text.write(encode_lines(_entry(GATE_LINE, 4, 4, none, ["ex"])))
    return text.getvalue()


def _entry(
    head: str, size: int, page: int, figures: dict[str, int], flags: list[str], *, eligible: bool = False
) -> list[str]:
    lines = [head, f"Size:{size:>19} kB", f"KernelPageSize:{page:>9} kB", f"MMUPageSize:{page:>12} kB"]
    lines += [_line(name, figures) for name in _FIGURES]
    return [*lines, f"THPeligible:{int(eligible):>12}", "VmFlags: " + " ".join(flags) + " "]


def smaps_rollup(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/smaps_rollup: the sums of smaps.  LinuxError(ESRCH) for a process that has ended."""
    if not task.alive:
        raise LinuxError(errno.ESRCH)
    total = dict.fromkeys((*_FIGURES, *_PSS_KINDS), 0)
    vmas = list(task.mm.vmas)
    for vma in vmas:
        kernel.stop.check()
        for name, value in _figures(task.mm, vma).items():
            total[name] += value
    start, end = (vmas[0].start, vmas[-1].end) if vmas else (0, 0)
    head = f"{f'{start:08x}-{end:08x} ---p 00000000 00:00 0 ':<73}[rollup]"
    names = (*_FIGURES[:3], *_PSS_KINDS, *_FIGURES[3:])
    return encode_lines([head, *(_line(name, total) for name in names)])


#: What of a text written to clear_refs counts (PROC_NUMBUF).
_NUMBER_BYTES = 12
_ALL, _ANON, _MAPPED, _SOFT_DIRTY, _HIWATER = range(1, 6)


def _clear_refs(mm: AddressSpace, data: bytes) -> None:
    """What is written to /proc/PID/clear_refs: 1 clears the A bit of all pages, 2 of those that no object is behind, 3
    of the others; 5 forgets the peak of the resident memory.

    4 (soft-dirty bits, of which there are none) is accepted.  LinuxError(EINVAL) for anything else.
    """
    text = data[:_NUMBER_BYTES].partition(b"\0")[0].strip(b" \t\n\v\f\r")
    if not text.isdigit():
        raise LinuxError(errno.EINVAL)
    kind = int(text)
    if kind not in (_ALL, _ANON, _MAPPED, _SOFT_DIRTY, _HIWATER):
        raise LinuxError(errno.EINVAL)
    if kind == _HIWATER:
        mm.reset_peak()
    if kind in (_SOFT_DIRTY, _HIWATER):
        return
    for vma in mm.vmas:
        mm.stop.check()
        if kind != _ALL and (vma.object is None) != (kind == _ANON):
            continue
        for start, end in mm.pieces(vma.start, vma.end):
            flush = mm.obligation(start, end)
            clear_young(mm, start, end)
            for _, slot, number in mm.tables.pte_tables(start, end):
                view = mm.tables.words[slot : slot + number]
                mapping = here(view)
                view[mapping] &= np.uint64(~A & (1 << 64) - 1)
                mm.frames.flags[pages_of(view[mapping])] &= ~PG_REFERENCED & 0xFF
            flush.flush()


def clear_refs(kernel: Kernel, task: Task, data: bytes) -> None:
    """/proc/PID/clear_refs."""
    _clear_refs(task.mm, data)


PID_FILES = {
    "smaps": PidFile(smaps, private=True), "smaps_rollup": PidFile(smaps_rollup, private=True),
    "clear_refs": PidFile(lambda kernel, task: b"", 0o200, clear_refs),
}  # fmt: skip
