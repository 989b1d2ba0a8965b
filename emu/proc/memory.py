"""What /proc says about memory: maps, smaps, status, pagemap, meminfo (fs/proc/task_mmu.c)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from emu.fs.dentry import d_path
from emu.fs.file import file_of
from emu.kernel.rlimit import limits_of
from emu.kernel.vdso import VSYSCALL
from emu.linux.limits import INFINITY, Rlimit
from emu.linux.mman import Prot
from emu.mm.address_space import page_align
from emu.mm.flags import VmFlags
from emu.mm.shmem import SharedAnonymous
from emu.mm.vma import Vma
from emu.proc.pidfile import PidFile
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

#: The page of emu.kernel.vsyscall, which is no VMA (gate_vma).
GATE_LINE = f"{f'{VSYSCALL:x}-{VSYSCALL + PAGE_SIZE:x} --xp 00000000 00:00 0 ':<73}[vsyscall]"
#: The device of the tmpfs with shared anonymous memory.
_SHMEM_DEVICE = 1
_RIGHTS = (Prot.READ, Prot.WRITE, Prot.EXEC)


def vma_name(kernel: Kernel, task: Task, vma: Vma) -> str:
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


def file_numbers(vma: Vma) -> tuple[int, int, int, int]:
    """The offset in the file behind a mapping, its inode, and the numbers of its device; all 0 without a file."""
    file, cache = file_of(vma), vma.page_cache
    if (file is None and cache is None) or vma.ops.special:
        return 0, 0, 0, 0
    if file is None:
        inode, device = cache.ino if isinstance(cache, SharedAnonymous) else 0, _SHMEM_DEVICE
    else:
        inode, device = file.inode.ino, file.inode.sb.dev
    return vma.pgoff << PAGE_SHIFT, inode, device >> 8 & 0xFFF, device & 0xFF


def maps_line(kernel: Kernel, task: Task, vma: Vma) -> str:
    rights = "".join(letter if vma.prot & bit else "-" for letter, bit in zip("rwx", _RIGHTS, strict=True))
    offset, inode, major, minor = file_numbers(vma)
    rights += "s" if vma.shared else "p"
    head = f"{vma.start:08x}-{vma.end:08x} {rights} {offset:08x} {major:02x}:{minor:02x} {inode} "
    name = vma_name(kernel, task, vma)
    return f"{head:<73}{name}" if name else head


def maps(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/maps."""
    text = io.BytesIO()  # there may be 65,530: one string for each would take several times as much
    for vma in task.mm.vmas:
        kernel.stop.check()
        text.write(encode_lines([maps_line(kernel, task, vma)]))
    text.write(encode_lines([GATE_LINE]))
    return text.getvalue()


def encode_lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def text_bytes(mm: AddressSpace) -> int:
    """The size of the program's code, in whole pages."""
    return page_align(mm.end_code) - (mm.start_code & -PAGE_SIZE)


def statm(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/statm: size, resident, shared, text, 0, data and stack, 0; in pages."""
    mm = task.mm
    pages = (mm.total_bytes // PAGE_SIZE, mm.rss_anon + mm.rss_cache, mm.rss_cache, text_bytes(mm) // PAGE_SIZE, 0)
    data = mm.data_bytes + stack_bytes(mm)
    return " ".join(map(str, (*pages, data // PAGE_SIZE, 0))).encode() + b"\n"


def is_code(vma: Vma) -> bool:
    """Whether it counts as code (is_exec_mapping)."""
    return bool(vma.prot & Prot.EXEC and not vma.prot & Prot.WRITE and not vma.flags & VmFlags.GROWSDOWN)


def stack_bytes(mm: AddressSpace) -> int:
    """The size of all that grows down, whatever its rights (stack_vm)."""
    return sum(vma.length for vma in mm.vmas if vma.flags & VmFlags.GROWSDOWN)


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


PID_FILES = {"limits": PidFile(limits), "statm": PidFile(statm)}
