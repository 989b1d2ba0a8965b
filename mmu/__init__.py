"""The hardware: physical memory, paging registers, paging-structure entries, the page walk, TLB models, and their
attachment to Unicorn.

This package knows Unicorn, but no processes, files or system calls.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmu.entries import MemoryType
from mmu.event_ring import EventRing
from mmu.events import EventKind
from mmu.faults import ErrorCode, GeneralProtection, NotCanonical, PageFault, StackFault
from mmu.memory import BusError, PhysicalMemory
from mmu.plugin import Mmu
from mmu.registers import CR0, CR4, EFER, Access, Registers, Rights
from mmu.steps import WalkStep
from mmu.translation import Translation, Walker, translate, translate_many
from mmu.virtual import HookedAccess

if TYPE_CHECKING:
    from mmu.event_table import EVENT, EventTable
    from mmu.geometry import Geometry
    from mmu.model import Invpcid, TlbModel
    from mmu.presets import load_preset

#: Names that most users do not need are imported at first use.
_LATE = {
    "EVENT": "mmu.event_table",
    "EventTable": "mmu.event_table",
    "Geometry": "mmu.geometry",
    "Invpcid": "mmu.model",
    "TlbModel": "mmu.model",
    "load_preset": "mmu.presets",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'mmu' has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)


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
    "EventTable",
    "GeneralProtection",
    "Geometry",
    "HookedAccess",
    "Invpcid",
    "MemoryType",
    "Mmu",
    "NotCanonical",
    "PageFault",
    "PhysicalMemory",
    "Registers",
    "Rights",
    "StackFault",
    "TlbModel",
    "Translation",
    "WalkStep",
    "Walker",
    "load_preset",
    "translate",
    "translate_many",
]
