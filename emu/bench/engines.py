"""The engines that are compared: Unicorn behind our MMU, with its own walker, and without paging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unicorn import (
    UC_ARCH_X86,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MODE_64,
    UC_PROT_ALL,
    UC_PROT_READ,
    UC_PROT_WRITE,
    UC_TLB_CPU,
    Uc,
)
from unicorn import x86_const as x86

from emu.bench.figure import seconds
from emu.bench.loops import CODE, DATA, TABLES
from mmu import Mmu, PhysicalMemory, unicorn_abi
from mmu.entries import encode
from mmu.memory import PAGE_SIZE
from mmu.objectcode import load as load_native
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE

_MSR_EFER = 0xC000_0080


class Bare:
    """A Uc without paging, over memory of its own.

    Every address may be executed then, so that Unicorn's stores are slow: with paging, and data that is not executable,
    it is several times faster.
    """

    def __init__(self, memory: int) -> None:
        self.ram = PhysicalMemory(memory)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self._attach()

    def _attach(self) -> None:
        # code apart from data: Unicorn looks at each store to a page that may be executed, whether it overwrites code
        self.uc.mem_map_ptr(0, DATA, UC_PROT_ALL, self.ram.host)
        data_bytes = self.ram.size - DATA
        self.uc.mem_map_ptr(DATA, data_bytes, UC_PROT_READ | UC_PROT_WRITE, self.ram.host + DATA)

    def load(self, code: bytes) -> None:
        """Replace the code."""
        self.ram.write(CODE, code)
        self._end = CODE + len(code)
        self.uc.ctl_remove_cache(CODE, CODE + PAGE_SIZE)

    def run(self, measure: Callable[[Callable[[], object]], float] = seconds) -> float:
        """Run the code from its start to its end; seconds."""
        return measure(lambda: self.uc.emu_start(CODE, self._end))


class OwnWalker(Bare):
    """Unicorn with UC_TLB_CPU: its own walk, in C, over the tables in memory."""

    def _attach(self) -> None:
        super()._attach()
        engine: Any = self.uc  # the class makes its ctl_ methods at run time
        engine.ctl_set_tlb_mode(UC_TLB_CPU)
        map_all(self.ram)
        self.uc.reg_write(x86.UC_X86_REG_MSR, (_MSR_EFER, EFER_LONG_MODE))
        self.uc.reg_write(x86.UC_X86_REG_CR3, TABLES)
        self.uc.reg_write(x86.UC_X86_REG_CR4, CR4_LONG_MODE)
        self.uc.reg_write(x86.UC_X86_REG_CR0, CR0_LONG_MODE)


class WithMmu(Bare):
    """Unicorn behind our Mmu, over the same tables; ``tlb`` and ``fast`` as for :class:`mmu.Mmu`."""

    def __init__(self, memory: int, tlb: str = "off", *, fast: bool | None = None) -> None:
        self._tlb, self._fast = tlb, fast
        super().__init__(memory)

    def _attach(self) -> None:
        self.mmu = Mmu(self.uc, self.ram, tlb=self._tlb, fast=self._fast)
        map_all(self.ram)
        self.mmu.load_cr3(TABLES)

    def load(self, code: bytes) -> None:
        self.ram.write(CODE, code)
        self._end = CODE + len(code)
        self.mmu.code_written(CODE // PAGE_SIZE)


class NativelyHooked(WithMmu):
    """The same with an empty native hook on each load and store."""

    def _attach(self) -> None:
        super()._attach()
        self._hooks = load_native("emu.bench.empty")
        unicorn_abi.hook_add(self.uc, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, self._hooks["on_access"].address, 0)


class PythonHooked(WithMmu):
    """The same with an empty Python function on each load and store."""

    def _attach(self) -> None:
        super()._attach()
        self.uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, _nothing)


def _nothing(_uc: Uc, _access: int, _address: int, _size: int, _value: int, _data: Any) -> None:
    """What the Python hook calls."""


def map_all(ram: PhysicalMemory) -> None:
    """Four-level tables that map all of memory to itself, in pages of 4 KiB, accessed and dirty already."""
    pages = ram.size // PAGE_SIZE
    tables = -(-pages // 512)
    assert tables <= 512, "one PMD table maps at most 1 GiB"
    pud, pmd, first_pt = (TABLES + i * PAGE_SIZE for i in (1, 2, 3))
    ram.write_u64(TABLES, encode(4, P=1, RW=1, US=1, A=1, ADDRESS=pud))
    ram.write_u64(pud, encode(3, P=1, RW=1, US=1, A=1, ADDRESS=pmd))
    for i in range(tables):
        ram.write_u64(pmd + 8 * i, encode(2, P=1, RW=1, US=1, A=1, ADDRESS=first_pt + i * PAGE_SIZE))
    leaf, no_code = encode(1, P=1, RW=1, US=1, A=1, D=1), encode(1, XD=1)
    start = first_pt >> 3
    for page in range(pages):
        ram.qwords[start + page] = page * PAGE_SIZE | leaf | (no_code if page * PAGE_SIZE >= DATA else 0)
