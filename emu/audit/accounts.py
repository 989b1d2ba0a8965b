"""The kernel's books (references of frames and huge pages, promised memory), checked against what the audit counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from emu.audit.books import Books
from emu.mm.flags import UFFD_FLAGS, VmFlags
from emu.mm.frameusers import FrameHolder
from emu.mm.hugetlb import HugePageCache, promised_pages
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import FrameKind
from emu.mm.shmempages import ShmemPages
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Frames that are checked together.
_FRAMES = 1 << 20


def page_caches(books: Books, kernel: Kernel, spaces: list[AddressSpace]) -> list[FrameHolder]:
    """Every page cache, after checking that each knows the VMAs that map it, and no others."""
    for mm in spaces:
        for vma in mm.vmas:
            if vma.page_cache is not None and vma.page_cache.mappings.get(vma) is not mm:
                books.say(f"{mm.name} maps an object at {vma.start:#x} that does not list the mapping")
            _check_registered(books, mm, vma)
    caches = list(kernel.frames.page_caches)
    shown = [pair for cache in caches if isinstance(cache, PageCache) for pair in cache.mappings.items()]
    alive = {id(mm) for mm in spaces}
    for vma, mm in sorted(shown, key=lambda pair: (pair[1].name, pair[0].start)):
        if id(mm) not in alive:
            books.say(f"an object is mapped at {vma.start:#x} of {mm.name}, an address space that has died")
        elif mm.vmas.find(vma.start) is not vma:
            books.say(f"an object is mapped at {vma.start:#x} of {mm.name}, which does not know of it")
    return caches


def _check_registered(books: Books, mm: AddressSpace, vma: Vma) -> None:
    """Whether a VMA and its userfaultfd know each other."""
    where = f"{mm.name}: the VMA at {vma.start:#x}"
    if bool(vma.flags & UFFD_FLAGS) != (vma.uffd is not None):
        books.say(f"{where} says both that it is registered with a userfaultfd and that it is not")
    elif vma.uffd is not None and (vma.uffd.mm is not mm or vma.uffd.released):
        what = "closed" if vma.uffd.released else "not its own"
        books.say(f"{where} is registered with a userfaultfd that is {what}")


def check_huge_pages(books: Books, kernel: Kernel, spaces: list[AddressSpace], caches: list[FrameHolder]) -> None:
    for cache in caches:
        if isinstance(cache, HugePageCache):
            books.huge_pages.update(cache.heads.values())
    for finding in kernel.huge_pages.check(books.huge_pages, promised_pages(spaces, caches)):
        books.say(finding)
    for sharer in kernel.mm_context.table_sharers:
        for finding in sharer.check():
            books.say(finding)


def check_commit(books: Books, kernel: Kernel, spaces: list[AddressSpace], caches: list[FrameHolder]) -> None:
    """Check Committed_AS against the promises of VMAs and shared objects."""
    promised = sum(vma.length for mm in spaces for vma in mm.vmas if vma.flags & VmFlags.ACCOUNT) >> PAGE_SHIFT
    promised += sum(cache.promised_pages for cache in caches if isinstance(cache, ShmemPages))
    if promised != kernel.mm_context.commit.pages:
        books.say(f"{kernel.mm_context.commit.pages} pages are accounted for as promised, and {promised} are")


def check_frames(books: Books, kernel: Kernel, caches: list[FrameHolder]) -> None:
    """Check the reference count of every frame against the entries and caches that hold it."""
    frames = kernel.frames
    for cache in caches:
        for held in cache.frames_in_batches():
            for frame in held[frames.kinds[held] != FrameKind.CACHE].tolist():
                books.say(f"a page cache holds frame {frame:#x}, which is {frames.kind(frame).name}")
            books.hold(held)
    used = np.zeros(len(FrameKind), dtype=np.int64)
    limit = max(books.limit, frames.high_water)
    for start in range(0, limit, _FRAMES):
        part = slice(start, min(start + _FRAMES, limit))
        used += np.bincount(frames.kinds[part], minlength=len(FrameKind))
        wrong = np.flatnonzero(frames.counts[part] != books.references[part]) + start
        for frame in wrong.tolist():
            _say_references(books, kernel, frame)
    for kind in FrameKind:
        if kind != FrameKind.FREE and int(used[kind]) != frames.used[kind]:
            books.say(f"{frames.used[kind]} frames are accounted for as {kind.name}, and {int(used[kind])} are")


def check_users(books: Books, kernel: Kernel) -> None:
    """Check the user counts of address spaces and descriptor tables against the existing tasks."""
    tasks = [task for task in kernel.tasks.values() if task.alive]
    for what, users in (
        ("an address space", Counter((task.mm, task.mm.users) for task in tasks)),
        ("a descriptor table", Counter((task.files, task.files.users) for task in tasks)),
    ):
        for (_, said), number in users.items():
            if number != said:
                books.say(f"{number} tasks use {what} that counts {said} users")


def _say_references(books: Books, kernel: Kernel, frame: int) -> None:
    number, found, kind = kernel.frames.count(frame), int(books.references[frame]), kernel.frames.kind(frame)
    if found:
        books.say(f"frame {frame:#x} ({kind.name}) has {number} references, and {found} were found")
    elif kind != FrameKind.RESERVED:
        books.say(f"frame {frame:#x} ({kind.name}) has {number} references, and none was found: leaked")
