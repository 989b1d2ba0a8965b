"""What /proc says about memory: maps, smaps, status, pagemap, meminfo (fs/proc/task_mmu.c)."""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from emu.fs.dentry import d_path
from emu.fs.file import file_of
from emu.kernel.signal_state import mask_of
from emu.kernel.task import STATE_LETTER, limits_of
from emu.kernel.vdso import VSYSCALL
from emu.linux.errors import LinuxError
from emu.linux.limits import INFINITY, Rlimit
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameKind
from emu.mm.hugefault import head_of, huge_bytes
from emu.mm.mlock import locked_pages
from emu.mm.pagetable import ADDRESS, SPECIAL, A, D, P
from emu.mm.vma import Vma
from emu.proc.system import cpu_list
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

#: The page of emu.kernel.vsyscall, which is no VMA (gate_vma).
GATE_LINE = f"{f'{VSYSCALL:x}-{VSYSCALL + PAGE_SIZE:x} --xp 00000000 00:00 0 ':<73}[vsyscall]"
_RIGHTS = (Prot.READ, Prot.WRITE, Prot.EXEC)
_PAGEMAP_FILE, _PAGEMAP_EXCLUSIVE, _PAGEMAP_PRESENT = 1 << 61, 1 << 56, 1 << 63

#: What smaps counts, in kB.
_FIGURES = (
    "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous",
)  # fmt: skip
_HUGE_FIGURES = ("Shared_Hugetlb", "Private_Hugetlb")


def _vma_name(kernel: Kernel, task: Task, vma: Vma) -> str:
    if name := vma.ops.name(vma):
        return name
    if (file := file_of(vma)) is not None:
        return d_path(file.path, task.fs.root)
    if vma.page_cache is not None:
        return "/dev/zero (deleted)"
    if vma.start < task.mm.brk_end and vma.end > task.mm.start_brk:
        return "[heap]"
    if vma.start <= task.mm.start_stack < vma.end:
        return "[stack]"
    return ""


def _maps_line(kernel: Kernel, task: Task, vma: Vma) -> str:
    rights = "".join(letter if vma.prot & bit else "-" for letter, bit in zip("rwx", _RIGHTS, strict=True))
    pgoff = inode = device = 0
    file = file_of(vma)
    if (file is not None or vma.page_cache is not None) and not vma.ops.special:
        pgoff = vma.pgoff << PAGE_SHIFT
        inode, device = (0, 1) if file is None else (file.inode.ino, file.inode.sb.dev)
    major, minor = device >> 8 & 0xFFF, device & 0xFF
    rights += "s" if vma.shared else "p"
    head = f"{vma.start:08x}-{vma.end:08x} {rights} {pgoff:08x} {major:02x}:{minor:02x} {inode} "
    name = _vma_name(kernel, task, vma)
    return f"{head:<73}{name}" if name else head


