"""The proof that loads and stores by our own helpers (:mod:`mmu.helpers`) are what they are by hooks, on this very
engine and host: a program that runs both ways on scratch engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from itertools import product
from typing import Any

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as x86

from mmu.entries import encode
from mmu.events import EventKind
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.helper_table import FastPath, HelperTable, Unproven, helper_table
from mmu.memory import PAGE_SIZE, PhysicalMemory
from mmu.native import reference_mode
from mmu.objectcode import load
from mmu.once import Once
from mmu.selftest import is_wanted, once_for_library
from mmu.state import MmuState

#: movzx eax, byte [rbx]; movsx rdx, byte [rbx+1]; add rsi, rax; add rsi, rdx; movzx eax, word [rbx+2];
#: movsx rdx, word [rbx+2]; add rsi, rax; add rsi, rdx; mov eax, [rbx+4]; movsxd rdx, dword [rbx+4]; add rsi, rax;
#: add rsi, rdx; add rsi, [rbx+8]; mov [rbx+0x10], sil; mov [rbx+0x12], si; mov [rbx+0x14], esi; mov [rbx+0x18], rsi;
#: add [rbx+0x20], rsi; inc byte [rbx+5]; lock xadd [rbx+8], rsi; add rbx, rdi; and rbx, 0x7fff; bts rbx, 20; dec rcx;
#: jne to the beginning; jmp to the next one; nop
_LOOP = bytes.fromhex(
    "0fb603480fbe53014801c64801d60fb74302480fbf53024801c64801d68b4304486353044801c64801d64803730840887310668973128973"
    "144889731848017320fe4305f0480fc173084801fb4881e3ff7f0000480fbaeb1448ffc975a2eb0090"
)
#: mov rax, [rbx+0xffc]; mov [rbx+0x1ffd], rax; movups xmm0, [rbx+0x40]; movups [rbx+0x50], xmm0; jmp to the next;
#: nop
_REST = bytes.fromhex("488b83fc0f0000488983fd1f00000f1043400f114350eb0090")
#: Loads and stores of both.
_LOADS_AND_STORES = 17 + 6
_CODE, _REST_OF_CODE, _DATA, _TABLES = 0x1_0000, 0x1_0100, 0x10_0000, 0x2_0000
_REGISTERS = (x86.UC_X86_REG_RSI, x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDX, x86.UC_X86_REG_RBX, x86.UC_X86_REG_XMM0)


def begin_fast_path(make: Callable[..., Any], uc: Uc, state: MmuState, asked: bool | None) -> FastPath:
    """Have an engine's data accesses go through our helpers, if that is wanted, and proven; ``make`` is the Mmu."""
    table, why_not = None, ""
    if not is_wanted(asked):
        why_not = "as was asked for"
    elif reference_mode():
        why_not = "the hooks run as Python (NUMBA_DISABLE_JIT)"
    elif getattr(uc, "_callbacks", None):
        why_not = "there was a hook before the MMU's own"
    else:
        try:
            table = proven_table(make)
        except Unproven as error:
            why_not = str(error)
    return FastPath(uc, state, table, why_not)


@Once
def proven_table(make: Callable[..., Any]) -> HelperTable:
    """Our helpers, in the engine's tables; :class:`Unproven` unless they do what the hooks do.  ``make`` is the Mmu."""
    table = helper_table()
    facts = f"{load('mmu.exact').key} {load('mmu.helpers').key}"
    try:
        once_for_library("helpers", [__file__], facts, lambda: prove(make, table))
    except Unproven:
        table.take_back()
        raise
    return table


def prove(make: Callable[..., Any], table: HelperTable) -> None:
    """:class:`Unproven` unless both ways come to the same, with events and without."""
    hooks, helpers = (Trial(make, each) for each in (None, table))
    runs = ((20, PAGE_SIZE), (40, 8), (9, 3 * PAGE_SIZE + 4))
    for (turns, stride), events in product(runs, (False, True)):
        hooks.run(turns, stride, events)
        helpers.run(turns, stride, events)
        expected, found = hooks.run_rest(), helpers.run_rest()
        if expected != found:
            raise Unproven(f"loads and stores by our own helpers have come to {found}, not to {expected}")
    fast = helpers.fast
    assert fast is not None
    if fast.missed or fast.places != _LOADS_AND_STORES or not fast.filled:
        raise Unproven("the code that the engine makes of loads and stores is not as expected")
    helpers.run(1, 0)
    known = fast.asked
    helpers.run(100, 0)
    if fast.asked != known:
        raise Unproven("the engine's translations are not where they were expected")


class Trial:
    """The program on a scratch engine; ``table``: by our helpers."""

    def __init__(self, make: Callable[..., Any], table: HelperTable | None) -> None:
        data = [Array(f"L{level}D", level, Kinds.DATA, PageSizes.ALL, 1, 2 * level) for level in (1, 2)]
        geometry = Geometry("proof", (Array("L1I", 1, Kinds.FETCH, PageSizes.ALL, 1, 4), *data), {2: 2})
        self._ram = PhysicalMemory(2 << 20)
        self._uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self._mmu = make(self._uc, self._ram, tlb=geometry, fast=False)
        self.fast = None if table is None else FastPath(self._uc, self._mmu.state, table)
        self._map()
        self._ram.write(_CODE, _LOOP)
        self._ram.write(_REST_OF_CODE, _REST)
        self._ram.write(_DATA, bytes(range(1, 252)) * 160)
        self._mmu.load_cr3(_TABLES)

    def _map(self) -> None:
        """All of memory to itself; data is not executable, and not dirty."""
        table, write = _TABLES, self._ram.write_u64
        for level in (4, 3, 2):
            write(table, encode(level, P=1, RW=1, ADDRESS=table + PAGE_SIZE))
            table += PAGE_SIZE
        for page in range(self._ram.size // PAGE_SIZE):
            write(table + 8 * page, encode(1, P=1, RW=1, XD=page * PAGE_SIZE >= _DATA, ADDRESS=page * PAGE_SIZE))

    def run(self, turns: int, stride: int, events: bool = False) -> None:
        """Run the loop."""
        self._mmu.events.enable(*(EventKind if events else ()))
        for register, value in zip(("RBX", "RCX", "RDI", "RSI"), (_DATA, turns, stride, 0), strict=True):
            self._uc.reg_write(getattr(x86, f"UC_X86_REG_{register}"), value)
        self._uc.emu_start(_CODE, _CODE + len(_LOOP))

    def run_rest(self) -> tuple[Any, ...]:
        """Run what is behind the loop; registers, a digest of memory and of the events, and the counters of the TLB."""
        import hashlib  # late: most runs remember the proof

        uc, mmu = self._uc, self._mmu
        uc.emu_start(_REST_OF_CODE, _REST_OF_CODE + len(_REST))
        told = hashlib.sha256(mmu.events.drain().tobytes() + self._ram.read(_DATA, self._ram.size - _DATA))
        counters = [(name, *astuple(each)) for name, each in mmu.tlb.array_counters().items()]
        return *(uc.reg_read(register) for register in _REGISTERS), told.hexdigest(), mmu.state.fills, *counters
