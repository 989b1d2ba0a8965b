"""What an access costs: with an empty native memory hook, in exact mode, with an empty Python memory hook; in one run.

``python -m tests.mmu.exact_speed [PRESET]``.  Each figure is the median of several runs, the kinds taking turns, of a
loop of eight loads from eight pages; in exact mode the block's fetch is counted in, as part of the eight accesses'
cost.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from unicorn import UC_ARCH_X86, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_REG_RBX, UC_X86_REG_RCX

from mmu import Mmu, PhysicalMemory, unicorn_abi
from mmu.model import exact_library
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR
from tests.mmu.tables import Tables

LOADS = 8
HOOKS = UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE


def nothing(*_arguments: Any) -> None:
    """An empty Python memory hook."""


class Loop:
    """A guest that loads in a loop."""

    def __init__(self, kind: str, preset: str) -> None:
        ram = PhysicalMemory(16 << 20)
        tables = Tables(ram)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.mmu = Mmu(self.uc, ram, tlb=preset if kind == "exact" else "off")
        if kind == "native":
            hook = exact_library()["on_memory_nothing"].address
            unicorn_abi.hook_add(self.uc, HOOKS, hook, self.mmu._state_address)
        elif kind == "python":
            self.uc.hook_add(HOOKS, nothing)
        self.mmu.load_cr3(tables.cr3)
        tables.map_page(CODE, CODE_PADDR, RW=0)
        code = b""
        for n in range(LOADS):
            tables.map_page(DATA + 0x1000 * n, DATA_PADDR + 0x1000 * n)
            code += b"\x48\x8b\x83" + (0x1000 * n + 8 * n).to_bytes(4, "little")  # mov rax, [rbx + ...]
        code += b"\xff\xc9"  # dec ecx; jnz
        code += b"\x0f\x85" + (-(len(code) + 6) & 0xFFFF_FFFF).to_bytes(4, "little") + b"\xf4"
        ram.write(CODE_PADDR, code)
        self.turns = 4_000 if kind == "python" else 100_000

    def cost(self) -> float:
        """Nanoseconds an access."""
        self.uc.reg_write(UC_X86_REG_RBX, DATA)
        self.uc.reg_write(UC_X86_REG_RCX, self.turns)
        start = time.perf_counter()
        self.uc.emu_start(CODE, 0)
        return (time.perf_counter() - start) / (self.turns * LOADS) * 1e9


def measure(preset: str = "skylake-sp:measured", runs: int = 9) -> dict[str, float]:
    """Nanoseconds an access, by kind: none, native, exact, python."""
    loops = {kind: Loop(kind, preset) for kind in ("none", "native", "exact", "python")}
    costs: dict[str, list[float]] = {kind: [] for kind in loops}
    for _ in range(runs):
        for kind, loop in loops.items():
            costs[kind].append(loop.cost())
    return {kind: statistics.median(found) for kind, found in costs.items()}


if __name__ == "__main__":
    found = measure(*sys.argv[1:2])
    for kind, cost in found.items():
        print(f"{kind:8} {cost:8.1f} ns an access, {1e3 / cost:8.1f} M accesses/s")
    print(f"exact mode costs {found['exact'] / found['native']:.2f} empty native hooks")
    print(f"an empty Python hook costs {found['python'] / found['exact']:.1f} times exact mode")
