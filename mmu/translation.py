"""translate and translate_many: page walks from Python, with the same code that the hooks run."""

from __future__ import annotations

import ctypes
import functools
from itertools import product
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from mmu.entries import PS, G, MemoryType, decode, memory_type, page_bytes, reserved_bits
from mmu.events import EventRecord
from mmu.faults import GeneralProtection, PageFault, StackFault
from mmu.memory import BusError, PhysicalMemory
from mmu.objectcode import Library, load
from mmu.record import record
from mmu.registers import CR4, EFER, Access, Registers, Rights, check_access, check_linear
from mmu.shown import ShownInHex
from mmu.state import MmuState, Status
from mmu.steps import WalkStep
from mmu.walk import key_denies, page_rights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def library() -> Library:
    """The MMU's entry points."""
    return load("mmu.hooks")


def batch_library() -> Library:
    """The entry point for whole arrays."""
    return load("mmu.batch")


def load_registers(state: MmuState, registers: Registers) -> None:
    """Copy the registers to the record that native code sees."""
    state.cr0, state.cr3, state.cr4 = registers.cr0, registers.cr3, registers.cr4
    state.efer, state.cpl, state.maxphyaddr = registers.efer, registers.cpl, registers.maxphyaddr
    state.ac, state.pkru, state.pkrs, state.implicit = registers.ac, registers.pkru, registers.pkrs, registers.implicit
    nxe = bool(registers.efer & EFER.NXE)
    masks, state.unusual = _reserved_masks(registers.maxphyaddr, nxe, registers.pages_1g, registers.upper_g_reserved)
    state.reserved[2:] = [*masks]


@functools.cache
def _reserved_masks(maxphyaddr: int, nxe: bool, pages_1g: bool, upper_g_reserved: bool) -> tuple[tuple[int, ...], int]:
    """What :class:`mmu.state.MmuState` has as reserved, from level 1 on, and as unusual."""
    masks = tuple(
        reserved_bits(level, leaf, maxphyaddr, nxe=nxe, pages_1g=pages_1g, upper_g_reserved=upper_g_reserved)
        for level, leaf in product(range(1, 6), (False, True))
    )
    return masks, PS | masks[2] | masks[4] | masks[6]  # the tables of level 4, 3 and 2


#: An event mask for no kind of event, with which a walk leaves the entries that it reads in the event record.
_ENTRIES = 1
#: An array of :data:`mmu.batch.OUTCOME`.
Outcomes: TypeAlias = "npt.NDArray[np.void]"


@record(frozen=True, repr=False)
class Translation(ShownInHex):
    """A successful walk.

    The physical address; the page's size in bytes; the level of its leaf entry; what was read; what the current mode
    may do with the page (``rights``, its protection key included); whether the translation is global (CR4.PGE and G);
    IA32_PAT as it was.
    """

    _hexadecimal: ClassVar[frozenset[str]] = frozenset(("vaddr", "paddr", "page_size", "pat"))

    vaddr: int
    paddr: int
    page_size: int
    level: int
    steps: tuple[WalkStep, ...]
    rights: Rights
    is_global: bool
    pat: int

    @property
    def key(self) -> int:
        """The protection key in the leaf, which counts with CR4.PKE (a user page) or CR4.PKS (a supervisor page)."""
        return decode(self.level, self.steps[-1].value)["PKEY"]

    @property
    def memory_type(self) -> MemoryType:
        """The memory type that the leaf entry selects from IA32_PAT."""
        return memory_type(self.level, self.steps[-1].value, self.pat)


