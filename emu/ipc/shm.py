"""Shared memory of System V: segments, which live until they are removed and nobody has them attached (ipc/shm.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.file import File, file_of
from emu.fs.hugetlbfs import HugetlbFile
from emu.fs.shmemfile import TmpfsFile
from emu.ipc.ids import AnyCaller, Ids, IpcObject
from emu.ipc.limits import SHMALL, SHMMAX, SHMMIN, SHMMNI
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.mman import MapFlags, Prot
from emu.mm.commit import Overcommit
from emu.mm.hugefault import HugetlbOperations
from emu.mm.hugetlb import HPAGE_SHIFT, hpage_align
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.ordinary import OrdinaryMemory
from emu.mm.shmempages import ShmemPages
from emu.mm.vmops import VmOperations
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.linux.clock import Clock
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
SHM_HUGETLB, SHM_NORESERVE = 0o4000, 0o10000
#: In the mode: removed, and gone with its last attachment.
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000
#: The binary logarithm of the size of huge pages.
_HUGE_SHIFT, _HUGE_MASK = 26, 63
_READ, _WRITE, _EXEC = 0o444, 0o222, 0o111


class Segment(IpcObject):
    """A segment (struct shmid_kernel).  Times in seconds since 1970."""

    def __init__(self, key: int, mode: int, caller: AnyCaller, size: int, file: File, now: int) -> None:
        super().__init__(key, mode, caller)
        self.size = size
        #: Holds the memory; each attachment is a file of its own on the same inode.
        self.file = file
        self.attached = 0
        self.atime = self.dtime = 0
        self.ctime = now
        self.cpid, self.lpid = caller.tgid, 0

    @property
    def pages_present(self) -> int:
        """The pages of 4 KiB that it has in memory."""
        return self.pages_made - self.pages_swapped

    @property
    def pages_made(self) -> int:
        """Those that exist, wherever they lie."""
        return self.file.inode.getattr().blocks * 512 // PAGE_SIZE

    @property
    def pages_swapped(self) -> int:
        """Those that lie in swap."""
        cache = getattr(self.file.inode, "page_cache", None)
        return len(cache.swapped) if isinstance(cache, ShmemPages) else 0

    def status(self) -> tuple[int, ...]:
        """Its struct shmid64_ds."""
        times = self.atime, self.dtime, self.ctime
        return (*self.perm(), self.size, *times, self.cpid, self.lpid, self.attached, 0, 0)


class Segments(Ids[Segment]):
    """The segments of a machine."""

    def __init__(self, vfs: Vfs, clock: Clock, current_tgid: Callable[[], int | None]) -> None:
        super().__init__(SHMMNI, vfs.resources.kmem)
        self._vfs = vfs
        self._clock = clock
        self._current_tgid = current_tgid
        self._ordinary, self._huge = _OrdinaryShm(self), _HugeShm(self)

    def _now(self) -> int:
        return self._clock.realtime_ns() // 1_000_000_000

    @property
    def pages(self) -> int:
        """The pages of all segments, present or not."""
        return sum(-(-segment.size // PAGE_SIZE) for segment in self)

    @property
    def frames(self) -> int:
        """The pages of 4 KiB of all segments, but for those of the pool of huge pages."""
        return sum(each.pages_made for each in self if not isinstance(each.file, HugetlbFile))

    def shmget(self, caller: AnyCaller, key: int, size: int, flags: int) -> int:
        """shmget(2)."""

        def suits(found: Segment) -> None:
            if found.size < size:
                raise LinuxError(errno.EINVAL)

        return self.get(key, flags, caller, lambda: self._make(caller, key, size, flags), suits)

    def _make(self, caller: AnyCaller, key: int, size: int, flags: int) -> Segment:
        if not SHMMIN <= size <= SHMMAX:
            raise LinuxError(errno.EINVAL)
        if self.pages + -(-size // PAGE_SIZE) > SHMALL:
            raise LinuxError(errno.ENOSPC)
        name = f"SYSV{key & 0xFFFF_FFFF:08x}"
        commit = self._vfs.resources.commit
        unreserved = bool(flags & SHM_NORESERVE) and commit.mode != Overcommit.NEVER
        if flags & SHM_HUGETLB:
            if flags >> _HUGE_SHIFT & _HUGE_MASK not in (0, HPAGE_SHIFT):
                raise LinuxError(errno.EINVAL)
            file = self._vfs.hugetlb_file_setup(name, hpage_align(size), promised=not unreserved)
        else:
            file = self._vfs.shmem_file_setup(name, size, promised=not unreserved)
        return Segment(key, flags, caller, size, file, self._now())

    # -- attaching -------------------------------------------------------------------------------------------------

    def shmat(self, caller: AnyCaller, mm: AddressSpace, ident: int, address: int, flags: int) -> int:
        """shmat(2): the address."""
        if ident < 0:
            raise LinuxError(errno.EINVAL)
        place = MapFlags.SHARED
        if address:
            if address % PAGE_SIZE:
                address &= -PAGE_SIZE if flags & SHM_RND else -1
                if address % PAGE_SIZE or (not address and flags & SHM_REMAP):
                    raise LinuxError(errno.EINVAL)
            place |= MapFlags.FIXED if address or flags & SHM_RND else MapFlags(0)
        elif flags & SHM_REMAP:
            raise LinuxError(errno.EINVAL)
        segment = self.find(ident)
        readonly = bool(flags & SHM_RDONLY)
        prot = Prot.READ if readonly else Prot.READ | Prot.WRITE
        wanted = _READ if readonly else _READ | _WRITE
        if flags & SHM_EXEC:
            prot, wanted = prot | Prot.EXEC, wanted | _EXEC
        segment.check(caller, wanted)
        if address and not flags & SHM_REMAP:
            if address + segment.size >= 1 << 64 or any(True for _ in mm.vmas.overlapping(
                address, address + segment.size
            )):  # fmt: skip
                raise LinuxError(errno.EINVAL)
        file = self._attachment(segment, OpenFlags.RDONLY if readonly else OpenFlags.RDWR)
        segment.attached += 1  # it must not go while it is being mapped
        try:
            return do_mmap(mm, address, segment.size, prot, place, file, 0)
        finally:
            file.put()
            self._drop(segment)

    def _attachment(self, segment: Segment, flags: int) -> File:
        if isinstance(segment.file, HugetlbFile):
            return _HugeAttachment(segment, flags, self._huge)
        return _OrdinaryAttachment(segment, flags, self._ordinary)

    def shmdt(self, mm: AddressSpace, address: int) -> int:
        """shmdt(2): unmap every part of the attachment that began at the address."""
        if address % PAGE_SIZE:
            raise LinuxError(errno.EINVAL)
        file, end = None, 1 << 64
        for vma in list(mm.vmas.overlapping(address, mm.task_size)):
            if vma.start >= end:
                break
            found = file_of(vma)
            if not isinstance(found, _Attachment) or file not in (None, found):
                continue
            if vma.start - (vma.pgoff << PAGE_SHIFT) == address:
                file, end = found, address + found.inode.size
                do_munmap(mm, vma.start, vma.length)
        if file is None:
            raise LinuxError(errno.EINVAL)
        return 0

    def check_may_lock(self, segment: Segment, limit: int) -> None:
        """Whether a user may lock so much.  LinuxError: EPERM for who may lock nothing, ENOMEM (user_shm_lock)."""
        if not limit:
            raise LinuxError(errno.EPERM)
        locked = sum(each.size for each in self if each.mode & SHM_LOCKED and each.cuid == segment.cuid)
        if not segment.mode & SHM_LOCKED and locked + segment.size > limit:
            raise LinuxError(errno.ENOMEM)

    # -- the life of an attachment ---------------------------------------------------------------------------------

    def opened(self, segment: Segment) -> None:
        """One more mapping of the segment."""
        segment.atime, segment.lpid = self._now(), self._current_tgid() or 0
        segment.attached += 1

    def closed(self, segment: Segment) -> None:
        """One mapping less."""
        segment.dtime, segment.lpid = self._now(), self._current_tgid() or 0
        self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        segment.attached -= 1
        if not segment.attached and segment.mode & SHM_DEST:
            self._destroy(segment)

    def rmid(self, segment: Segment) -> None:
        """IPC_RMID: it goes now, or with its last attachment."""
        if segment.attached:
            self.hide(segment)
            segment.mode |= SHM_DEST
        else:
            self._destroy(segment)

    def _destroy(self, segment: Segment) -> None:
        self.remove(segment)
        segment.file.put()

    def changed(self, segment: Segment) -> None:
        """IPC_SET."""
        segment.ctime = self._now()


# -- what is mapped --------------------------------------------------------------------------------------------------


class _Attachment(File):
    """The file of an attachment, whose mappings count it (shm_file_operations)."""

    def __init__(self, segment: Segment, flags: int, operations: VmOperations) -> None:
        super().__init__(segment.file.path, flags)
        self.segment = segment
        self._operations = operations

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        super().mmap(mm, vma)
        vma.ops = self._operations


class _OrdinaryAttachment(_Attachment, TmpfsFile):
    """One of pages."""


class _HugeAttachment(_Attachment, HugetlbFile):
    """One of huge pages."""


def segment_of(vma: Vma) -> Segment | None:
    """The segment that a mapping attaches."""
    file = file_of(vma)
    return file.segment if isinstance(file, _Attachment) else None


class _ShmOperations(VmOperations):
    """The operations of an attachment (shm_vm_ops)."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        super().open(mm, vma)
        self._segments.opened(_segment(vma))

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        super().close(mm, vma)
        self._segments.closed(_segment(vma))


class _OrdinaryShm(_ShmOperations, OrdinaryMemory):
    """Those of one of pages."""

    mergeable = gathered = False


class _HugeShm(_ShmOperations, HugetlbOperations):
    """Those of one of huge pages."""


def _segment(vma: Vma) -> Segment:
    segment = segment_of(vma)
    assert segment is not None
    return segment
