"""/proc/PID/pagemap: a word a page, and the ioctl that finds pages of certain kinds (fs/proc/task_mmu.c)."""

from __future__ import annotations

import errno
import stat
import struct
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode
from emu.fs.pseudo import anywhere
from emu.linux.caller import may_access
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.mm.hugepmd import huge_slot
from emu.mm.pageflags import BLOCK_FRAMES, FrameKind
from emu.mm.pagetable import ADDRESS, SPECIAL, UFFD_WP_BIT
from emu.mm.swapops import GUARD, SWP_UFFD_WP, UFFD_WP, is_here, is_swapped, marked, swap_offset, swap_type
from emu.proc.pagescan import PAGEMAP_SCAN, pagemap_scan
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.superblock import SuperBlock
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace

#: PM_* (Documentation/admin-guide/mm/pagemap.rst).
_EXCLUSIVE, _UFFD_WP, _GUARD, _FILE, _SWAP, _PRESENT = 1 << 56, 1 << 57, 1 << 58, 1 << 61, 1 << 62, 1 << 63
_FRAME = (1 << 55) - 1
#: The most bytes of a read, and the pages of an address space.
_MOST, _PAGES = 1 << 16, (1 << 35) - 1
_TYPE_BITS = 5


class PagemapFile(Inode):
    """The file."""

    def __init__(self, sb: SuperBlock, kernel: Kernel, task: Task) -> None:
        super().__init__(sb, stat.S_IFREG | 0o400)
        self.kernel = kernel
        self.task = task

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if caller is not None and not may_access(caller, self.task):
            raise LinuxError(errno.EACCES)
        return PagemapHandle(path, flags, caller is None or caller.credentials.capable(SYS_ADMIN))


class PagemapHandle(File):
    """An open pagemap; only who opened it with CAP_SYS_ADMIN is told where pages are."""

    inode: PagemapFile

    def __init__(self, path: Path, flags: int, tells_frames: bool) -> None:
        super().__init__(path, flags)
        self._mask = -1 if tells_frames else ~_FRAME

    def pread(self, count: int, pos: int) -> bytes:
        """pagemap_read(); empty for an ended process, whose page tables have been freed."""
        task = self.inode.task
        if not task.alive:
            return b""
        if pos % 8 or count % 8:
            raise LinuxError(errno.EINVAL)
        first = pos // 8
        pages = range(first, min(first + min(count, _MOST) // 8, _PAGES))
        words = [_word(self.inode.kernel, task.mm, page << PAGE_SHIFT) & self._mask for page in pages]
        return struct.pack(f"<{len(words)}Q", *words)

    def lseek(self, offset: int, whence: int) -> int:
        """There is no end, and every place is one (mem_lseek)."""
        self.pos, pos = anywhere(self.pos, offset, whence)
        return pos

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command != PAGEMAP_SCAN:
            raise LinuxError(errno.EINVAL)
        if not self.inode.task.alive:
            raise LinuxError(errno.ESRCH)
        return pagemap_scan(self.inode.task.mm, caller.mm, argument)


def _word(kernel: Kernel, mm: AddressSpace, address: int) -> int:
    """pte_to_pagemap_entry()."""
    pte = mm.tables.pte(address)
    if not pte:
        return 0
    if not is_here(pte):
        if is_swapped(pte):
            return _SWAP | swap_type(pte) | swap_offset(pte) << _TYPE_BITS | (_UFFD_WP if pte & SWP_UFFD_WP else 0)
        what = marked(pte)
        word = _SWAP | swap_type(pte) | swap_offset(pte) << _TYPE_BITS
        return word | (_UFFD_WP if what & UFFD_WP else 0) | (_GUARD if what & GUARD else 0)
    frame = (pte & ADDRESS) >> PAGE_SHIFT
    word = _PRESENT | frame | (_UFFD_WP if pte & UFFD_WP_BIT else 0)
    if huge_slot(mm, address) is not None:
        return word | _of_huge_page(mm, frame & -BLOCK_FRAMES)
    if kernel.huge_pages.holds(frame):
        word |= _huge_bits(mm, address, frame)
    elif pte & SPECIAL and frame != mm.frames.zero_frame:
        return 0  # VM_PFNMAP is passed over (walk_page_test)
    elif not pte & SPECIAL:
        anon = mm.frames.kind(frame) == FrameKind.ANON
        word |= 0 if anon else _FILE
        if mm.frames.mapcount(frame) == 1:
            word |= _EXCLUSIVE
    return word


def _of_huge_page(mm: AddressSpace, head: int) -> int:
    """What holds of all 512 pages: nothing else maps the first; the huge page of zeros counts as of a file."""
    cached = not mm.frames.is_anon(head)
    alone = mm.frames.count(head) == 1 + cached
    return (_FILE if cached else 0) | (_EXCLUSIVE if alone and not mm.context.thp.is_zero(head) else 0)


def _huge_bits(mm: AddressSpace, address: int, frame: int) -> int:
    vma = mm.vmas.find(address)
    if vma is None:
        return _FILE
    use = vma.ops.huge_page_use(vma, address, frame)
    return (_FILE if use.of_file else 0) | (_EXCLUSIVE if use.mapped == 1 else 0)


PID_INODES = {"pagemap": PagemapFile}
