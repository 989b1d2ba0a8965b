"""Unicorn's own walk (UC_TLB_CPU) over a forest: uc_vmem_translate for all cases, instructions for one."""

from __future__ import annotations

import ctypes
from itertools import repeat

import numpy as np
import numpy.typing as npt
from unicorn import UC_ARCH_X86, UC_HOOK_INTR, UC_MODE_64, UC_PROT_ALL, UC_TLB_CPU, Uc
from unicorn.unicorn_py3.unicorn import uclib
from unicorn.x86_const import (
    UC_CPU_X86_ICELAKE_SERVER,
    UC_X86_REG_CR0,
    UC_X86_REG_CR2,
    UC_X86_REG_CR3,
    UC_X86_REG_CR4,
    UC_X86_REG_EFLAGS,
    UC_X86_REG_MSR,
)

from mmu import CR4, Access, PhysicalMemory, Registers
from mmu.unicorn_abi import Context, check, emu_start, flush_tlb, general_registers, handle
from tests.mmu.matrix_cases import CODE, CODE_PADDR, Forest, Setting

MSR_EFER, MSR_STAR = 0xC000_0080, 0xC000_0081
RFLAGS_AC, RFLAGS_FIXED = 1 << 18, 2
RAX, RCX, RDX, RBX = 0, 1, 2, 3
HLT = 0xF4
#: One instruction a kind of access, in 16 bytes, with the address in RBX and HLT in AL; then HLT.
PROBES = {
    Access.READ: bytes.fromhex("8a03f4"),  # mov al, [rbx]
    Access.WRITE: bytes.fromhex("8803f4"),  # mov [rbx], al
    Access.FETCH: bytes.fromhex("ffe3"),  # jmp rbx, to a HLT
}
SYSRETQ, WRPKRU, PUSH = (0x80, "480f07"), (0x90, "0f01eff4"), (0xA0, "50f4")
UC_PROT = {Access.READ: 1, Access.WRITE: 2, Access.FETCH: 4}
#: HLT ends a run of a supervisor; a user gets #GP for it.
DONE = {0: [], 3: [13]}

_vmem_translate = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p)(
    ("uc_vmem_translate", uclib)
)


class Engine:
    """An engine with its own walker, whose registers can be set to any :class:`Registers` that it models."""

    def __init__(self, ram: PhysicalMemory) -> None:
        self.ram = ram
        for at, code in (SYSRETQ, WRPKRU, PUSH):
            ram.write(CODE_PADDR + at, bytes.fromhex(code))
        for access, probe in PROBES.items():
            ram.write(CODE_PADDR + 16 * access, probe)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.uc.ctl_set_cpu_model(UC_CPU_X86_ICELAKE_SERVER)
        self.uc.mem_map_ptr(0, ram.size, UC_PROT_ALL, ram.host)
        self.uc.ctl_set_tlb_mode(UC_TLB_CPU)
        self.uc.ctl_exits_enabled(True)
        self.uc.ctl_set_exits([])
        self.uc.hook_add(UC_HOOK_INTR, self._on_interrupt)
        self.interrupts: list[int] = []
        self.general = general_registers(self.uc)
        self._handle = handle(self.uc)
        self._pristine, self._after = Context(self.uc), Context(self.uc)
        self._pristine.save()
        self._contexts: dict[Registers, Context] = {}

    def _on_interrupt(self, uc: Uc, number: int, _data: object) -> None:
        self.interrupts.append(number)
        uc.emu_stop()

    def load(self, registers: Registers, cr3: int) -> None:
        """Set the registers; the top table at ``cr3`` maps the pages of code."""
        context = self._contexts.get(registers)
        if context is None:
            context = self._contexts[registers] = self._prepare(registers, cr3)
        context.restore()
        self.uc.reg_write(UC_X86_REG_CR3, cr3)
        flush_tlb(self.uc)

    def _prepare(self, registers: Registers, cr3: int) -> Context:
        """Ring 3 is entered by SYSRET, which needs no descriptor table."""
        uc = self.uc
        self._pristine.restore()
        uc.reg_write(UC_X86_REG_MSR, (MSR_EFER, registers.efer))
        uc.reg_write(UC_X86_REG_CR3, cr3)
        uc.reg_write(UC_X86_REG_CR4, registers.cr4)
        uc.reg_write(UC_X86_REG_CR0, registers.cr0)
        flush_tlb(uc)
        assert uc.reg_read(UC_X86_REG_CR4) == registers.cr4, "the model has every feature"
        if registers.cr4 & CR4.PKE:
            self.general[RAX], self.general[RCX], self.general[RDX] = registers.pkru, 0, 0
            check(emu_start(self._handle, CODE[0] + WRPKRU[0], 0, 0, 0), "wrpkru")
        if registers.cpl == 3:
            uc.reg_write(UC_X86_REG_MSR, (MSR_STAR, 0x10 << 48))
            self.general[RCX] = CODE[3] + 0x92  # the HLT of WRPKRU
            self.general[11] = RFLAGS_FIXED
            uc.ctl_set_exits([CODE[3] + 0x92])
            check(emu_start(self._handle, CODE[0] + SYSRETQ[0], 0, 0, 0), "sysret")
            uc.ctl_set_exits([])
        uc.reg_write(UC_X86_REG_EFLAGS, RFLAGS_FIXED | RFLAGS_AC * registers.ac)
        context = Context(uc)
        context.save()
        return context

    def translate(self, vaddr: int, access: Access) -> int | None:
        """The physical address, or None for a fault."""
        found = ctypes.c_uint64()
        failed = _vmem_translate(self._handle, vaddr, UC_PROT[access], ctypes.addressof(found))
        return None if failed else found.value

    def execute(self, vaddr: int, access: Access, cpl: int, *, at: int | None = None) -> tuple[int, int, int] | None:
        """Make the access by an instruction: (vector, error code, CR2), or None if nothing happened."""
        self.interrupts.clear()
        self.general[RBX], self.general[RAX] = vaddr, HLT
        check(emu_start(self._handle, CODE[cpl] + (16 * access if at is None else at), 0, 0, 0), "probe")
        if self.interrupts == DONE[cpl] and (not self.interrupts or self._error_code() == 0):
            return None
        (vector,) = self.interrupts
        return vector, self._error_code(), int(self.uc.reg_read(UC_X86_REG_CR2))

    def _error_code(self) -> int:
        self._after.save()
        return self._after.error_code


class UnicornWalks:
    """uc_vmem_translate over a forest."""

    def __init__(self, forest: Forest) -> None:
        self.engine = Engine(forest.ram)
        self._forest = forest
        self._vaddrs = forest.vaddrs.tolist()
        self._found = np.zeros(forest.size, dtype=np.uint64)
        self._places = [self._found.ctypes.data + 8 * case for case in range(forest.size)]

    def run(self, setting: Setting) -> npt.NDArray[np.uint64]:
        """The address of every case, 0 for a fault; the tables keep what that did to them."""
        forest, prot = self._forest, repeat(UC_PROT[setting.access])
        forest.restore()
        status: list[int] = []
        for cr3, start, end in forest.chunks:
            self.engine.load(setting.registers, cr3)
            uc = repeat(handle(self.engine.uc))
            status += map(_vmem_translate, uc, self._vaddrs[start:end], prot, self._places[start:end])
        return np.where(np.array(status) == 0, self._found, np.uint64(0))
