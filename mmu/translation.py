"""translate: one page walk from Python, with the same code that the hooks run."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from mmu.entries import describe
from mmu.events import EVENT
from mmu.faults import GeneralProtection, PageFault
from mmu.memory import BusError, PhysicalMemory
from mmu.objectcode import Library, load
from mmu.registers import Access, Registers
from mmu.state import MmuState, Status


def library() -> Library:
    """The MMU's entry points."""
    return load("mmu.hooks", "mmu.walk", "mmu.events", "mmu.state", "mmu.entries", "mmu.registers")


def load_registers(state: MmuState, registers: Registers) -> None:
    """Copy the registers to the record that native code sees."""
    state.cr0, state.cr3, state.cr4 = registers.cr0, registers.cr3, registers.cr4
    state.efer, state.cpl, state.maxphyaddr = registers.efer, registers.cpl, registers.maxphyaddr


@dataclass(frozen=True)
class WalkStep:
    """One entry that a walk read: its level, its physical address, its value before the walk touched it."""

    level: int
    paddr: int
    value: int

    def __str__(self) -> str:
        return f"[{self.paddr:#x}] = {self.value:#018x}  {describe(self.level, self.value)}"


@dataclass(frozen=True)
class Translation:
    """A successful walk: the physical address, the page's size in bytes, the level of its leaf entry, and what was
    read.
    """

    vaddr: int
    paddr: int
    page_size: int
    level: int
    steps: tuple[WalkStep, ...]


class Walker:
    """Walks the tables in one memory; keep it where many addresses are translated."""

    def __init__(self, ram: PhysicalMemory) -> None:
        self._record = np.zeros(1, dtype=EVENT)
        self._slots = np.zeros(8, dtype=np.uint64)
        self._state = MmuState(ram=ram.host, ram_bytes=ram.size, ring=self._record.ctypes.data, ring_capacity=1)
        self._state.slots = self._slots.ctypes.data
        self._ram = ram
        self._address = ctypes.addressof(self._state)
        self._walk = library()["walk_once"].call

    def steps(self) -> tuple[WalkStep, ...]:
        """What the last walk read, top level first."""
        entries = self._record["entries"][0]
        lowest = self._state.level
        return tuple(WalkStep(k, int(self._slots[k]), int(entries[k - 1])) for k in range(4, lowest - 1, -1))

    def translate(self, registers: Registers, vaddr: int, access: Access) -> Translation:
        """See :func:`translate`."""
        state = self._state
        load_registers(state, registers)
        status = self._walk(self._address, vaddr, access)
        library().raise_failures()
        if status == Status.PAGE_FAULT:
            raise PageFault(vaddr, state.error_code)
        if status == Status.GENERAL_PROTECTION:
            raise GeneralProtection(vaddr)
        if status == Status.BUS or state.paddr >= self._ram.size:
            raise BusError(f"the tables for {vaddr:#x} lead outside physical memory of {self._ram.size:#x} bytes")
        level = state.level
        return Translation(vaddr, state.paddr, 1 << (12 + 9 * (level - 1)), level, self.steps())


def translate(ram: PhysicalMemory, registers: Registers, vaddr: int, access: Access = Access.READ) -> Translation:
    """Translate one linear address as the processor would (SDM vol. 3, 4.5), setting A and D.

    Raises :class:`PageFault`, :class:`GeneralProtection` (not canonical), or :class:`BusError` (tables outside
    ``ram``).

    >>> ram = PhysicalMemory(1 << 20)
    >>> translate(ram, Registers(cr3=0x1000), 0x400000)
    Traceback (most recent call last):
    mmu.faults.PageFault: #PF at 0x400000, error code 0x4 (user read: not present)
    """
    return Walker(ram).translate(registers, vaddr, access)
