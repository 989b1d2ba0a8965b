"""Core files: the memory and the registers of a process that a signal has ended (core(5); fs/coredump.c).

A core goes where kernel.core_pattern says, into the tree that the process sees.  No program runs for a pattern that
begins with "|", and nobody listens for one with "@": then no core is written, and WCOREDUMP says so.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from enum import IntFlag
from typing import TYPE_CHECKING, NamedTuple

from emu.fs import operations
from emu.fs.dentry import d_path
from emu.fs.file import file_of
from emu.kernel.corenotes import notes
from emu.kernel.rlimit import limits_of
from emu.kernel.vdso import VSYSCALL
from emu.linux.cost import BYTE_SHIFT
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.limits import INFINITY, Rlimit
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.gup import read_remote
from emu.mm.hugepmd import leaves
from emu.mm.pagetable import SPECIAL, P
from emu.mm.swapops import is_swapped
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_FLAGS = OpenFlags.CREAT | OpenFlags.WRONLY | OpenFlags.NOFOLLOW | OpenFlags.EXCL
#: CORENAME_MAX_SIZE; a page at a time would take a call of the file system each.
_LONGEST, _PIECE = 128, 64 * PAGE_SIZE
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_IDENT, _ELF = b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), b"\x7fELF"
_ET_CORE, _EM_X86_64, _PT_NOTE, _PT_LOAD = 4, 62, 4, 1


class CoreFilter(IntFlag):
    """/proc/PID/coredump_filter: which mappings are dumped."""

    ANON_PRIVATE = 1
    ANON_SHARED = 2
    MAPPED_PRIVATE = 4
    MAPPED_SHARED = 8
    ELF_HEADERS = 16
    HUGETLB_PRIVATE = 32
    HUGETLB_SHARED = 64


class _Segment(NamedTuple):
    start: int
    end: int
    #: PF_R, PF_W, PF_X.
    rights: int
    #: How many bytes are dumped.
    size: int
    vma: Vma | None


def dump_core(kernel: Kernel, task: Task, info: SigInfo) -> bool:
    """Write the core of a process that a signal ends; its thread ``task`` has the CPU.  Whether there is one."""
    limit, mm = limits_of(task, Rlimit.CORE)[0], task.mm
    if mm.dumpable != 1 or limit < PAGE_SIZE:
        return False
    name = core_name(kernel, task, info.signo)
    if not name:
        return False
    if kernel.current is task:
        task.context.save()
    try:
        file = _open(kernel, task, name)
    except LinuxError:
        return False
    try:
        writer = _Writer(file, limit if limit != INFINITY else 1 << 63)
        try:
            _write(writer, mm, notes(kernel, task, info), list(_segments(mm)))
        except LinuxError:
            pass  # no room, or a limit: the core is cut off, and is one all the same
        kernel.clock.charge(writer.written >> BYTE_SHIFT)
    finally:
        file.put()
    return True


def core_name(kernel: Kernel, task: Task, signo: int) -> str:
    """The file's name (format_corename); empty if no file is to be written."""
    pattern, group = kernel.core_pattern, task.group
    if not pattern or pattern[0] in "|@":
        return ""
    exe = "" if task.exe is None else d_path(task.exe, task.fs.root)
    values: dict[str, object] = {
        "%": "%", "p": task.sees(task.tgid), "P": task.tgid, "i": task.vpid, "I": task.pid, "u": task.credentials.uid,
        "g": task.credentials.gid, "d": task.mm.dumpable, "s": signo, "t": kernel.clock.realtime_ns() // 1_000_000_000,
        "h": _no_slash(task.ns.uts.hostname), "e": _no_slash(task.comm), "f": _no_slash(os.path.basename(exe)),
        "E": _no_slash(exe), "c": limits_of(group.leader, Rlimit.CORE)[0], "C": task.cpu,
    }  # fmt: skip
    parts, at = [], 0
    while at < len(pattern):
        if pattern[at] == "%":
            at += 1
            parts.append(str(values.get(pattern[at : at + 1], "")))
        else:
            parts.append(pattern[at])
        at += 1
    if kernel.core_uses_pid and "%p" not in pattern:
        parts.append(f".{task.sees(task.tgid)}")
    return "".join(parts)[: 32 * _LONGEST]


def _no_slash(text: str) -> str:
    """Neither a directory nor the name of one (cn_vprintf)."""
    return "!" + text[1:].replace("/", "!") if text in (".", "..") else text.replace("/", "!")


def _open(kernel: Kernel, task: Task, name: str) -> File:
    """A new file that nobody else has a name of."""
    walker = kernel.vfs.walker(task)
    try:
        operations.unlink(walker, name)
    except LinuxError:
        pass  # it does not exist; anything else shows when it is made
    file = kernel.vfs.open(name, _FLAGS, 0o600, task)
    if file.inode.mode & 0o677 != 0o600:  # by the umask: what others could read, or its owner not, stays empty
        file.put()
        raise LinuxError(errno.EPERM)
    return file


