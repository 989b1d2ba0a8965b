"""The record of an engine for native code that executes instructions."""

from __future__ import annotations

import ctypes

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn.unicorn_const import UC_PROT_ALL, UC_PROT_READ

from emu.instructions.executed.engine import Engine
from mmu import PhysicalMemory, unicorn_abi
from mmu.once import Once

#: Field of :class:`Engine` -> exported function of the Unicorn library.
FUNCTIONS = {
    "reg_read": "uc_reg_read",
    "reg_write": "uc_reg_write",
    "translate": "uc_vmem_translate",
    "load8": "cpu_ldub_data_x86_64",
    "load16": "cpu_lduw_data_x86_64",
    "load32": "cpu_ldl_data_x86_64",
    "load64": "cpu_ldq_data_x86_64",
    "store8": "cpu_stb_data_x86_64",
    "store16": "cpu_stw_data_x86_64",
    "store32": "cpu_stl_data_x86_64",
    "store64": "cpu_stq_data_x86_64",
}
_u64 = ctypes.c_uint64
_CALL = ctypes.CFUNCTYPE(_u64, _u64, _u64, _u64, _u64)


def engine_record(uc: Uc, ram: PhysicalMemory) -> Engine:
    """The record of an engine; memory must be mapped.  :class:`mmu.unicorn_abi.UnicornMismatch` if this is not the
    Unicorn that is known.
    """
    self_test()
    return _record(uc, ram.host)


def _record(uc: Uc, ram: int) -> Engine:
    engine = Engine()
    engine.uc = unicorn_abi.handle(uc)
    engine.registers = unicorn_abi.cpu_state(uc) + unicorn_abi.ENV_REGS
    for field, name in FUNCTIONS.items():
        setattr(engine, field, unicorn_abi.symbol_address(name))
    engine.ram = ram
    engine.invalid_address = unicorn_abi.handle(uc) + unicorn_abi.INVALID_ADDR
    engine.buffer = word = ctypes.create_string_buffer(16)
    engine.word = ctypes.addressof(word)
    return engine


@Once
def self_test() -> None:
    """Exercise every function that Unicorn's headers do not have, once a process."""
    memory = (ctypes.c_uint8 * 0x1000)(*range(1, 9))
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map_ptr(0x4000, len(memory), UC_PROT_ALL, ctypes.addressof(memory))
    engine = _record(uc, ctypes.addressof(memory))
    whole = int.from_bytes(range(1, 9), "little")
    for bits in (8, 16, 32, 64):
        mask = (1 << bits) - 1
        loaded = _CALL(getattr(engine, f"load{bits}"))(engine.registers, 0x4000, 0, 0)
        unicorn_abi.expect(loaded & mask == whole & mask, FUNCTIONS[f"load{bits}"])
        _CALL(getattr(engine, f"store{bits}"))(engine.registers, 0x4010, whole, 0)
        stored = int.from_bytes(memory[0x10:0x18], "little")
        unicorn_abi.expect(stored == whole & mask, FUNCTIONS[f"store{bits}"])
    found = _CALL(engine.translate)(engine.uc, 0x4008, UC_PROT_READ, engine.word) & 0xFFFF_FFFF
    unicorn_abi.expect(found == 0 and _u64.from_address(engine.word).value == 0x4008, FUNCTIONS["translate"])
