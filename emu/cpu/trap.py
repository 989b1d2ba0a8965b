"""Why the guest stopped running, for the kernel."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from mmu import GeneralProtection, PageFault
from mmu.registers import Access

DR6_BS = 1 << 14


class TrapKind(IntEnum):
    """Why the guest stopped running."""

    SYSCALL = 1
    SLICE = 2  # its time slice is used up
    FAULT = 3  # an access that the page-fault handler did not resolve
    EXCEPTION = 4  # a vector of the IDT
    INVALID_OPCODE = 5


class Trap(NamedTuple):
    """One entry into the kernel; ``fault``/``access`` for FAULT, ``vector``/``error_code``/``dr6`` for EXCEPTION."""

    kind: TrapKind
    fault: PageFault | GeneralProtection | None = None
    access: Access = Access.READ
    vector: int = 0
    error_code: int = 0
    #: What a debug exception leaves in DR6: BS for a single step.
    dr6: int = 0


#: The trap of every system call, and that of the end of every slice.
SYSCALL_TRAP, SLICE_TRAP = Trap(TrapKind.SYSCALL), Trap(TrapKind.SLICE)
