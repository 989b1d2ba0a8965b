"""Our walk against Unicorn's own (UC_TLB_CPU): another implementation of the same manual, in C, by other people.

Random entries at every level, under every combination of CR0.WP, EFER.NXE and privilege.  ``uc_vmem_translate`` tells
the address, or that there is a fault; the error code comes from an instruction that makes the access (#PF, vector 14).
"""

from __future__ import annotations

import ctypes
import random
from collections import Counter
from dataclasses import dataclass
from itertools import product

import pytest
from unicorn import UC_ARCH_X86, UC_HOOK_INTR, UC_MODE_64, UC_PROT_ALL, UC_TLB_CPU, Uc
from unicorn.unicorn_py3.unicorn import uclib
from unicorn.x86_const import (
    UC_X86_REG_CR0,
    UC_X86_REG_CR2,
    UC_X86_REG_CR3,
    UC_X86_REG_CR4,
    UC_X86_REG_MSR,
    UC_X86_REG_RBX,
    UC_X86_REG_RCX,
)

from mmu import CR0, EFER, Access, PageFault, PhysicalMemory, Registers
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE
from mmu.translation import Walker
from mmu.unicorn_abi import Context, emu_start, flush_tlb, handle
from tests.mmu.tables import Tables

MAXPHYADDR = 40  # fixed in Unicorn
SEED = 20231
TREES = 2000  # for each of the eight combinations of controls
CONTROLS = list(product((0, 3), (False, True), (False, True)))  # CPL, CR0.WP, EFER.NXE
RAM_BYTES = 4 << 30
CR3 = 0x1000
TABLES = {4: CR3, 3: 0x11000, 2: 0x12000, 1: 0x13000}
CODE, CODE_PADDR = 0x40_0000, 0x20000
MSR_EFER, MSR_STAR = 0xC000_0080, 0xC000_0081
#: One instruction a kind of access, each alone in 16 bytes, with the address in RBX.
PROBES = {
    Access.READ: bytes.fromhex("8a03"),  # mov al, [rbx]
    Access.WRITE: bytes.fromhex("8803"),  # mov [rbx], al
    Access.FETCH: bytes.fromhex("ffe3"),  # jmp rbx
}
SYSRETQ = bytes.fromhex("480f07")
UC_PROT = {Access.READ: 1, Access.WRITE: 2, Access.FETCH: 4}


class Engine:
    """Unicorn with its own walker, and a saved context for each combination of controls."""

    def __init__(self, ram: PhysicalMemory) -> None:
        tables = Tables(ram, CR3)
        tables.map_page(CODE, CODE_PADDR)
        for access, code in PROBES.items():
            ram.write(CODE_PADDR + 16 * access, code)
        ram.write(CODE_PADDR + 0x80, SYSRETQ)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.uc.mem_map_ptr(0, ram.size, UC_PROT_ALL, ctypes.c_void_p(ram.host))
        self.uc.ctl_set_tlb_mode(UC_TLB_CPU)
        self.uc.ctl_exits_enabled(True)
        self.uc.hook_add(UC_HOOK_INTR, self._on_interrupt)
        self.interrupts: list[int] = []
        self._found = ctypes.c_uint64()
        self._after = Context(self.uc)
        self.contexts = {key: self._context(*key) for key in CONTROLS}

    def _on_interrupt(self, uc: Uc, number: int, _data: object) -> None:
        self.interrupts.append(number)
        uc.emu_stop()

    def _context(self, cpl: int, wp: bool, nxe: bool) -> tuple[Context, Registers]:
        """Registers of this privilege with paging on.  Ring 3 is entered by SYSRET, which needs no descriptor table."""
        cr0 = CR0_LONG_MODE if wp else CR0_LONG_MODE & ~CR0.WP
        efer = EFER_LONG_MODE if nxe else EFER_LONG_MODE & ~EFER.NXE
        uc = self.uc
        pristine = Context(uc)
        pristine.save()
        uc.reg_write(UC_X86_REG_MSR, (MSR_EFER, efer))
        uc.reg_write(UC_X86_REG_CR3, CR3)
        uc.reg_write(UC_X86_REG_CR4, CR4_LONG_MODE)
        uc.reg_write(UC_X86_REG_CR0, cr0)
        if cpl == 3:
            uc.reg_write(UC_X86_REG_MSR, (MSR_STAR, 0x10 << 48))
            uc.reg_write(UC_X86_REG_RCX, CODE + 0x90)
            uc.ctl_set_exits([CODE + 0x90])
            assert emu_start(handle(uc), CODE + 0x80, 0, 0, 0) == 0
            uc.ctl_set_exits([])
        context = Context(uc)
        context.save()
        pristine.restore()
        return context, Registers(cr3=CR3, cr0=cr0, efer=efer, cpl=cpl, maxphyaddr=MAXPHYADDR)

    def translate(self, vaddr: int, access: Access) -> int | None:
        """The physical address, or None for a fault."""
        flush_tlb(self.uc)
        status = uclib.uc_vmem_translate(
            ctypes.c_void_p(handle(self.uc)), ctypes.c_uint64(vaddr), UC_PROT[access], ctypes.byref(self._found)
        )
        return None if status else self._found.value

    def error_code(self, vaddr: int, access: Access) -> int:
        """Of the #PF that this access raises."""
        self.uc.reg_write(UC_X86_REG_RBX, vaddr)
        self.interrupts.clear()
        assert emu_start(handle(self.uc), CODE + 16 * access, 0, 0, 0) == 0
        assert self.interrupts == [14], self.interrupts
        assert self.uc.reg_read(UC_X86_REG_CR2) == vaddr
        self._after.save()
        return self._after.error_code


