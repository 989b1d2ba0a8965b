"""Putting objects into a region: a mapping in the host mm, as the ioctls and calls of every generation make it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.fs.hugetlbfs import HugetlbFile
from emu.linux.errors import LinuxError, NoPage
from emu.linux.mman import Advice, MapFlags, Prot
from emu.mm.address_space import page_align
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.hugetlb import hpage_align, is_huge_size
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.vma import Vma
from emu.mm.vmamodify import carve, may_split
from mmu.memory import PAGE_SIZE
from mmu.registers import Access
from msharefs.quirks import rights_of_object

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.task import Task
    from msharefs.region import Region

#: The flags that are passed on to the mapping in the host mm; POPULATE has no effect there, and pages of LOCKED objects
#: are locked when they are touched, as observed.
_PASSED_ON = (
    MapFlags.TYPE | MapFlags.ANONYMOUS | MapFlags.NORESERVE | MapFlags.FIXED_NOREPLACE | MapFlags.FIXED
    | MapFlags.LOCKED
)  # fmt: skip


def is_shared_fixed(flags: int) -> bool:
    """Whether the flags of an object have MAP_SHARED (or MAP_SHARED_VALIDATE, which has the bit too) and MAP_FIXED."""
    kind = flags & MapFlags.TYPE
    return bool(flags & MapFlags.FIXED) and kind in (MapFlags.SHARED, MapFlags.SHARED_VALIDATE)


def map_object(
    region: Region, task: Task, offset: int, size: int, prot: int, flags: int, file: File | None, file_offset: int = 0
) -> None:
    """Map ``size`` bytes at ``offset`` of the region: a file, or zero pages.  The interface has checked the range.

    LinuxError as mmap(2) gives it (mshare-observed.md, section 3).
    """
    if flags & MapFlags.HUGETLB and file is None:
        if not is_huge_size(flags):
            raise LinuxError(errno.EINVAL)
        file = region.kernel.vfs.hugetlb_file_setup("anon_hugepage", hpage_align(size))
        try:
            _map(region, task, offset, hpage_align(size), prot, flags, file, 0)
        finally:
            file.put()  # the VMA has its own reference
    else:
        size = hpage_align(size) if isinstance(file, HugetlbFile) else size
        _map(region, task, offset, size, prot, flags, file, file_offset)


def _map(
    region: Region, task: Task, offset: int, size: int, prot: int, flags: int, file: File | None, file_offset: int
) -> None:
    if isinstance(file, HugetlbFile):
        if region.level == "pte":
            region.kernel.log_once(
                "level=pte shares PTE tables, and a huge page has none: objects of huge pages need level=pmd or pud"
            )
            raise LinuxError(errno.EINVAL)
        if offset + size > region.size:  # checked again after rounding up
            raise LinuxError(errno.EINVAL)
    if offset % PAGE_SIZE or not size:
        raise LinuxError(errno.EINVAL)
    validate = flags & MapFlags.TYPE == MapFlags.SHARED_VALIDATE
    if (validate and file is None) or flags & MapFlags.GROWSDOWN:
        raise LinuxError(errno.EINVAL)
    if page_align(size) > region.host.task_size or region.host_base + offset + size > region.host.task_size:
        raise LinuxError(errno.ENOMEM)
    if validate and flags & MapFlags.SYNC:
        raise LinuxError(errno.EOPNOTSUPP)
    rights = Prot(prot & 7)
    check_object(region, rights)
    start = region.host_base + offset
    given = rights_of_object(region.options.quirks, rights, region.kernel.random)
    do_mmap(region.host, start, size, given, MapFlags(flags & int(_PASSED_ON)), file, file_offset & -PAGE_SIZE)
    if given != rights:
        region.asked.append((start, start + page_align(size), rights))


def unmap_range(region: Region, offset: int, size: int) -> None:
    """Remove the objects of a range: all sharers lose the pages at once.  LinuxError(EINVAL) for a bad range."""
    if size > region.size or offset >= region.size or offset + size > region.size:
        raise LinuxError(errno.EINVAL)
    region.note_peaks()
    do_munmap(region.host, region.host_base + offset, size)


def _range(region: Region, offset: int, size: int) -> tuple[int, int]:
    """The host addresses of a range of the region.  LinuxError(EINVAL) if it is invalid or not of whole pages."""
    if offset % PAGE_SIZE or not size or offset >= region.size or size > region.size - offset:
        raise LinuxError(errno.EINVAL)
    start = region.host_base + offset
    return start, start + page_align(size)


def _covering(region: Region, start: int, end: int) -> list[Vma]:
    """The objects of a range.  LinuxError(ENOMEM) if there is a hole in it."""
    vmas = region.host.vmas.overlapping(start, end)
    if sum(min(vma.end, end) - max(vma.start, start) for vma in vmas) < end - start:
        raise LinuxError(errno.ENOMEM)
    for vma in vmas:  # every refusal before the first change
        may_split(region.host, vma, start, end)
    return vmas


def protect_range(region: Region, offset: int, size: int, prot: int) -> int:
    """Change the rights of a range, in every sharer at once: each entry of the shared tables is written once, and there
    is one flush.  Returns how many entries there were.

    LinuxError as mprotect(2) gives it, before anything changes: EINVAL, ENOMEM for a hole, EACCES for a file that may
    not be written, or (``strict-prot``) a window that allows less.
    """
    if prot & ~int(Prot.READ | Prot.WRITE | Prot.EXEC):
        raise LinuxError(errno.EINVAL)
    rights, host = Prot(prot), region.host
    start, end = _range(region, offset, size)
    vmas = _covering(region, start, end)
    check_object(region, rights)
    if rights & Prot.WRITE and any(vma.flags & VmFlags.NEVERWRITE for vma in vmas):
        raise LinuxError(errno.EACCES)
    flush = host.obligation(start, end, "protect")
    changed = 0
    for vma in vmas:
        if vma.prot != rights:
            part = carve(host, vma, start, end)
            if (part.prot | rights) & Prot.EXEC:
                host.code_id = host.context.new_code_id()
            part.prot = rights
            changed += part.ops.change_protection(host, part)
    if changed:
        flush.flush()
    else:
        flush.nothing_present()
    if region.asked:
        region.asked.append((start, end, rights))
    return changed


#: The advice that a region accepts.
_ADVICE = frozenset({
    Advice.NORMAL, Advice.RANDOM, Advice.SEQUENTIAL, Advice.WILLNEED, Advice.DONTNEED, Advice.REMOVE, Advice.HUGEPAGE,
    Advice.NOHUGEPAGE, Advice.COLD, Advice.PAGEOUT, Advice.POPULATE_READ, Advice.POPULATE_WRITE,
})  # fmt: skip


def advise_range(region: Region, task: Task, offset: int, size: int, advice: int) -> None:
    """Advise on a range, for every sharer at once.

    DONTNEED takes the pages out of the shared tables (their contents stay where an object is shared), REMOVE drops the
    contents too, POPULATE_READ and POPULATE_WRITE fill the tables; the others have no effect.  LinuxError(EINVAL) for a
    bad range, a part of a huge page or other advice, ENOMEM for a hole, EACCES for REMOVE where an object cannot be
    written, EFAULT or ENOMEM if a page cannot be made.
    """
    start, end = _range(region, offset, size)
    if advice not in _ADVICE:
        raise LinuxError(errno.EINVAL)
    vmas = _covering(region, start, end)
    if advice == Advice.DONTNEED:
        ops = vmas[0].ops
        if ops.page_size == PAGE_SIZE and all(vma.ops is ops for vma in vmas):
            ops.zap(region.host, vmas[0], start, end)  # of all objects: the tables do not distinguish them
        else:
            for vma in vmas:
                vma.ops.zap(region.host, vma, max(vma.start, start), min(vma.end, end))
    elif advice == Advice.REMOVE:
        for vma in vmas:
            from emu.mm.madvise import remove_contents  # few calls punch holes

            remove_contents(region.host, vma, max(vma.start, start), min(vma.end, end))
    elif advice in (Advice.POPULATE_READ, Advice.POPULATE_WRITE):
        _populate(region, task, start, end, Access.WRITE if advice == Advice.POPULATE_WRITE else Access.READ)


def _populate(region: Region, task: Task, start: int, end: int, access: Access) -> None:
    for address in range(start, end, PAGE_SIZE):
        result = region.fault_for(task, address, access)
        if not result.resolved:
            raise NoPage if result == FaultResult.OOM else LinuxError(errno.EFAULT)


def check_object(region: Region, prot: Prot) -> None:
    """``strict-prot``: LinuxError(EACCES) if a window does not allow the rights that an object gets."""
    if region.options.strict_prot == "on" and any(prot & ~window for window in window_rights(region)):
        raise LinuxError(errno.EACCES)


def check_window(region: Region, prot: Prot) -> None:
    """Check that a window may be made: LinuxError(EINVAL) once the owner's exit has emptied the region, and
    (``strict-prot``) EACCES if an object has rights that the window lacks.
    """
    if region.orphaned:
        raise LinuxError(errno.EINVAL)
    if region.options.strict_prot == "on" and any(vma.prot & ~prot for vma in region.host.vmas):
        raise LinuxError(errno.EACCES)


def window_rights(region: Region) -> Iterator[Prot]:
    """The rights of every window."""
    for mm in region.sharing:
        for vma in mm.vmas:
            if getattr(vma.ops, "region", None) is region:
                yield vma.prot