def maps(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/maps."""
    text = io.BytesIO()  # there may be 65,530: one string for each would take several times as much
    for vma in task.mm.vmas:
        kernel.stop.check()
        text.write(_encode([_maps_line(kernel, task, vma)]))
    text.write(_encode([GATE_LINE]))
    return text.getvalue()


def _encode(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _present(mm: AddressSpace, vma: Vma) -> Iterator[int]:
    """Every set PTE of a VMA, as the CPU would find it."""
    for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
        mm.stop.check()
        view = mm.tables.words[slot : slot + number]
        yield from view[view != 0].tolist()


def _smaps_figures(mm: AddressSpace, vma: Vma) -> dict[str, int]:
    figures = dict.fromkeys(_FIGURES, 0)
    pss = 0
    for pte in _present(mm, vma):
        if not pte & P or pte & SPECIAL or vma.flags & VmFlags.PFNMAP:
            continue
        frame = (pte & ADDRESS) >> PAGE_SHIFT
        anon = mm.frames.kind(frame) == FrameKind.ANON
        mapped = mm.frames.count(frame) - (0 if anon else 1)  # the page cache's own reference
        figures["Rss"] += 4
        pss += 4096 * 4096 // max(1, mapped)
        figures[("Shared_" if mapped > 1 else "Private_") + ("Dirty" if pte & D else "Clean")] += 4
        figures["Referenced"] += 4 if pte & A else 0
        figures["Anonymous"] += 4 if anon else 0
    figures["Pss"] = pss // 4096 // 1024
    return figures


def _huge_figures(mm: AddressSpace, vma: Vma) -> dict[str, int]:
    """Huge pages, which the figures above leave out: those with several mappings, and those with one."""
    figures = dict.fromkeys(_HUGE_FIGURES, 0)
    if vma.ops.leaf_level > 1:
        for address, slot in mm.tables.huge_slots(vma.start, vma.end):
            mapped = vma.ops.huge_page_use(vma, address, head_of(mm.frames.ram.qwords[slot])).mapped
            figures["Shared_Hugetlb" if mapped > 1 else "Private_Hugetlb"] += vma.ops.page_size >> 10
    return figures


#: Mnemonics in the order of the bits (show_smap_vma_flags).
_FLAG_NAMES = (
    (VmFlags.GROWSDOWN, "gd"), (VmFlags.PFNMAP, "pf"), (VmFlags.LOCKED, "lo"), (VmFlags.IO, "io"),
    (VmFlags.SEQ_READ, "sr"), (VmFlags.RAND_READ, "rr"),
    (VmFlags.DONTCOPY, "dc"), (VmFlags.DONTEXPAND, "de"), (VmFlags.LOCKONFAULT, "lf"), (VmFlags.ACCOUNT, "ac"),
    (VmFlags.NORESERVE, "nr"), (VmFlags.NONE, "ht"), (VmFlags.WIPEONFORK, "wf"), (VmFlags.DONTDUMP, "dd"),
    (VmFlags.HUGEPAGE, "hg"), (VmFlags.NOHUGEPAGE, "nh"), (VmFlags.MERGEABLE, "mg"), (VmFlags.SEALED, "sl"),
)  # fmt: skip


def _flag_names(vma: Vma) -> list[str]:
    writable = not vma.flags & VmFlags.NEVERWRITE
    names = [word for bit, word in ((Prot.READ, "rd"), (Prot.WRITE, "wr"), (Prot.EXEC, "ex")) if vma.prot & bit]
    names += ["sh"] if vma.shared and writable else []
    names += ["mr", "mw"] if writable else ["mr"]
    names += [] if vma.flags & VmFlags.NEVEREXEC else ["me"]
    names += ["ms"] if vma.shared else []
    own = vma.ops.flag_names
    names += [name for flag, name in _FLAG_NAMES if vma.flags & flag or name in own]
    return names + [name for name in own if name not in names]


def statm(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/statm: size, resident, shared, text, 0, data and stack, 0; in pages."""
    mm = task.mm
    text = sum(vma.length for vma in mm.vmas if vma.prot & Prot.EXEC and not vma.prot & Prot.WRITE)
    data = sum(vma.length for vma in mm.vmas if vma.prot & Prot.WRITE and not vma.shared)
    pages = (mm.total_bytes // PAGE_SIZE, mm.rss_anon + mm.rss_cache, mm.rss_cache, text // PAGE_SIZE, 0)
    return " ".join(map(str, (*pages, data // PAGE_SIZE, 0))).encode() + b"\n"


def smaps(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/smaps: kilobytes by VMA, counted from the tables."""
    text = io.BytesIO()
    for vma in task.mm.vmas:
        kernel.stop.check()
        lines = [_maps_line(kernel, task, vma)]
        page = vma.ops.page_size >> 10
        lines += [f"Size:{vma.length >> 10:>19} kB", f"KernelPageSize:{page:>9} kB", f"MMUPageSize:{page:>12} kB"]
        lines += [f"{name + ':':<16}{value:>8} kB" for name, value in _smaps_figures(task.mm, vma).items()]
        lines += [f"{name + ':':<16}{value:>8} kB" for name, value in _huge_figures(task.mm, vma).items()]
        flags = _flag_names(vma)
        lines.append("VmFlags: " + " ".join(flags) + " ")
        text.write(_encode(lines))
    lines = [GATE_LINE, f"Size:{4:>19} kB", f"KernelPageSize:{4:>9} kB", f"MMUPageSize:{4:>12} kB"]
    lines += [f"{name + ':':<16}{0:>8} kB" for name in (*_FIGURES, *_HUGE_FIGURES)]
    text.write(_encode([*lines, "VmFlags: ex "]))
    return text.getvalue()


def status(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/status."""
    mm, who = task.mm, task.credentials
    letter = STATE_LETTER[task.state]
    words = {"R": "running", "S": "sleeping", "Z": "zombie", "X": "dead"}
    rss = (mm.rss_anon + mm.rss_cache) << 2
    fields = {
        "Name": task.comm,
        "Umask": f"{task.fs.umask:04o}",
        "State": f"{letter} ({words[letter]})",
        "Tgid": task.tgid,
        "Pid": task.pid,
        "PPid": task.ppid,
        "TracerPid": 0,
        "Uid": f"{who.uid}\t{who.euid}\t{who.euid}\t{who.euid}",
        "Gid": f"{who.gid}\t{who.egid}\t{who.egid}\t{who.egid}",
        "FDSize": max(64, len(task.files)),
        "VmSize": f"{mm.total_bytes >> 10:>8} kB",
        "VmLck": f"{mm.locked_bytes >> 10:>8} kB",
        "VmRSS": f"{rss:>8} kB",
        "RssAnon": f"{mm.rss_anon << 2:>8} kB",
        "RssFile": "       0 kB",
        "RssShmem": f"{mm.rss_cache << 2:>8} kB",
        "VmPTE": f"{mm.tables.vm_pte_bytes >> 10:>8} kB",
        "VmData": f"{mm.data_bytes >> 10:>8} kB",
        "VmSwap": "       0 kB",
        "HugetlbPages": f"{huge_bytes(mm) >> 10:>8} kB",
        "Threads": len(task.group.threads.keys() | {task.tgid}),
        "SigPnd": f"{mask_of(task.signals.pending):016x}",
        "ShdPnd": f"{mask_of(task.signals.shared):016x}",
        "SigBlk": f"{task.signals.blocked:016x}",
        "Cpus_allowed": f"{kernel.scheduler.allowed(task):x}",
        "Cpus_allowed_list": cpu_list(kernel.scheduler.allowed(task)),
        "voluntary_ctxt_switches": task.usage.voluntary_switches,
        "nonvoluntary_ctxt_switches": task.usage.involuntary_switches,
    }
    return "".join(f"{name}:\t{value}\n" for name, value in fields.items()).encode("utf-8", "surrogateescape")


def _huge_pagemap_bits(mm: AddressSpace, address: int, frame: int) -> int:
    vma = mm.vmas.find(address)
    if vma is None:
        return _PAGEMAP_FILE
    use = vma.ops.huge_page_use(vma, address, frame)
    return (_PAGEMAP_FILE if use.of_file else 0) | (_PAGEMAP_EXCLUSIVE if use.mapped == 1 else 0)


def pagemap(kernel: Kernel, task: Task, count: int, pos: int) -> bytes:
    """/proc/PID/pagemap: one 64-bit word a page (Documentation/admin-guide/mm/pagemap.rst); empty for an ended process,
    whose page tables have been freed.
    """
    if pos % 8 or count % 8 or not task.alive:
        return b""
    mm = task.mm
    first = pos // 8
    words = []
    for page in range(first, min(first + min(count, 1 << 16) // 8, 1 << 35)):
        pte = mm.tables.pte(page << PAGE_SHIFT)
        if not pte & P:
            words.append(0)
            continue
        frame = (pte & ADDRESS) >> PAGE_SHIFT
        word = _PAGEMAP_PRESENT | frame
        if kernel.huge_pages.holds(frame):
            word |= _huge_pagemap_bits(mm, page << PAGE_SHIFT, frame)
        elif not pte & SPECIAL:
            anon = mm.frames.kind(frame) == FrameKind.ANON
            word |= 0 if anon else _PAGEMAP_FILE
            if mm.frames.count(frame) - (0 if anon else 1) == 1:
                word |= _PAGEMAP_EXCLUSIVE
        words.append(word)
    return struct.pack(f"<{len(words)}Q", *words)


def meminfo(kernel: Kernel) -> bytes:
    """/proc/meminfo."""
    frames = kernel.frames
    used, commit = frames.used, kernel.mm_context.commit
    clean = 0 if frames.reclaimer is None else frames.reclaimer.clean_pages
    spaces = kernel.mm_context.address_spaces.values()
    figures = {
        "MemTotal": frames.total, "MemFree": frames.free, "MemAvailable": frames.free + clean, "Buffers": 0,
        "Cached": used[FrameKind.CACHE], "SwapCached": 0, "Mlocked": locked_pages(spaces), "SwapTotal": 0,
        "SwapFree": 0, "AnonPages": used[FrameKind.ANON],
        "Mapped": sum(mm.rss_cache for mm in spaces), "Shmem": used[FrameKind.CACHE] - clean,
        "Slab": frames.kmem.pages, "SReclaimable": 0, "SUnreclaim": frames.kmem.pages,
        "PageTables": used[FrameKind.PAGETABLE], "CommitLimit": commit.limit, "Committed_AS": commit.pages,
    }  # fmt: skip
    text = "".join(f"{name + ':':<16}{pages * PAGE_SIZE >> 10:>8} kB\n" for name, pages in figures.items())
    text += "".join(f"{name + ':':<16}{number:>8}{unit}\n" for name, number, unit in kernel.huge_pages.meminfo())
    return text.encode()


#: Name and unit in /proc/PID/limits.
_SHOWN = (
    ("Max cpu time", "seconds"), ("Max file size", "bytes"), ("Max data size", "bytes"), ("Max stack size", "bytes"),
    ("Max core file size", "bytes"), ("Max resident set", "bytes"), ("Max processes", "processes"),
    ("Max open files", "files"), ("Max locked memory", "bytes"), ("Max address space", "bytes"),
    ("Max file locks", "locks"), ("Max pending signals", "signals"), ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""), ("Max realtime priority", ""), ("Max realtime timeout", "us"),
)  # fmt: skip


def limits(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/limits."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for resource, (name, unit) in zip(Rlimit, _SHOWN, strict=True):
        soft, hard = ("unlimited" if value == INFINITY else str(value) for value in limits_of(task, resource))
        lines.append(f"{name:<25} {soft:<20} {hard:<20} {f'{unit:<10}' if unit else ''}\n")
    return "".join(lines).encode()


PID_FILES = {"limits": limits, "maps": maps, "smaps": smaps, "statm": statm, "status": status}
PID_READERS = {"pagemap": pagemap}


def init(kernel: Kernel) -> None:
    """/proc/meminfo, and /proc/sys/vm: overcommit_*, nr_hugepages."""
    commit, pool, procfs = kernel.mm_context.commit, kernel.huge_pages, kernel.vfs.procfs
    procfs.add_sysctl("vm/overcommit_memory", lambda: b"%d\n" % commit.mode, commit.set_mode)
    procfs.add_sysctl("vm/overcommit_ratio", lambda: b"%d\n" % commit.ratio, commit.set_ratio)
    procfs.add_sysctl("vm/overcommit_kbytes", lambda: b"%d\n" % commit.kbytes, commit.set_kbytes)
    procfs.add_sysctl("vm/nr_hugepages", lambda: b"%d\n" % pool.size, pool.resize)
    procfs.create_file("meminfo", lambda: meminfo(kernel))


_ALL, _ANON, _MAPPED, _SOFT_DIRTY, _HIWATER = range(1, 6)


def clear_refs(mm: AddressSpace, data: bytes) -> None:
    """What is written to /proc/PID/clear_refs: 1 clears the A bit of all pages, 2 of anonymous, 3 of mapped ones.

    4 (soft-dirty bits, of which there are none) and 5 are accepted.  LinuxError(EINVAL) for anything else.
    """
    try:
        kind = int(data.strip(b" \n\0"))
    except ValueError:
        raise LinuxError(errno.EINVAL) from None
    if kind not in (_ALL, _ANON, _MAPPED, _SOFT_DIRTY, _HIWATER):
        raise LinuxError(errno.EINVAL)
    if kind in (_SOFT_DIRTY, _HIWATER):
        return
    for vma in mm.vmas:
        mm.stop.check()
        if kind != _ALL and (vma.file is None) != (kind == _ANON):
            continue
        for start, end in mm.pieces(vma.start, vma.end):
            flush = mm.obligation(start, end)
            for _, slot, number in mm.tables.pte_tables(start, end):
                view = mm.tables.words[slot : slot + number]
                view[view != 0] &= np.uint64(~A & (1 << 64) - 1)
            flush.flush()