def random_path(rng: random.Random) -> tuple[int, dict[int, int]]:
    """An address and the entries on the way to it: mostly a page, with all that the format allows, and some errors."""
    vaddr = rng.randrange(1 << 39, 1 << 48)  # not below the code's PML4E
    if vaddr >> 47:
        vaddr |= 0xFFFF << 48
    leaf = rng.choices((1, 2, 3), (5, 3, 2))[0]
    entries = {}
    for level in (4, 3, 2, 1):
        entry = rng.getrandbits(64) & 0x7FF0_0000_0000_0F78  # PWT PCD A D G AVL PKEY and what is ignored
        for bit, chance in ((0, 0.97), (1, 0.8), (2, 0.8), (63, 0.1)):  # P RW US XD
            entry |= (rng.random() < chance) << bit
        if level > leaf:
            entry |= TABLES[level - 1]
        else:
            page_bytes = 1 << (3 + 9 * level)
            entry |= rng.randrange(RAM_BYTES // page_bytes) * page_bytes
        if level == leaf and level > 1:
            entry |= 1 << 7 | rng.getrandbits(1) << 12  # PS, PAT
        if rng.random() < 0.04:
            entry |= 1 << rng.choice([*range(MAXPHYADDR, 52), *(range(7, 30) if level == leaf else [7])])
        entries[level] = entry
    return vaddr, entries


@dataclass
class Tree:
    """One path in memory.  A result is an address with the entries afterwards, or a fault."""

    ram: PhysicalMemory
    vaddr: int
    entries: dict[int, int]

    def __post_init__(self) -> None:
        self.slots = {level: TABLES[level] + 8 * (self.vaddr >> (3 + 9 * level) & 511) for level in self.entries}

    def write(self) -> None:
        for level, slot in self.slots.items():
            self.ram.write_u64(slot, self.entries[level])

    def erase(self) -> None:
        for slot in self.slots.values():
            self.ram.write_u64(slot, 0)

    def _result(self, paddr: int) -> tuple[str, list[int]]:
        return f"{paddr:#x}", [self.ram.read_u64(slot) for slot in self.slots.values()]

    def ours(self, walker: Walker, registers: Registers, access: Access) -> tuple[str, list[int]]:
        self.write()
        try:
            return self._result(walker.translate(registers, self.vaddr, access).paddr)
        except PageFault as fault:
            return f"#PF {fault.error_code:#x}", []

    def theirs(self, engine: Engine, context: Context, access: Access) -> tuple[str, list[int]]:
        self.write()
        context.restore()
        paddr = engine.translate(self.vaddr, access)
        return (f"#PF {engine.error_code(self.vaddr, access):#x}", []) if paddr is None else self._result(paddr)


@pytest.mark.parametrize(("cpl", "wp", "nxe"), CONTROLS)
def test_random_tables(cpl: int, wp: bool, nxe: bool) -> None:
    ram = PhysicalMemory(RAM_BYTES)
    engine, walker = Engine(ram), Walker(ram)
    rng = random.Random(f"{SEED} {cpl} {wp} {nxe}")
    context, registers = engine.contexts[cpl, wp, nxe]
    seen: Counter[str] = Counter()
    for _ in range(TREES):
        tree = Tree(ram, *random_path(rng))
        for access in Access:
            ours, theirs = tree.ours(walker, registers, access), tree.theirs(engine, context, access)
            assert ours == theirs, (access, tree)
            seen[ours[0] if ours[0].startswith("#PF") else "paddr"] += 1
        tree.erase()
    assert seen["paddr"] > TREES / 2
    user = 4 if cpl == 3 else 0
    faults = {user, user | 2, user | 9, user | 11}  # not present; a reserved bit
    if nxe:
        faults |= {user | 0x10, user | 0x19, user | 0x11}  # the same of a fetch, and XD
    if wp or user:
        faults |= {user | 3}
    if user:
        faults |= {5}
    assert {f"#PF {code:#x}" for code in faults} <= set(seen), "the random tables meet every kind of fault"
