"""What an Mmu asks of a Uc before it attaches itself, and the way of that engine to CPL 3."""

from __future__ import annotations

from typing import Any

from unicorn import UC_ARCH_X86, UC_ERR_EXCEPTION, UC_MODE_64, UC_QUERY_ARCH, UC_QUERY_MODE, Uc
from unicorn import x86_const as x86

from mmu import unicorn_abi
from mmu.guard import Guard
from mmu.hooks import PHYSMAP
from mmu.memory import PhysicalMemory
from mmu.state import MmuState

_IA32_EFER, _IA32_STAR = 0xC000_0080, 0xC000_0081
_SCE = 1 << 0
#: SYSRETQ takes CS 0x33 and SS 0x2b, both of RPL 3, from here.
_STAR_USER = 0x0023_0010 << 32
#: xor ecx, ecx; sysretq
_TO_CPL_3 = bytes.fromhex("31c9 480f07")
_KEPT = (x86.UC_X86_REG_RCX, x86.UC_X86_REG_R11, x86.UC_X86_REG_RFLAGS, x86.UC_X86_REG_RIP)


def check_engine(uc: Uc, ram: PhysicalMemory) -> None:
    """TypeError or ValueError, which says what is wrong, for an engine that no Mmu can be attached to."""
    if not isinstance(uc, Uc) or not isinstance(ram, PhysicalMemory):
        raise TypeError(f"Mmu(uc, ram) takes a unicorn.Uc and a PhysicalMemory, not {uc!r} and {ram!r}")
    if uc.query(UC_QUERY_ARCH) != UC_ARCH_X86 or uc.query(UC_QUERY_MODE) != UC_MODE_64:
        raise ValueError("an Mmu needs a Uc(UC_ARCH_X86, UC_MODE_64): paging is that of 64-bit mode")
    if getattr(uc, "_unimmu", None) is not None:
        raise ValueError("this Uc has an Mmu already: one engine, one Mmu")
    for begin, end, _ in uc.mem_regions():
        raise ValueError(
            f"this Uc has memory at {begin:#x} to {end:#x} already: make the Mmu first, which maps the PhysicalMemory "
            f"at 0, and put into that what the guest is to see"
        )


def enter_cpl_3(uc: Uc, guard: Guard, state: MmuState, ram: PhysicalMemory) -> None:
    """Run SYSRETQ, the only way to CPL 3 without a GDT: flat user segments, and every other register as it was.

    It stands in the first frame for that while.
    """
    engine: Any = uc  # the class makes its msr_ methods at run time
    kept = [(register, uc.reg_read(register)) for register in _KEPT]
    code, star = ram.read(0, len(_TO_CPL_3)), engine.msr_read(_IA32_STAR)
    engine.msr_write(_IA32_EFER, engine.msr_read(_IA32_EFER) | _SCE)
    engine.msr_write(_IA32_STAR, _STAR_USER)
    uc.reg_write(x86.UC_X86_REG_R11, 2)
    ram.write(0, _TO_CPL_3)
    state.physmap_open = 1
    try:
        status = guard.start(PHYSMAP)
    finally:
        state.physmap_open = 0
        ram.write(0, code)
        engine.msr_write(_IA32_STAR, star)
        for register, value in kept:
            uc.reg_write(register, value)
    if status != UC_ERR_EXCEPTION or uc.reg_read(x86.UC_X86_REG_CS) & 3 != 3:
        raise unicorn_abi.UnicornMismatch(f"SYSRETQ did not lead to CPL 3 (emu_start said {status})")
