"""The records of an engine and of the instructions that are executed on it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from emu.instructions.executed.engine import Engine
from mmu import unicorn_abi

if TYPE_CHECKING:
    from unicorn import Uc

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


def engine_record(uc: Uc) -> Engine:
    """The record of an engine; memory must be mapped."""
    engine = Engine()
    engine.uc = unicorn_abi.handle(uc)
    engine.registers = unicorn_abi.cpu_state(uc) + unicorn_abi.ENV_REGS
    for field, name in FUNCTIONS.items():
        setattr(engine, field, unicorn_abi.symbol_address(name))
    engine.invalid_address = unicorn_abi.handle(uc) + unicorn_abi.INVALID_ADDR
    engine.buffer = word = ctypes.create_string_buffer(16)
    engine.word = ctypes.addressof(word)
    return engine
