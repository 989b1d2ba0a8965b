"""The hardware: physical memory, paging registers, paging-structure entries, the page walk, and its attachment to
Unicorn.

Knows Unicorn; knows nothing of processes, files or system calls.
"""

from mmu.events import EVENT, EventKind, EventRing
from mmu.faults import ErrorCode, GeneralProtection, PageFault
from mmu.memory import BusError, PhysicalMemory
from mmu.plugin import Mmu
from mmu.registers import CR0, CR4, EFER, Access, Registers
from mmu.translation import Translation, Walker, WalkStep, translate

__all__ = [
    "CR0",
    "CR4",
    "EFER",
    "EVENT",
    "Access",
    "BusError",
    "ErrorCode",
    "EventKind",
    "EventRing",
    "GeneralProtection",
    "Mmu",
    "PageFault",
    "PhysicalMemory",
    "Registers",
    "Translation",
    "WalkStep",
    "Walker",
    "translate",
]
