"""Instructions at CPL 0 that change what the MMU holds, when a guest executes them: INVLPG and MOV to CR3.

Unicorn has no hook for them.  A page is looked through for their opcodes when it is first fetched from, before Unicorn
translates it, and a code hook is put on every place where one could begin; it runs only where an instruction really
begins there.

How far this goes: INVLPG and MOV to CR3 take effect; a value that raises #GP on a processor ends emulation with the
ValueError of :meth:`mmu.Mmu.load_cr3`.  INVPCID raises #UD in Unicorn whatever the model says; MOV to CR0 or CR4, WRMSR
of IA32_EFER, IA32_PKRS or IA32_PAT, WRPKRU, STAC and CLAC are not seen: set :attr:`mmu.Mmu.registers` instead.  Code
that is written after its page was first fetched from is looked through again only when it is dropped
(:meth:`mmu.Mmu.code_written`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unicorn import UC_HOOK_CODE, Uc
from unicorn import x86_const as x86

from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from mmu.plugin import Mmu

_MAX_INSTRUCTION = 15
_MOV_TO_CR = b"\x0f\x22"
_GROUP_7 = b"\x0f\x01"
_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, *range(0x40, 0x50)))


def candidates(page: bytes) -> Iterator[int]:
    """Offsets at which INVLPG or MOV to CR3 could begin, prefixes included."""
    for opcode in (_GROUP_7, _MOV_TO_CR):
        at = page.find(opcode)
        while at >= 0:
            modrm = page[at + 2] if at + 2 < len(page) else None
            wanted = modrm is None or (
                (modrm >> 3) & 7 == 7 and modrm >> 6 != 3 if opcode == _GROUP_7 else (modrm >> 3) & 7 == 3
            )
            if wanted:
                yield at
                start = at
                while start > 0 and page[start - 1] in _PREFIXES and at - start < _MAX_INSTRUCTION - 3:
                    start -= 1
                    yield start
            at = page.find(opcode, at + 1)


class PrivilegedInstructions:
    """Watches the code of a bare engine for the instructions above."""

    def __init__(self, mmu: Mmu) -> None:
        from capstone import CS_ARCH_X86, CS_MODE_64, Cs

        self._mmu = mmu
        self._decoder = Cs(CS_ARCH_X86, CS_MODE_64)
        self._decoder.detail = True
        self._hooked: set[int] = set()

    def page_fetched(self, vaddr: int, frame: int) -> None:
        """Code of this frame is about to be translated for the first time."""
        page = self._mmu.ram.read(frame * PAGE_SIZE, PAGE_SIZE)
        for offset in candidates(page):
            address = (vaddr & -PAGE_SIZE) + offset
            if address not in self._hooked:
                self._hooked.add(address)
                self._mmu.uc.hook_add(UC_HOOK_CODE, self._on_instruction, None, address, address)

    def _on_instruction(self, uc: Uc, address: int, size: int, _data: Any) -> None:
        if self._mmu.state.cpl:
            return  # #GP, which Unicorn raises
        from mmu.translation import translate

        code = b""
        for at in range(address, address + size):
            code += self._mmu.ram.read(translate(self._mmu.ram, self._mmu.registers, at).paddr, 1)
        instruction = next(self._decoder.disasm(code, address), None)
        if instruction is None:
            return
        if instruction.mnemonic == "invlpg":
            self._mmu.invlpg(self._effective_address(uc, instruction))
        elif instruction.mnemonic == "mov" and instruction.op_str.startswith("cr3,"):
            name = instruction.op_str.split(",")[1].strip()
            self._mmu.load_cr3(int(uc.reg_read(_register(name))))

    @staticmethod
    def _effective_address(uc: Uc, instruction: Any) -> int:
        """The linear address of a memory operand."""
        operand = instruction.operands[0].mem
        address = operand.disp
        for register, scale in ((operand.base, 1), (operand.index, operand.scale)):
            if register:
                name = instruction.reg_name(register)
                value = instruction.address + instruction.size if name == "rip" else int(uc.reg_read(_register(name)))
                address += value * scale
        if operand.segment and instruction.reg_name(operand.segment) in ("fs", "gs"):
            address += int(uc.reg_read(_register(f"{instruction.reg_name(operand.segment)}_base")))
        return int(address) & 0xFFFF_FFFF_FFFF_FFFF


def _register(name: str) -> int:
    return int(getattr(x86, f"UC_X86_REG_{name.upper()}"))
