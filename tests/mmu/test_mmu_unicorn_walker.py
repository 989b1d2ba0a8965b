"""Our walk against Unicorn's own (UC_TLB_CPU): another implementation of the same manual, in C, by other people.

Random entries at every level, under every combination of CR0.WP, EFER.NXE and privilege.  ``uc_vmem_translate`` tells
the address, or that there is a fault; the error code comes from an instruction that makes the access (#PF, vector 14).
"""

from __future__ import annotations

import ctypes
import random
from collections import Counter
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

from mmu import CR0, EFER, Access, PhysicalMemory, Registers
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE
from mmu.translation import Walker
from mmu.unicorn_abi import Context, emu_start, flush_tlb, handle
from tests.mmu.random_trees import CR3, RAM_BYTES, Tree, random_tree
from tests.mmu.tables import Tables

MAXPHYADDR = 40  # fixed in Unicorn
SEED = 20231
TREES = 2000  # for each of the eight combinations of controls
CONTROLS = list(product((0, 3), (False, True), (False, True)))  # CPL, CR0.WP, EFER.NXE
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
        self.uc.mem_map_ptr(0, ram.size, UC_PROT_ALL, ram.host)
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


def theirs(tree: Tree, engine: Engine, context: Context, access: Access) -> tuple[str, list[int]]:
    tree.write()
    context.restore()
    paddr = engine.translate(tree.vaddr, access)
    if paddr is None:
        return f"#PF {engine.error_code(tree.vaddr, access):#x}", []
    return f"{paddr:#x}", tree.read()


@pytest.mark.parametrize(("cpl", "wp", "nxe"), CONTROLS)
def test_random_tables(cpl: int, wp: bool, nxe: bool) -> None:
    ram = PhysicalMemory(RAM_BYTES)
    engine, walker = Engine(ram), Walker(ram)
    rng = random.Random(f"{SEED} {cpl} {wp} {nxe}")
    context, registers = engine.contexts[cpl, wp, nxe]
    seen: Counter[str] = Counter()
    for _ in range(TREES):
        tree = random_tree(rng, ram, MAXPHYADDR)
        for access in Access:
            ours = tree.translate(walker, registers, access)
            assert ours == theirs(tree, engine, context, access), (access, tree)
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