class _Writer:
    """The file, up to the limit of its size."""

    def __init__(self, file: File, limit: int) -> None:
        self._file, self._limit = file, limit
        self.written = 0
        self._at = 0

    def put(self, data: bytes) -> None:
        """Write at the place where it is (dump_emit).  LinuxError(EFBIG) beyond the limit."""
        if self.written + len(data) > self._limit:
            data = data[: (self._limit - self.written) & -PAGE_SIZE]
            self._write(data)
            raise LinuxError(errno.EFBIG)
        self._write(data)

    def _write(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            more = self._file.pwrite(data[done:], self._at + done)
            if not more:
                raise LinuxError(errno.ENOSPC)
            done += more
        self._at += done
        self.written += done

    def skip(self, count: int) -> None:
        """Leave a hole (dump_skip)."""
        self._at += count

    def end(self) -> None:
        """A hole at the end counts (dump_truncate)."""
        if self._file.inode.getattr().size < self._at:
            self._file.inode.truncate(self._at)


def _write(writer: _Writer, mm: AddressSpace, said: bytes, segments: list[_Segment]) -> None:
    number = len(segments) + 1
    place = _HEADER.size + number * _SEGMENT.size
    heads = [_SEGMENT.pack(_PT_NOTE, 0, place, 0, 0, len(said), 0, 4)]
    data = -(-(place + len(said)) // PAGE_SIZE) * PAGE_SIZE
    offset = data
    for segment in segments:
        length = segment.end - segment.start
        heads.append(_SEGMENT.pack(_PT_LOAD, segment.rights, offset, segment.start, 0, segment.size, length, PAGE_SIZE))
        offset += segment.size
    head = _HEADER.pack(
        _IDENT, _ET_CORE, _EM_X86_64, 1, 0, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, number, 0, 0, 0
    )
    writer.put(head + b"".join(heads) + said)
    writer.skip(data - place - len(said))
    for segment in segments:
        _write_segment(writer, mm, segment)
    writer.end()


def _write_segment(writer: _Writer, mm: AddressSpace, segment: _Segment) -> None:
    """What is there of it; the rest is a hole."""
    at, end, vma = segment.start, segment.start + segment.size, segment.vma
    if vma is None:
        writer.skip(segment.size)
        return
    from_file = vma.page_cache is not None and vma.ops.leaf_level == 1
    for address, size in [(at, segment.size)] if from_file else _present(mm, vma, at, end):
        writer.skip(address - at)
        at = address
        while at < address + size:
            mm.stop.check()
            try:
                data = read_remote(mm, at, min(_PIECE, address + size - at), force=True)
            except LinuxError:
                data = b""
            writer.put(data)
            at += len(data)
            if not data:
                writer.skip(PAGE_SIZE)
                at += PAGE_SIZE
    writer.skip(end - at)


def _present(mm: AddressSpace, vma: Vma, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Address and length of the runs of pages that a mapping has; pages of zeros that nobody has written are none."""
    if vma.ops.leaf_level > 1:
        for address, _ in mm.tables.huge_slots(start, end):
            yield address, vma.ops.page_size
        return
    first = last = 0
    tables = mm.tables.pte_tables(start, end)
    small = ((address, mm.tables.words[slot : slot + number]) for address, slot, number in tables)
    found = sorted([*small, *leaves(mm, start, end)], key=lambda pair: pair[0]) if mm.tables.transparent else small
    for address, entries in found:
        for n, pte in enumerate(entries.tolist()):
            if not is_swapped(pte) and (not pte & P or pte & SPECIAL):
                continue
            page = address + (n << PAGE_SHIFT)
            if page != last:
                if last:
                    yield first, last - first
                first = page
            last = page + PAGE_SIZE
    if last:
        yield first, last - first


def _segments(mm: AddressSpace) -> Iterator[_Segment]:
    """Every mapping, whether it is dumped or not, and the vsyscall page behind them."""
    for vma in mm.vmas:
        prot = vma.prot
        rights = bool(prot & Prot.READ) << 2 | bool(prot & Prot.WRITE) << 1 | bool(prot & Prot.EXEC)
        yield _Segment(vma.start, vma.end, rights, dump_size(mm, vma), vma)
    yield _Segment(VSYSCALL, VSYSCALL + PAGE_SIZE, 1, PAGE_SIZE, None)


def dump_size(mm: AddressSpace, vma: Vma) -> int:
    """How much of a mapping is dumped (vma_dump_size)."""
    wanted, flags, whole = CoreFilter(mm.coredump_filter), vma.flags, vma.length
    if vma.ops.special:
        return whole
    if flags & VmFlags.DONTDUMP:
        return 0
    if vma.ops.leaf_level > 1:
        return whole if wanted & (CoreFilter.HUGETLB_SHARED if vma.shared else CoreFilter.HUGETLB_PRIVATE) else 0
    if flags & VmFlags.IO:
        return 0
    file = file_of(vma)
    if vma.shared:
        named = file is not None and file.inode.nlink > 0
        return whole if wanted & (CoreFilter.MAPPED_SHARED if named else CoreFilter.ANON_SHARED) else 0
    if vma.anon_vma is not None and wanted & CoreFilter.ANON_PRIVATE:
        return whole
    if file is None:
        return 0
    if wanted & CoreFilter.MAPPED_PRIVATE:
        return whole
    if wanted & CoreFilter.ELF_HEADERS and vma.pgoff == 0 and vma.prot & Prot.READ:
        return PAGE_SIZE if vma.prot & Prot.EXEC or _begins_as_elf(mm, vma) else 0
    return 0


def _begins_as_elf(mm: AddressSpace, vma: Vma) -> bool:
    try:
        return read_remote(mm, vma.start, len(_ELF), force=True) == _ELF
    except LinuxError:
        return False
