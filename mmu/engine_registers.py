"""CR0, CR3 and CR4 of the engine, kept equal to those of the Mmu.

The engine does not use them for translation (the fill hook does that), but scripts read and write them, contexts hold
them, and a guest's MOV writes them.  With CR0.PG, as long-mode paging has it, the engine empties its own translations
when CR3 is written.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from unicorn import Uc
from unicorn import x86_const as x86

from mmu import unicorn_abi
from mmu.registers import CR0, CR4

#: The bits of CR0 and CR4 that :class:`mmu.Registers` knows.
CR0_PAGING = int(CR0.PE | CR0.WP | CR0.PG)
CR4_PAGING = int(
    CR4.PSE | CR4.PAE | CR4.PGE | CR4.LA57 | CR4.PCIDE | CR4.SMEP | CR4.SMAP | CR4.PKE | CR4.PKS
)  # fmt: skip
#: The registers by Unicorn's numbers.
CONTROL_REGISTERS = frozenset((x86.UC_X86_REG_CR0, x86.UC_X86_REG_CR3, x86.UC_X86_REG_CR4))


class Changes(NamedTuple):
    """What somebody has changed in the engine: bits of CR0 and CR4 that paging has, and CR3 (None: not changed)."""

    cr0: int
    cr3: int | None
    cr4: int


class EngineRegisters:
    """The registers in one engine, and what was last written to them here."""

    def __init__(self, uc: Uc) -> None:
        self._uc = uc
        self._engine = unicorn_abi.handle(uc)
        self._words = (ctypes.c_uint64 * 3)()
        ids = (ctypes.c_int * 3)(x86.UC_X86_REG_CR0, x86.UC_X86_REG_CR3, x86.UC_X86_REG_CR4)
        at = ctypes.addressof(self._words)
        self._cr3_word = at + 8
        pointers = (ctypes.c_void_p * 3)(at, at + 8, at + 16)
        self._kept = ids, pointers
        self._arguments = self._engine, ctypes.addressof(ids), ctypes.addressof(pointers), 3
        self._cr0, self._cr3, self._cr4 = self._read()

    def _read(self) -> list[int]:
        unicorn_abi.check(unicorn_abi.reg_read_batch(*self._arguments), "uc_reg_read_batch")
        return self._words[:]

    def load_cr3(self, cr3: int, loads: int) -> None:
        """Write CR3, which flushes, for the ``loads``-th time."""
        self._words[1] = self._cr3 = cr3
        unicorn_abi.write_cr3(self._uc, self._engine, self._cr3_word, loads)

    def cr3_is(self, cr3: int) -> None:
        """Native code has written CR3."""
        self._words[1] = self._cr3 = cr3

    def load(self, cr0: int, cr3: int, cr4: int) -> None:
        """Write what paging has of them; other bits stay.  A CPU model that lacks a feature does not take its bit."""
        old_cr0, _, old_cr4 = self._read()
        self._words[:] = [old_cr0 & ~CR0_PAGING | cr0 & CR0_PAGING, cr3, old_cr4 & ~CR4_PAGING | cr4 & CR4_PAGING]
        unicorn_abi.check(unicorn_abi.reg_write_batch(*self._arguments), "uc_reg_write_batch")
        self._cr0, self._cr3, self._cr4 = self._read()

    def changes(self) -> Changes | None:
        """What is other than it was written here, None for nothing.  To be asked once."""
        cr0, cr3, cr4 = self._read()
        changed = Changes(
            (cr0 ^ self._cr0) & CR0_PAGING, None if cr3 == self._cr3 else cr3, (cr4 ^ self._cr4) & CR4_PAGING
        )
        self._cr0, self._cr3, self._cr4 = cr0, cr3, cr4
        return None if changed == (0, None, 0) else changed

    @property
    def cpl(self) -> int:
        """The privilege level that the selector in CS says."""
        return int(self._uc.reg_read(x86.UC_X86_REG_CS)) & 3
