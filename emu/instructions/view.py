"""What a function that executes an instruction has of the CPU: registers, and memory through the guest's tables."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unicorn import x86_const as x86

from emu.instructions.instruction import NO_REGISTER, Instruction
from emu.instructions.raised import GP, SS, Raised
from mmu import Access, GeneralProtection, PageFault, unicorn_abi
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.engine.fpu import Fpu
    from emu.instructions.host import Host
    from emu.instructions.opcodes import Mode
    from mmu import Mmu

_RSP = 4
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: A page-fault handler that says "fixed" this often for one access without making it succeed is broken.
_MAX_RETRIES = 64


class Unresolved(Exception):
    """An access that the page-fault handler did not resolve."""

    def __init__(self, fault: PageFault | GeneralProtection, access: Access) -> None:
        super().__init__(str(fault))
        self.fault, self.access = fault, access


class CpuView:
    """The state before the instruction."""

    def __init__(self, mmu: Mmu, registers: Any, fpu: Fpu, set_mode: Callable[[Mode, bool], None]) -> None:
        """``registers``: as :func:`mmu.unicorn_abi.general_registers`."""
        #: What follows is looked through in this mode too, or no longer.
        self.set_mode = set_mode
        #: Executes floating-point instructions; made when one is there.
        self.host: Host | None = None
        self.uc, self.mmu, self.fpu = mmu.uc, mmu, fpu
        #: RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15, by number; to be read and written.
        self.registers = registers
        #: For the prefixes 0x64 (FS) and 0x65 (GS), the host address of the segment's base.
        self.segments = unicorn_abi.segment_bases(mmu.uc)

    @property
    def rflags(self) -> int:
        """RFLAGS."""
        return int(self.uc.reg_read(x86.UC_X86_REG_RFLAGS))

    @rflags.setter
    def rflags(self, value: int) -> None:
        self.uc.reg_write(x86.UC_X86_REG_RFLAGS, value)

    def effective_address(self, instruction: Instruction) -> int:
        """The linear address of the memory operand."""
        memory = instruction.memory
        address = memory.displacement
        for register, scale in ((memory.base, 1), (memory.index_register, memory.scale)):
            if register != NO_REGISTER:
                address += self.registers[register] * scale
        address &= memory.bits
        if memory.segment:
            address += self.segment_base(memory.segment)
        return int(address) & _ALL_ONES

    def segment_base(self, prefix: int) -> int:
        """The base of FS (0x64) or GS (0x65)."""
        return ctypes.c_uint64.from_address(self.segments[prefix]).value

    def load(self, instruction: Instruction, size: int) -> bytes:
        """The memory operand."""
        address, on_stack = self.effective_address(instruction), instruction.memory.on_stack
        return b"".join(
            self.mmu.ram.read(self._paddr(at, Access.READ, on_stack=on_stack), n) for at, n in _in_pages(address, size)
        )

    def store(self, instruction: Instruction, data: bytes) -> None:
        """Write the memory operand; nothing is written unless all of it can be."""
        pieces = _in_pages(self.effective_address(instruction), len(data))
        on_stack = instruction.memory.on_stack
        places = [(self._paddr(at, Access.WRITE, on_stack=on_stack), n) for at, n in pieces]
        for paddr, size in places:
            self.mmu.ram.write(paddr, data[:size])
            self.mmu.code_written(paddr >> 12)
            data = data[size:]

    def load_stack(self, size: int) -> int:
        """The number that POP would take."""
        pieces = _in_pages(self.registers[_RSP], size)
        code = b"".join(self.mmu.ram.read(self._paddr(at, Access.READ, on_stack=True), n) for at, n in pieces)
        return int.from_bytes(code, "little")

    def reach(self, instruction: Instruction, access: Access = Access.READ, offset: int = 0) -> None:
        """Fault as an access to a byte of the memory operand does, by default the first, and touch nothing."""
        address = self.effective_address(instruction) + offset & _ALL_ONES
        self._paddr(address, access, on_stack=instruction.memory.on_stack)

    def reach_address(self, address: int, access: Access) -> None:
        """The same of a linear address."""
        self._paddr(address & _ALL_ONES, access, on_stack=False)

    def _paddr(self, vaddr: int, access: Access, *, on_stack: bool) -> int:
        for _ in range(_MAX_RETRIES):
            try:
                return self.mmu.access(vaddr, access)
            except GeneralProtection:
                raise Raised(SS if on_stack else GP) from None
            except PageFault as fault:
                if self.mmu.on_page_fault is None or not self.mmu.on_page_fault(fault):
                    raise Unresolved(fault, access) from None
        raise RuntimeError(f"the page-fault handler said {_MAX_RETRIES} times that {vaddr:#x} is fixed, and it is not")


def _in_pages(address: int, size: int) -> list[tuple[int, int]]:
    """The parts of a range by page: address and size.  Behind the last byte comes the first."""
    pieces = []
    while size:
        here = min(size, PAGE_SIZE - address % PAGE_SIZE)
        pieces.append((address, here))
        address, size = address + here & _ALL_ONES, size - here
    return pieces
