"""A bare Uc behind an Mmu, for tests.  Code runs at CPL 0 and ends with HLT, which ends emu_start."""

from __future__ import annotations

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc, UcError
from unicorn.unicorn_const import UC_ERR_EXCEPTION
from unicorn.x86_const import (
    UC_X86_REG_RAX,
    UC_X86_REG_RBX,
    UC_X86_REG_RCX,
    UC_X86_REG_RDX,
    UC_X86_REG_RIP,
    UC_X86_REG_RSI,
    UC_X86_REG_RSP,
)

from mmu import Access, Mmu, PhysicalMemory
from mmu.plugin import Fault
from tests.mmu.tables import Tables

CODE, CODE_PADDR = 0x40_0000, 0x10_0000
#: Two pages of data, far from each other.
DATA, DATA_PADDR = 0x80_0000, 0x20_0000
OTHER, OTHER_PADDR = 0x7FFF_FFFF_0000, 0x30_0000

REGISTERS = {
    "rax": UC_X86_REG_RAX,
    "rbx": UC_X86_REG_RBX,
    "rcx": UC_X86_REG_RCX,
    "rdx": UC_X86_REG_RDX,
    "rsi": UC_X86_REG_RSI,
    "rsp": UC_X86_REG_RSP,
    "rip": UC_X86_REG_RIP,
}

# machine code, in hexadecimal
HLT = "f4"
LOAD = "488b03"  # mov rax, [rbx]
STORE = "488903"  # mov [rbx], rax
ADD = "480103"  # add [rbx], rax
LOAD_OTHER = "488b0a"  # mov rcx, [rdx]
JUMP = "ffe3"  # jmp rbx


def returns(number: int) -> bytes:
    """mov eax, number; ret"""
    return b"\xb8" + number.to_bytes(4, "little") + b"\xc3"


class Guest:
    """16 MiB of memory, tables from 0x1000 on, and an engine whose CR3 is loaded."""

    def __init__(self, ram_bytes: int = 16 << 20, *, ring_capacity: int = 1 << 15, tlb: str = "off") -> None:
        self.ram = PhysicalMemory(ram_bytes)
        self.tables = Tables(self.ram)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.mmu = Mmu(self.uc, self.ram, ring_capacity=ring_capacity, tlb=tlb)
        self.mmu.load_cr3(self.tables.cr3)

    def program(self, *instructions: str) -> None:
        """Put code, with a HLT behind it, on a read-only page at CODE."""
        self.ram.write(CODE_PADDR, bytes.fromhex("".join(instructions) + HLT))
        self.mmu.code_written(CODE_PADDR >> 12)
        self.tables.map_page(CODE, CODE_PADDR, RW=0, A=1)

    def run(self, start: int = CODE, **registers: int) -> int:
        """Set registers, run to the HLT; returns RAX."""
        for name, value in registers.items():
            self[name] = value
        self.uc.emu_start(start, 0)
        return self["rax"]

    def stops(self, start: int = CODE, **registers: int) -> None:
        """Run to an access that stops emulation; why is left for take_failure."""
        with pytest.raises(UcError) as caught:
            self.run(start, **registers)
        assert caught.value.errno == UC_ERR_EXCEPTION

    def fails(self, start: int = CODE, **registers: int) -> tuple[Fault, Access]:
        """Run to an access that no handler resolves; returns it."""
        self.stops(start, **registers)
        failure = self.mmu.take_failure()
        assert failure is not None
        return failure

    def __getitem__(self, register: str) -> int:
        return int(self.uc.reg_read(REGISTERS[register]))

    def __setitem__(self, register: str, value: int) -> None:
        self.uc.reg_write(REGISTERS[register], value)
