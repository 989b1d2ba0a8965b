"""Words of memory management: the flags of a VMA (VM_*), and how a fault ended (vm_fault_t)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from emu.linux.words import tested_often


@tested_often
class VmFlags(IntFlag):
    """VM_* that are not rights."""

    NONE = 0
    SHARED = 1 << 0
    GROWSDOWN = 1 << 1
    DONTEXPAND = 1 << 2
    DONTCOPY = 1 << 3
    NORESERVE = 1 << 4
    ACCOUNT = 1 << 5  # its length is promised memory (Committed_AS)
    NEVERWRITE = 1 << 6  # no VM_MAYWRITE: mprotect cannot make it writable (a read-only file, a write seal)
    LOCKED = 1 << 7
    LOCKONFAULT = 1 << 8
    SEQ_READ = 1 << 9
    RAND_READ = 1 << 10
    WIPEONFORK = 1 << 11
    DONTDUMP = 1 << 12
    HUGEPAGE = 1 << 14
    NOHUGEPAGE = 1 << 15
    SEALED = 1 << 16
    NEVEREXEC = 1 << 17  # no VM_MAYEXEC
    IO = 1 << 18  # not ordinary memory: nobody else may look at it through the process
    PFNMAP = 1 << 19
    UFFD_MISSING = 1 << 20  # a userfaultfd is told of pages that are not there
    UFFD_WP = 1 << 21  # of writes to pages that it has protected
    UFFD_MINOR = 1 << 22  # of pages that are in the page cache and not mapped
    DROPPABLE = 1 << 23
    MAYBE_GUARD = 1 << 24  # there have been guard pages; it does not keep VMAs from becoming one (VM_STICKY)


#: __VM_UFFD_FLAGS.
UFFD_FLAGS = VmFlags.UFFD_MISSING | VmFlags.UFFD_WP | VmFlags.UFFD_MINOR

#: VM_LOCKED_MASK: mlock changes these flags, but no entry.
LOCK_FLAGS = VmFlags.LOCKED | VmFlags.LOCKONFAULT


class FaultResult(IntEnum):
    """How a page fault ended (vm_fault_t)."""

    MINOR = 0  # the tables were changed; try again
    LINKED = 1  # a shared table was linked; counted separately from minor faults
    RACED = 2  # nothing to do: the entry allows the access already
    MAPERR = 3  # SIGSEGV, SEGV_MAPERR
    ACCERR = 4  # SIGSEGV, SEGV_ACCERR
    ADRERR = 5  # SIGBUS, BUS_ADRERR
    OOM = 6  # no memory left: SIGKILL
    HWPOISON = 7  # SIGBUS
    RETRY = 8  # a program is to resolve it: wait, and try again
    MAJOR = 9  # as MINOR, and it had to be read

    @property
    def resolved(self) -> bool:
        """Whether to retry the access."""
        return self <= FaultResult.RACED or self is FaultResult.MAJOR


class Resolution(IntEnum):
    """How a page fault was resolved, as the record of the event has it."""

    UNKNOWN = 0
    DEMAND_ZERO = 1  # a new page
    ZERO_PAGE = 2  # the page of zeros that all have
    FILE = 3  # a page of a file or of shared memory was mapped
    COW = 4  # the page was copied
    REUSE = 5  # the very page may be written now
    SWAP = 6
    LINK = 7
    SPURIOUS = 8
    USERFAULTFD = 9
    OOM = 10
    SIGNAL = 11
