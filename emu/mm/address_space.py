"""AddressSpace (mm_struct): VMAs and page tables of one process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.linux.stop import Stop
from emu.mm.context import MmContext
from emu.mm.exitmm import exit_mmap
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.kmem import MM_STRUCT, REGION, SLAB_UNRECLAIMABLE, VM_AREA_STRUCT
from emu.mm.pageflags import PG_SWAPCACHE
from emu.mm.pagetable import PageTables
from emu.mm.stackgrowth import expand_stack
from emu.mm.swapops import slots_of
from emu.mm.tlbflush import Flush, Flushed
from emu.mm.usercopy import UserCopy
from emu.mm.userfault import Userfault, UserfaultContext
from emu.mm.vma import Vma
from emu.mm.vmatree import VmaTree, merge_between
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: The end of user addresses with 4-level paging, and with 5-level paging the end of those that need no hint
#: (DEFAULT_MAP_WINDOW).
TASK_SIZE = (1 << 47) - PAGE_SIZE
#: The end of user addresses, by the number of levels (TASK_SIZE_MAX).
TASK_SIZE_MAX = {4: TASK_SIZE, 5: (1 << 56) - PAGE_SIZE}
#: Work is done in pieces of so many PTE tables, and what covers no more than these do is one piece.
_PIECE_TABLES = 512
_PIECE = _PIECE_TABLES << 21
_ACCOUNT = int(VmFlags.ACCOUNT)
#: Programs of which the last code_id is kept.
_MOST_PROGRAMS = 1024


def page_align(length: int) -> int:
    """Rounded up to whole pages."""
    return (length + PAGE_SIZE - 1) & -PAGE_SIZE


def is_data(prot: Prot, flags: VmFlags) -> bool:
    """Whether memory with these rights and flags counts for RLIMIT_DATA."""
    return bool(prot & Prot.WRITE) and not flags & (VmFlags.SHARED | VmFlags.GROWSDOWN)


class ExeFile(Protocol):
    """The program that address spaces were made for, as they know it."""

    def get(self) -> ExeFile:
        """One more address space has it."""

    def put(self) -> None:
        """An address space is gone."""


class AddressSpace(UserCopy):
    """One process's memory.

    ``name`` is for reports.  ``shared_tables`` says that other address spaces link to these tables (a host mm), so that
    a change must reach every TLB.  ``on_kernel_fault`` is called for faults that the kernel takes on user memory, with
    their kind and number.
    """

    def __init__(self, context: MmContext, name: str = "", *, shared_tables: bool = False) -> None:
        """LinuxError(ENOMEM)."""
        self.context = context
        self.frames = context.frames
        self.name = name
        #: For shared tables: which vCPUs are told of a change (one of ``TLB_POLICIES`` of :mod:`emu.mm.tlbflush`), and
        #: the address spaces that link to them now, by their VMAs (``backing``).
        self.tlb_policy = "all"
        self.sharers: Callable[[], Collection[AddressSpace]] | None = None
        self.shared_tables = shared_tables
        #: The control group that pays for its pages, if that is not the one of its owner.
        self.payer: Callable[[], Any] | None = None
        self.kmem = context.frames.kmem.account(SLAB_UNRECLAIMABLE)
        self._more = 0
        #: Called before everything is freed.
        self.at_exit: list[Callable[[], None]] = []
        self.kmem.charge(self.charged)
        try:
            self.tables = PageTables(context.frames, context.share_counts, context.levels)
        except LinuxError:
            self.kmem.uncharge(self.charged)
            raise
        #: The end of user addresses.
        self.task_size = TASK_SIZE_MAX[context.levels]
        self.vmas = VmaTree(self.kmem)
        context.serial += 1
        self.serial = context.serial
        context.address_spaces[self.serial] = self
        self.users = 1
        #: The program that it was made for.
        self.exe_file: ExeFile | None = None
        self.mmap_base = TASK_SIZE
        #: Whether a new mapping is put at the lowest place from ``mmap_base`` on, not at the highest below it.
        self.bottom_up = False
        #: The chance in the places of mappings that are chosen one by one (PF_RANDOMIZE); None: there is none.
        self.random: Random | None = None
        #: Where the program's code and data are, by the headers of its file.
        self.start_code = self.end_code = self.start_data = self.end_data = 0
        self.start_brk = self.brk_end = 0
        self.start_stack = self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        self.auxv = b""
        self.dumpable = 1
        #: Who is root for the program: who owns what /proc shows of it while it may not be dumped.
        self.root_user = self.root_group = 0
        #: PR_FUTEX_HASH: how many buckets (0: it has given its own up; None: it has had no thread), and whether the
        #: program has said so.
        self.futex_slots: int | None = None
        self.futex_slots_asked = False
        #: PR_SET_THP_DISABLE and PR_SET_MDWE.
        self.thp_disable = self.mdwe = 0
        #: Whether there are transparent huge pages, or may come to be.
        self.may_have_huge = context.thp.unasked
        #: The last fault that is to wait for a program (FaultResult.RETRY).
        self.userfault: Userfault | None = None
        #: What :func:`emu.mm.uffdevents.complete` is to tell of.
        self.unmapped: list[tuple[UserfaultContext, int, int]] = []
        self.moved: list[tuple[UserfaultContext, int, int, int]] = []
        #: Contexts of asynchronous I/O, once there is one.
        self.aio: object = None
        #: Its local descriptor table, as far as that has entries (modify_ldt).
        self.ldt = b""
        #: /proc/PID/coredump_filter.
        self.coredump_filter = 0x33
        self.rss_anon = self.rss_cache = self.rss_swap = 0
        self._peak = 0
        #: The most that ``total_bytes`` was before it last became less.
        self.total_bytes = self.hiwater_bytes = 0
        #: VMAs of huge pages; and the huge pages mapped by faults here, less those unmapped here.
        self.huge_vmas = self.huge_pages = 0
        #: Bytes that count as locked though they are not any more: what MREMAP_DONTUNMAP has left (locked_vm).
        self.locked_still = 0
        #: Of private memory: what was mapped last by :func:`emu.mm.private.map_private` (the length, rights and flags),
        #: and the rights that a part of a mapping was given last.
        self.last_mapped: tuple[int, Prot, int] | None = None
        self.last_rights = Prot.NONE
        #: Lock flags for later mappings (mlockall with MCL_FUTURE).
        self.default_lock = VmFlags.NONE
        #: Changes where the code at some address may have changed (munmap, mprotect with PROT_EXEC), or is seen to have
        #: changed when it is fetched; kept by fork, and the same for the next one with the same ``program``.
        self.code_id = context.new_code_id()
        self.program: object = None
        #: Whether a process with it has had a handler for SIGSEGV or SIGBUS, which sees what a faulting store has left.
        self.catches_faults = False
        self.on_kernel_fault: Callable[[int, int, bool], None] | None = None

    @property
    def charged(self) -> int:
        """What it takes on the host, without its VMAs."""
        return MM_STRUCT + (REGION if self.shared_tables else 0) + self._more

    def charge_more(self, size: int) -> None:
        """Something belongs to it that takes more (or less: a negative number).  LinuxError(ENOMEM)."""
        self.kmem.charge(size)
        self._more += size

    @property
    def peak(self) -> int:
        """The most pages that were resident at once (hiwater_rss)."""
        return max(self._peak, self.rss_anon + self.rss_cache)

    def note_peak(self) -> None:
        """Pages are about to go."""
        resident = self.rss_anon + self.rss_cache
        if resident > self._peak:
            self._peak = resident

    def gives_slot_up(self, frame: int) -> bool:
        """A page that one entry maps is about to be written there: whether it is this process's alone, after it has
        given a slot of a swap area up that it still had (wp_can_reuse_anon_folio).
        """
        return not self.frames.has_flag(frame, PG_SWAPCACHE) or self.context.swap.try_to_free(frame)

    def drop_swapped(self, entries: npt.NDArray[np.uint64]) -> None:
        """Swap entries have gone."""
        self.rss_swap -= len(entries)
        self.context.swap.free(slots_of(entries))

    def reset_peak(self) -> None:
        """The peak is what is resident now (reset_mm_hiwater_rss)."""
        self._peak = 0

    @property
    def stop(self) -> Stop:
        """Whether the run is to end: looked at where much is done at once."""
        return self.context.stop

    def obligation(self, start: int, end: int, reason: str = "change") -> Flush:
        """The flush that a change of the tables of [start, end) owes; a shootdown reports ``reason``."""
        return Flush(self.context.flusher, self, start, end, reason)

    def note_new(self, start: int, end: int) -> None:
        """Entries of [start, end) are new, and owe no flush (:meth:`Flush.was_not_present`)."""
        flusher = self.context.flusher
        if flusher.detector is not None:
            Flush(flusher, self, start, end, "change").was_not_present()

    def linked_from(self, address: int) -> list[tuple[int, int]]:
        """If another address space's tables translate this address: that one's serial number, and the address there."""
        vma = self.vmas.find(address)
        backing = None if vma is None else vma.ops.backing(vma)
        return [] if vma is None or backing is None else [(backing[0].serial, address - vma.start + backing[1])]

    def links_to(self, host: Flushed, start: int, end: int) -> list[tuple[int, int]]:
        """Where [start, end) of a host mm lies in this address space: ranges of addresses."""
        found = []
        for vma in self.vmas:
            backing = vma.ops.backing(vma)
            if backing is not None and backing[0] is host:
                to_here = vma.start - backing[1]
                low, high = max(start + to_here, vma.start), min(end + to_here, vma.end)
                if low < high:
                    found.append((low, high))
        return found

    def insert(self, vma: Vma, *, merge: bool = True) -> Vma:
        """Add a VMA to the tree, merged with its neighbours where possible; returns the VMA that it became part of.

        The caller has charged its promise (VM_ACCOUNT).
        """
        below, above = self.adopt(vma)
        return merge_between(self.vmas, below, vma, above) if merge else vma

    def runs(self, program: object) -> None:
        """It has been made for this program.  Most of its code is then where it was the last time: what is known of
        that holds, until a page is fetched that is another one.
        """
        programs = self.context.programs
        if len(programs) >= _MOST_PROGRAMS:
            programs.clear()
        self.program = program
        self.code_id = programs.setdefault(program, self.code_id)

    def renew_code(self) -> None:
        """A page of code is not the one that it was."""
        self.code_id = self.context.new_code_id()
        if self.program is not None:
            self.context.programs[self.program] = self.code_id

    def adopt(self, vma: Vma) -> tuple[Vma | None, Vma | None]:
        """Add a VMA unchanged, and return those below and above it; its code is the same as in the address space that
        it comes from (fork).
        """
        self.total_bytes += vma.end - vma.start
        beside = self.vmas.add(vma)
        if not vma.ordinary or vma.page_cache is not None or vma.file is not None:
            self.hold(vma)
        return beside

    def adopt_last(self, vmas: list[Vma]) -> None:
        """The same for several above those that are there, lowest first."""
        self.vmas.extend(vmas)
        self._hold_all(vmas)

    def _hold_all(self, vmas: list[Vma]) -> None:
        """VMAs have been made, as :meth:`adopt` has it."""
        total = 0
        for vma in vmas:
            total += vma.end - vma.start
            if vma.page_cache is not None:
                vma.page_cache.mappings[vma] = self
            if vma.file is not None:
                vma.file.get()
            if not vma.ops.ordinary:
                vma.ops.open(self, vma)
        self.total_bytes += total

    def adopt_run(self, vmas: list[Vma]) -> None:
        """The same for several between which there are no others, lowest first."""
        self.vmas.add_run(vmas)
        self._hold_all(vmas)

    def hold(self, vma: Vma) -> None:
        """A VMA has been made: notify its object, its file and its owner."""
        if vma.page_cache is not None:
            vma.page_cache.mappings[vma] = self
        if vma.file is not None:
            vma.file.get()
        vma.ops.open(self, vma)

    @property
    def data_bytes(self) -> int:
        """The bytes that RLIMIT_DATA counts: private writable memory that is not a stack (is_data_mapping)."""
        return sum(vma.length for vma in self.vmas if is_data(vma.prot, vma.flags))

    @property
    def locked_bytes(self) -> int:
        """VmLck: the bytes that mlock and its like have locked."""
        return sum(vma.length for vma in self.vmas if vma.flags & VmFlags.LOCKED) + self.locked_still

    def reserve_vmas(self, number: int = 4) -> None:
        """Make sure that there is room for so many more VMAs (by default as many as any call on a range may make).

        LinuxError(ENOMEM): for the beginning of an operation.
        """
        self.kmem.account(SLAB_UNRECLAIMABLE).reserve(number * VM_AREA_STRUCT)

    def remove(self, vma: Vma) -> None:
        """Unmap a whole VMA and forget it."""
        vma.ops.unmap(self, vma)
        self.vmas.remove(vma)
        self.hiwater_bytes = max(self.hiwater_bytes, self.total_bytes)
        length = vma.end - vma.start
        self.total_bytes -= length
        if vma.bits & _ACCOUNT:
            self.context.commit.uncharge(length >> PAGE_SHIFT)
        if vma.prot & Prot.EXEC:
            self.code_id = self.context.new_code_id()
        vma.ops.close(self, vma)
        if vma.page_cache is not None:
            vma.drop_cache()
        if vma.file is not None:
            vma.file.put()

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[start, end) in pieces of at most 512 PTE tables (1 GiB of pages without a gap).  NoIntr between two of them
        if the run is to end.
        """
        low, tables = start, 0
        if end - start > _PIECE:
            for vaddr, _, _ in self.tables.pte_tables(start, end):
                if tables == _PIECE_TABLES:
                    yield low, vaddr
                    self.stop.check()
                    low, tables = vaddr, 0
                tables += 1
        yield low, end

    def empty(self, start: int, end: int) -> None:
        """Take the pages of huge mappings in [start, end) out of the tables, in pieces, before VMAs change.

        NoIntr if the run is to end: every VMA is whole then, and the caller starts again.
        """
        if end - start <= _PIECE or self.total_bytes <= _PIECE:
            return
        for vma in self.vmas.overlapping(start, end):
            low, high = max(vma.start, start), min(vma.end, end)
            if high - low > _PIECE and vma.ops.leaf_level == 1:
                self.stop.check()
                for piece in self.pieces(low, high):
                    vma.ops.zap(self, vma, *piece)
                    self.tables.free_tables(*piece, *piece)

    def free_tables(self, vma: Vma) -> None:
        """A VMA of the tree is about to go, and its entries have gone: free the tables that no other VMA needs."""
        if not self.users:
            return  # all go at the end
        below, above = self.vmas.beside(vma)
        floor, ceiling = 0 if below is None else below.end, 1 << 57 if above is None else above.start
        if not self.context.entries.free_tables(self.tables, vma.start, vma.end, floor, ceiling):
            self.tables.free_tables(vma.start, vma.end, floor, ceiling)

    # -- faults ----------------------------------------------------------------------------------------------------

    def handle_fault(self, address: int, access: Access) -> FaultResult:
        """Resolve one page fault at a user address, or return the signal that it causes (handle_mm_fault).  Never
        raises for an error of the guest.
        """
        if self.context.swapping:
            self.context.balance()
        vma = self.vmas.find(address) or expand_stack(self, address)
        if vma is None:
            return FaultResult.MAPERR
        try:
            return vma.ops.fault(self, vma, address, access)
        except LinuxError as error:
            from emu.mm.failedfault import failed_fault  # memory is seldom short

            return failed_fault(self, vma, address, access, error)

    def kernel_fault(self, address: int, access: Access) -> FaultResult:
        """The same for a fault that the kernel takes, which waits where a program is to resolve it.  LinuxError(EFAULT)
        if it cannot wait.
        """
        while (result := self.handle_fault(address, access)) is FaultResult.RETRY:
            self.wait_userfault()
        return result

    def handle_userfault(self, vma: Vma, address: int, access: Access, reason: VmFlags) -> FaultResult:
        """A fault that a program resolves: who has taken it waits (:attr:`userfault`)."""
        assert vma.uffd is not None
        self.userfault = Userfault(vma.uffd, address, access, reason)
        return FaultResult.RETRY

    def wait_userfault(self) -> None:
        fault, self.userfault = self.userfault, None
        assert fault is not None
        self.context.wait_userfault(fault)

    def add_futex_slots(self, threads: int) -> None:
        """There are so many threads now, no more than processors (futex_hash_allocate_default)."""
        self.futex_slots = max(self.futex_slots or 16, 1 << (4 * threads - 1).bit_length())

    # -- lifetime --------------------------------------------------------------------------------------------------

    def get(self) -> AddressSpace:
        """One more task uses this address space."""
        self.users += 1
        return self

    def put(self) -> None:
        """A task stops using this address space; with the last one everything is freed (exit_mmap)."""
        self.users -= 1
        if self.users == 0:
            for end in self.at_exit:
                end()
            self.context.flusher.leave(self)
            exit_mmap(self)