class Walker:
    """Walks the tables in one memory; keep it where many addresses are translated.

    Nothing it does is recorded: no event, and no counter of an :class:`mmu.Mmu`.  :meth:`translate` raises what
    :func:`translate` does.

    >>> walker = Walker(PhysicalMemory(1 << 20))
    >>> walker.translate(Registers(cr3=0x1000), 0x400000, Access.WRITE)
    Traceback (most recent call last):
    mmu.faults.PageFault: #PF at 0x400000, error code 0x6 (user write: not present)
    """

    def __init__(self, ram: PhysicalMemory, *, marks: bool = True) -> None:
        """With ``marks`` false, A and D stay as they are."""
        self._record = EventRecord()
        ring = ctypes.addressof(self._record)
        self._state = MmuState(ram=ram.host, ram_bytes=ram.size, ring=ring, ring_capacity=1)
        self._state.read_only = not marks
        self._ram = ram
        self._address = ctypes.addressof(self._state)
        self._levels = 4
        self._loaded: Registers | None = None
        self._walk = library()["walk_once"].call

    def _load(self, registers: Registers) -> None:
        if registers is not self._loaded:
            load_registers(self._state, registers)
            self._levels, self._loaded = registers.levels, registers

    def steps(self) -> tuple[WalkStep, ...]:
        """What the last walk read, top level first."""
        entries = self._record.entries
        slots, lowest = self._state.slots, self._state.walked.level
        return tuple(WalkStep(k, slots[k], entries[k - 1]) for k in range(self._levels, lowest - 1, -1))

    def translate(self, registers: Registers, vaddr: int, access: Access, *, stack: bool = False) -> Translation:
        """See :func:`translate`."""
        check_linear(vaddr)
        check_access(access)
        state = self._state
        self._load(registers)
        state.event_mask = _ENTRIES
        status = self._walk(self._address, vaddr, access)
        if status == Status.PAGE_FAULT:
            raise PageFault(vaddr, state.walked.error_code, bytes(state.failed))
        if status == Status.GENERAL_PROTECTION:
            raise StackFault(vaddr) if stack else GeneralProtection(vaddr)
        if status == Status.BUS or state.walked.paddr >= self._ram.size:
            raise BusError(f"the tables for {vaddr:#x} lead outside physical memory of {self._ram.size:#x} bytes")
        return self._translation(registers, vaddr)

    def _translation(self, registers: Registers, vaddr: int) -> Translation:
        state = self._state
        walked, level, leaf = state.walked, state.walked.level, state.walked.leaf
        rights = page_rights(state, walked.every, walked.any_xd) & ~key_denies(state, walked.every, leaf)
        return Translation(
            vaddr=vaddr,
            paddr=walked.paddr,
            page_size=page_bytes(level),
            level=level,
            steps=self.steps(),
            rights=Rights(rights),
            is_global=bool(leaf & G and registers.cr4 & CR4.PGE),
            pat=registers.pat,
        )

    def translate_many(self, registers: Registers, vaddrs: npt.NDArray[np.uint64], access: Access) -> Outcomes:
        """See :func:`translate_many`."""
        import numpy as np

        from mmu.batch import OUTCOME

        check_access(access)
        given = np.asarray(vaddrs)
        if given.dtype.kind != "u" and given.size:
            check_linear(int(given.min()))
        addresses = np.ascontiguousarray(given, dtype=np.uint64)
        if addresses.ndim != 1:
            raise ValueError(f"the addresses are a one-dimensional array, not one of {addresses.ndim} dimensions")
        outcomes: Outcomes = np.zeros(len(addresses), dtype=OUTCOME)
        self._load(registers)
        self._state.event_mask = 0
        walk_many = batch_library()["walk_many"].call  # late: a machine has no use for it
        walk_many(self._address, addresses.ctypes.data, len(addresses), access, outcomes.ctypes.data)
        return outcomes


def translate(
    ram: PhysicalMemory, registers: Registers, vaddr: int, access: Access = Access.READ, *, stack: bool = False
) -> Translation:
    """Translate one linear address as the processor would (SDM vol. 3, 4.5), setting A and D.

    Raises :class:`PageFault`; where the address is not canonical :class:`GeneralProtection` or, for an access through
    the ``stack`` segment, :class:`StackFault`; :class:`BusError` if a table or the page lies outside ``ram``;
    ValueError for an ``access`` that there is not, and for a number that is no address.

    >>> ram = PhysicalMemory(1 << 20)
    >>> translate(ram, Registers(cr3=0x1000), 0x400000)
    Traceback (most recent call last):
    mmu.faults.PageFault: #PF at 0x400000, error code 0x4 (user read: not present)
    """
    return Walker(ram).translate(registers, vaddr, access, stack=stack)


def translate_many(
    ram: PhysicalMemory, registers: Registers, vaddrs: npt.NDArray[np.uint64], access: Access = Access.READ
) -> Outcomes:
    """Translate many linear addresses, one after the other, each as :func:`translate` does; nothing is raised for them.

    Returns an array of :data:`mmu.batch.OUTCOME`, one record an address: ``status`` (a :class:`mmu.state.Status`: OK,
    PAGE_FAULT, GENERAL_PROTECTION for one that is not canonical, BUS for tables or a page outside ``ram``), ``paddr``
    (0 unless OK), ``error_code`` (0 unless PAGE_FAULT), and ``level``: of the leaf entry, or of the entry that faulted.

    One call of native code for all of them.  No event is recorded and nothing is counted.

    >>> import numpy as np
    >>> ram = PhysicalMemory(1 << 20)
    >>> found = translate_many(ram, Registers(cr3=0x1000), np.array([0x400000, 1 << 63], dtype=np.uint64))
    >>> found["status"].tolist(), found["error_code"].tolist()
    ([1, 2], [4, 0])
    """
    return Walker(ram).translate_many(registers, vaddrs, access)
