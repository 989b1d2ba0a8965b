"""The engine's registers and the guest's memory, for native code that executes an instruction."""

from __future__ import annotations

import ctypes

from unicorn import x86_const as x86
from unicorn.unicorn_const import UC_PROT_READ, UC_PROT_WRITE

from emu.arithmetic.extended import Result
from emu.arithmetic.wide import Wide
from mmu.native import call3, call4, cold, load64, native, store64
from mmu.state import fields

_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_M64 = 0xFFFF_FFFF_FFFF_FFFF
_FP0, _XMM0, _MM0 = x86.UC_X86_REG_FP0, x86.UC_X86_REG_XMM0, x86.UC_X86_REG_MM0
FPSW, FPCW, FPTAG = x86.UC_X86_REG_FPSW, x86.UC_X86_REG_FPCW, x86.UC_X86_REG_FPTAG
FIP, FCS, FDP, FDS, FOP = (getattr(x86, f"UC_X86_REG_{name}") for name in ("FIP", "FCS", "FDP", "FDS", "FOP"))
MXCSR, RFLAGS = x86.UC_X86_REG_MXCSR, x86.UC_X86_REG_RFLAGS


class Engine(ctypes.Structure):
    """Where things are.  Every field is a host address in a uint64."""

    uc: int
    registers: int  # of env, where the general registers come first, in the order of their numbers
    reg_read: int  # of uc_reg_read
    reg_write: int  # of uc_reg_write
    translate: int  # of uc_vmem_translate
    load8: int  # of cpu_ldub_data
    load16: int
    load32: int
    load64: int
    store8: int  # of cpu_stb_data
    store16: int
    store32: int
    store64: int
    ram: int  # of physical address 0
    invalid_address: int  # of uc_struct.invalid_addr
    word: int  # of 16 bytes for a register

    _fields_ = fields(__annotations__)


@native
def read_register(engine: Engine, register: int) -> int:
    """A register of at most 64 bits, by Unicorn's number."""
    store64(engine.word, 0)
    call3(engine.reg_read, engine.uc, register, engine.word)
    return load64(engine.word)


@native
def write_register(engine: Engine, register: int, value: int) -> None:
    """Write one."""
    store64(engine.word, value)
    call3(engine.reg_write, engine.uc, register, engine.word)


@cold
def read_fp(engine: Engine, physical: int) -> Result:
    """An x87 register, by its physical number."""
    store64(engine.word + 8, 0)
    call3(engine.reg_read, engine.uc, _FP0 + physical, engine.word)
    return Result(load64(engine.word + 8) & 0xFFFF, load64(engine.word), 0)


@cold
def write_fp(engine: Engine, physical: int, exponent: int, mantissa: int) -> None:
    """Write one."""
    store64(engine.word, mantissa)
    store64(engine.word + 8, exponent)
    call3(engine.reg_write, engine.uc, _FP0 + physical, engine.word)


@cold
def read_xmm(engine: Engine, number: int) -> Wide:
    """An XMM register."""
    call3(engine.reg_read, engine.uc, _XMM0 + number, engine.word)
    return Wide(load64(engine.word + 8), load64(engine.word))


@cold
def write_xmm(engine: Engine, number: int, high: int, low: int) -> None:
    """Write one."""
    store64(engine.word, low)
    store64(engine.word + 8, high)
    call3(engine.reg_write, engine.uc, _XMM0 + number, engine.word)


@native
def read_general(engine: Engine, number: int) -> int:
    """A general register, by its number in an instruction."""
    return load64(engine.registers + 8 * number)


@native
def write_general(engine: Engine, number: int, value: int) -> None:
    """Write one."""
    store64(engine.registers + 8 * number, value)


@cold
def write_status_flags(engine: Engine, mask: int, flags: int) -> None:
    """Change the flags in ``mask``."""
    write_register(engine, RFLAGS, (read_register(engine, RFLAGS) & (_M64 ^ mask)) | flags)


# -- memory ------------------------------------------------------------------------------------------------------------


@native
def _reaches(engine: Engine, vaddr: int, protection: int) -> bool:
    if call4(engine.translate, engine.uc, vaddr, protection, engine.word) & 0xFFFF_FFFF == 0:
        return True
    store64(engine.invalid_address, vaddr)
    return False


@cold
def reachable(engine: Engine, vaddr: int, length: int, write: bool) -> bool:
    """Whether an access is possible: the fill hooks are asked, and a page fault is handled, as for the engine's own.

    False if it ends in a fault, of which the Mmu knows; nothing has been read or written then.
    """
    protection = UC_PROT_WRITE if write else UC_PROT_READ
    if not _reaches(engine, vaddr, protection):
        return False
    last = (vaddr + length - 1) & _M64
    return last & _PAGE_MASK == vaddr & _PAGE_MASK or _reaches(engine, last & _PAGE_MASK, protection)


@cold
def load(engine: Engine, vaddr: int, bits: int) -> int:
    """A load that is possible, as the engine makes one."""
    if bits == 64:
        return call3(engine.load64, engine.registers, vaddr, 0)
    if bits == 32:
        return call3(engine.load32, engine.registers, vaddr, 0) & 0xFFFF_FFFF
    if bits == 16:
        return call3(engine.load16, engine.registers, vaddr, 0) & 0xFFFF
    return call3(engine.load8, engine.registers, vaddr, 0) & 0xFF


@cold
def store(engine: Engine, vaddr: int, bits: int, value: int) -> None:
    """A store that is possible, as the engine makes one."""
    if bits == 64:
        call3(engine.store64, engine.registers, vaddr, value)
    elif bits == 32:
        call3(engine.store32, engine.registers, vaddr, value)
    elif bits == 16:
        call3(engine.store16, engine.registers, vaddr, value)
    else:
        call3(engine.store8, engine.registers, vaddr, value)


@cold
def load_wide(engine: Engine, vaddr: int) -> Wide:
    """A load of 128 bits."""
    low = load(engine, vaddr, 64)
    return Wide(load(engine, (vaddr + 8) & _M64, 64), low)
