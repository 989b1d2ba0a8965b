"""The hardware: physical memory, paging registers, paging-structure entries, the page walk, TLB models, and their
attachment to Unicorn.

This package knows Unicorn, but no processes, files or system calls.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmu.entries import MemoryType
    from mmu.event_ring import EventRing
    from mmu.event_table import EVENT, EventTable
    from mmu.events import EventKind
    from mmu.faults import ErrorCode, GeneralProtection, NotCanonical, PageFault, StackFault
    from mmu.geometry import Geometry
    from mmu.memory import BusError, PhysicalMemory
    from mmu.model import Invpcid, TlbModel
    from mmu.plugin import Mmu
    from mmu.presets import load_preset
    from mmu.registers import CR0, CR4, EFER, Access, Registers, Rights
    from mmu.steps import WalkStep
    from mmu.translation import Translation, Walker, translate, translate_many
    from mmu.virtual import HookedAccess

#: Where each name is from: it is imported when somebody asks for it.
_FROM = {
    "mmu.entries": "MemoryType",
    "mmu.event_ring": "EventRing",
    "mmu.event_table": "EVENT EventTable",
    "mmu.events": "EventKind",
    "mmu.faults": "ErrorCode GeneralProtection NotCanonical PageFault StackFault",
    "mmu.geometry": "Geometry",
    "mmu.memory": "BusError PhysicalMemory",
    "mmu.model": "Invpcid TlbModel",
    "mmu.plugin": "Mmu",
    "mmu.presets": "load_preset",
    "mmu.registers": "Access CR0 CR4 EFER Registers Rights",
    "mmu.steps": "WalkStep",
    "mmu.translation": "Translation Walker translate translate_many",
    "mmu.virtual": "HookedAccess",
}
_MODULE_OF = {name: module for module, names in _FROM.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mmu' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


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
