"""Regular files of tmpfs, and unnamed shared memory: their content is the page cache (mm/shmem.c)."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode, Stat
from emu.fs.seals import Seal, check_mapping, check_punch, check_size, writable_bytes
from emu.fs.shmemsb import ShmemSuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, PAGE_SIZE, FallocateFlags, Whence
from emu.linux.mman import Prot
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.kmem import INODE
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import BLOCK_FRAMES
from emu.mm.shmempages import ShmemPages
from mmu.late import np

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: A number above the index of any page.
LAST_PAGE = 1 << 52
#: Pages that fallocate() makes at a time.
_ALLOCATION = 1 << 16
#: relatime: a read updates an access time that is older than a day.
DAY_NS = 86400 * 1_000_000_000


class TmpfsFile(File):
    """An open regular file."""

    inode: TmpfsInode

    def pread(self, count: int, pos: int) -> bytes:
        inode = self.inode
        count = min(count, inode.size - pos)
        if count <= 0:
            return b""
        inode.accessed()
        return inode.page_cache.read(pos, count)

    def pwrite(self, data: bytes, pos: int) -> int:
        inode = self.inode
        inode.refuse_swapfile()
        room = MAX_FILE_SIZE - pos
        if room <= 0:
            raise LinuxError(errno.EFBIG)
        room = min(room, writable_bytes(inode, pos, len(data)))
        written = inode.page_cache.write(pos, data[:room])
        inode.written(pos, pos + written)
        inode.grow(pos + written)
        inode.touch()
        return written

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        end = offset + length
        self.inode.refuse_swapfile()
        if mode == FallocateFlags.PUNCH_HOLE | FallocateFlags.KEEP_SIZE:
            check_punch(self.inode)
            self.inode.punch_hole(offset, end)
        elif mode in (0, FallocateFlags.KEEP_SIZE):
            if not mode and end > self.inode.size:
                check_size(self.inode, end)
            self.inode.allocate(offset, end)
            if not mode:
                self.inode.grow(end)
        else:
            raise LinuxError(errno.EOPNOTSUPP)
        self.inode.touch()

    def lseek(self, offset: int, whence: int) -> int:
        if whence in (Whence.DATA, Whence.HOLE) and 0 <= offset < self.inode.size:
            self.pos = self.inode.seek(offset, whence == Whence.DATA)
            return self.pos
        return super().lseek(offset, whence)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        check_mapping(self.inode, vma)
        if vma.shared and vma.prot & Prot.WRITE:
            self.inode.refuse_swapfile()
        self.inode.accessed()
        vma.page_cache = self.inode.page_cache


class TmpfsInode(Inode):
    """A regular file: its content is the page cache."""

    can_direct = True
    charged = INODE

    def __init__(
        self, sb: ShmemSuperBlock, mode: int, uid: int = 0, gid: int = 0, pages: PageCache | None = None,
        promised: int | None = None,
    ) -> None:  # fmt: skip
        """``promised``: so many pages have been promised already; else each is when it is made."""
        super().__init__(sb, stat.S_IFREG | mode & 0o7777, uid, gid)
        resources = sb.resources
        if pages is None:
            at_once = promised if sb.promises else 0
            charge = sb.charge if at_once is None else sb.count_blocks
            pages = ShmemPages(resources.frames, resources.swap, charge=charge)
            pages.huge_policy, pages.may_have_huge = sb, sb.may_be_made_huge
            pages.promised_at_once = at_once
        self.page_cache = pages
        self._sb, self._payer = sb, sb.payer()
        self.seals = Seal.SEAL
        #: Ranges of pages that fallocate has made, but for those that were written since.
        self._allocated: list[tuple[int, int]] = []

    @property
    def blocks(self) -> int:
        return self.page_cache.total_pages * (PAGE_SIZE // 512)

    def getattr(self) -> Stat:
        status, cache = super().getattr(), self.page_cache
        if not cache.may_have_huge or cache.huge_policy is not self._sb or not self._sb.wants_huge(cache, 0, 0, None):
            return status
        return status._replace(blksize=HPAGE_SIZE)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return TmpfsFile(path, flags)

    def grow(self, size: int) -> None:
        """Extend the file to at least ``size``."""
        if size > self.size:
            self.size = self.page_cache.size = size

    def refuse_swapfile(self) -> None:
        """LinuxError(ETXTBSY) if pages are swapped to it."""
        if self.swapfile:
            raise LinuxError(errno.ETXTBSY)

    def truncate(self, size: int) -> None:
        if size <= self.size:  # inode_newsize_ok()
            self.refuse_swapfile()
        check_size(self, size)
        frees = size <= self.size
        self.page_cache.truncate(size)
        if frees:
            # Pages past the old end too: fallocate() with KEEP_SIZE can make some there.
            self.page_cache.punch(-(-size // PAGE_SIZE), LAST_PAGE)
        self.size = size
        self.touch()

    def punch_hole(self, start: int, end: int) -> None:
        """Make a byte range read as zeros; whole pages are freed."""
        first, last = -(-start // PAGE_SIZE), end // PAGE_SIZE
        if first > last:
            self._zero(start, end)
            return
        self._zero(start, first * PAGE_SIZE)
        self._zero(last * PAGE_SIZE, end)
        if first < last:
            self.page_cache.punch(first, last)

    def seek(self, offset: int, data: bool) -> int:
        """The next offset with (or without) a page, at most the size; ENXIO if no data follows."""
        index = offset // PAGE_SIZE
        if data:
            found = self.page_cache.next_page(index)
            while found is not None and not self._holds_data(found):
                found = self.page_cache.next_page(found + 1)
            if found is None or found * PAGE_SIZE >= self.size:
                raise LinuxError(errno.ENXIO)
            index = found
        else:
            while self._holds_data(index):
                index += 1
        return min(max(offset, index * PAGE_SIZE), self.size)

    def _holds_data(self, index: int) -> bool:
        """Whether there is a page, and it is not one that fallocate has made and nobody has written or mapped since:
        one that is not up to date.
        """
        frames, frame = self.sb.resources.frames, self.page_cache.find(index)
        if frame is None:
            return self.page_cache.holds(index)
        if not any(first <= index < last for first, last in self._allocated):
            return True
        return frames.count(frame) > 1 or any(frames.read(frame, 0, PAGE_SIZE))

    def written(self, start: int, end: int) -> None:
        """The pages of a byte range are up to date."""
        if not self._allocated:
            return
        first, last = start // PAGE_SIZE, -(-end // PAGE_SIZE)
        self._allocated = [
            part
            for low, high in self._allocated
            for part in ((low, min(high, first)), (max(low, last), high))
            if part[0] < part[1]
        ]

    def _zero(self, start: int, end: int) -> None:
        """Zero a range inside one page, if the page exists."""
        if start < end and self.page_cache.holds(start // PAGE_SIZE):
            self.page_cache.write(start, bytes(end - start))

    def allocate(self, start: int, end: int) -> None:
        """Give every page of a byte range a frame; all or nothing (ENOSPC, ENOMEM)."""
        first, last = start // PAGE_SIZE, -(-end // PAGE_SIZE)
        self._sb.check_room(last - first - self.page_cache.total_pages)
        added: list[int] = []
        try:
            for at in range(first, last, BLOCK_FRAMES) if self.page_cache.may_have_huge else ():
                self.page_cache.make_huge(at, end)
            for at in range(first, last, _ALLOCATION):
                frames, fresh = self.page_cache.get_many(at, min(_ALLOCATION, last - at))
                self.page_cache.allocated(frames, fresh)
                added += (np.flatnonzero(fresh) + at).tolist()
            self._allocated += _runs(added)
        except LinuxError:
            for index in added:
                self.page_cache.punch(index, index + 1)
            raise

    def accessed(self) -> None:
        """Update the access time after a read (relatime)."""
        atime, now = self.atime, self.sb.resources.clock.realtime_ns()
        if atime <= self.mtime or atime <= self.ctime or now - atime > DAY_NS:
            self.atime = now

    def evict(self) -> None:
        self.page_cache.release()
        if isinstance(self.page_cache, ShmemPages) and self.page_cache.promised_at_once:
            self.sb.resources.commit.uncharge(self.page_cache.promised_at_once)
            self.page_cache.promised_at_once = 0
        self._sb.free_inode(payer=self._payer)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
