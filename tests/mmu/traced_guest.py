"""A guest that does everything, and random walks; run by test_mmu_reference.py once a mode.

``python -m tests.mmu.traced_guest SEED FILE`` leaves in FILE, as JSON, all that the two modes must agree on.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from typing import Any

import numpy as np
from unicorn import UcError

from mmu import CR0, CR4, EFER, Access, EventKind, PageFault, PhysicalMemory, Registers
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE
from mmu.translation import Walker
from tests.mmu.guest import CODE, REGISTERS, Guest, returns
from tests.mmu.random_trees import CR3, RAM_BYTES, random_tree

SEGMENTS, INSTRUCTIONS = 40, 20

#: Where the guest reads and writes; what it finds there depends on the address (see Kernel).
DEMAND = range(0x10_0000_0000, 0x10_0000_8000, 0x1000)
READ_ONLY = range(0x20_0000_0000, 0x20_0000_4000, 0x1000)
ALIASES = range(0x30_0000_0000, 0x30_0000_4000, 0x1000)  # two frames, each at two addresses
LARGE = range(0x4000_0000, 0x4020_0000, 0x4_0000)
FORBIDDEN = range(0x50_0000_0000, 0x50_0000_2000, 0x1000)
DATA: list[int] = [*DEMAND, *READ_ONLY, *ALIASES, *LARGE]
FUNCTION, ALIAS, FLIPPING = 0x60_0000_0000, 0x7000_0000_0000, 0x61_0000_0000
STACK = 0x3FFF_F000
FUNCTION_PADDR, ALIAS_PADDR, FLIPPING_PADDR, STACK_PADDR = 0x40_0000, 0x41_0000, 0x42_0000, 0x43_0000
LARGE_PADDR = 0x60_0000


class Kernel:
    """Builds the address space, and answers page faults: demand zero, copy on write, W^X; some are refused."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.log: list[tuple[int, int]] = []
        self._next_frame = 0x80_0000
        map_page = guest.tables.map_page
        for number, vaddr in enumerate(READ_ONLY):
            map_page(vaddr, 0x50_0000 + 0x1000 * number, RW=0, XD=1)
        for number, vaddr in enumerate(ALIASES):
            map_page(vaddr, ALIAS_PADDR + 0x1000 * (number % 2), XD=1)
        map_page(LARGE[0], LARGE_PADDR, level=2, XD=1)
        map_page(STACK, STACK_PADDR, XD=1)
        map_page(FUNCTION, FUNCTION_PADDR, RW=0)
        map_page(ALIAS, FUNCTION_PADDR, XD=1)
        map_page(FLIPPING, FLIPPING_PADDR, RW=0)
        for paddr in (FUNCTION_PADDR, FLIPPING_PADDR):
            guest.ram.write(paddr, returns(3))

    def _frame(self) -> int:
        self._next_frame += 0x1000
        return self._next_frame

    def on_page_fault(self, fault: PageFault) -> bool:
        guest, page = self.guest, fault.vaddr
        self.log.append((page, fault.error_code))
        if page in FORBIDDEN:
            return False
        if page == FLIPPING:
            fetch = fault.access == Access.FETCH
            guest.tables.map_page(page, FLIPPING_PADDR, RW=int(not fetch), XD=int(not fetch))
        elif fault.error_code & 1:  # copy on write
            frame = self._frame()
            old = guest.ram.read_u64(guest.tables.slot(page)) & 0xF_FFFF_F000
            guest.ram.write(frame, guest.ram.read(old, 0x1000))
            guest.tables.map_page(page, frame, XD=1)
        else:
            guest.tables.map_page(page, self._frame(), XD=1)
        guest.mmu.invlpg(page)
        return True


def instruction(rng: random.Random) -> bytes:
    """One random thing to do, as machine code."""
    offset = rng.choice((0, 8, 0x123, 0x7FC, 0xFFD))  # 0xffd: across pages
    address = rng.choice(DATA) + offset
    rbx = b"\x48\xbb" + address.to_bytes(8, "little")
    choice = rng.randrange(9)
    if choice < 5:  # mov rax, [rbx]; mov [rbx], rax; add [rbx], rax; lock xadd [rbx], rax; xchg [rbx], rax
        return rbx + bytes.fromhex(("488b03", "488903", "480103", "f0480fc103", "488703")[choice])
    if choice == 5:  # rep movsb
        other = rng.choice(DATA) + rng.choice((0, 0xF80))
        count = rng.choice((1, 40, 300))
        rsi, rdi = b"\x48\xbe" + address.to_bytes(8, "little"), b"\x48\xbf" + other.to_bytes(8, "little")
        return rsi + rdi + b"\xb9" + count.to_bytes(4, "little") + b"\xf3\xa4"
    if choice == 6 and rng.random() < 0.2:
        return b"\x48\xbb" + (rng.choice(FORBIDDEN) + offset).to_bytes(8, "little") + bytes.fromhex("488903")
    function = FUNCTION if choice == 7 else FLIPPING
    alias = ALIAS if choice == 7 else FLIPPING
    # mov rbx, alias; add byte [rbx + 1], 1; mov rbx, function; call rbx; add rdx, rax
    write = b"\x48\xbb" + alias.to_bytes(8, "little") + bytes.fromhex("80430101")
    return write + b"\x48\xbb" + function.to_bytes(8, "little") + bytes.fromhex("ffd3 4801c2")


def between(rng: random.Random, guest: Guest) -> None:
    """What a kernel does between two runs."""
    mmu = guest.mmu
    choice = rng.randrange(6)
    if choice == 0:
        mmu.invlpg(rng.choice(DATA))
    elif choice == 1:
        mmu.flush_range(rng.choice(DATA), rng.choice((0x1000, 0x8000, 0x100_0000)))
    elif choice == 2:
        mmu.load_cr3(guest.tables.cr3)
    elif choice == 3:
        vaddr = rng.choice(DEMAND)
        guest.tables.unmap(vaddr)
        mmu.invlpg(vaddr)
    elif choice == 4:
        guest.ram.write(FUNCTION_PADDR, returns(rng.randrange(100)))
        mmu.code_written(FUNCTION_PADDR >> 12)
    else:
        mmu.registers = Registers(cr3=guest.tables.cr3, cpl=rng.choice((0, 3)))
    mmu.state.clock += 1000
    mmu.state.asid = rng.randrange(1 << 32)


def run_guest(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    guest = Guest(ring_capacity=64)
    kernel = Kernel(guest)
    guest.mmu.on_page_fault = kernel.on_page_fault
    batches: list[np.ndarray[Any, Any]] = []
    guest.mmu.events.subscribe(batches.append)
    guest.mmu.events.enable(*EventKind)
    failures = []
    for _ in range(SEGMENTS):
        program = b"".join(instruction(rng) for _ in range(INSTRUCTIONS)).hex()
        guest.program(program)
        try:
            guest.run(CODE, rsp=STACK + 0x800, rax=rng.getrandbits(64))
        except UcError:
            failure = guest.mmu.take_failure()
            assert failure is not None
            failures.append(f"{failure[0]} {failure[1].name} at {guest['rip']:#x}")
        between(rng, guest)
    guest.mmu.events.flush()
    events = np.concatenate(batches)
    return {
        "events": events.tobytes().hex(),
        "lost": guest.mmu.events.lost,
        "counters": vars(guest.mmu.counters),
        "faults": kernel.log,
        "failures": failures,
        "registers": {name: guest[name] for name in REGISTERS},
        "memory": hashlib.sha256(guest.ram.read(0, guest.ram.size)).hexdigest(),
    }


def run_walks(seed: int) -> list[str]:
    rng = random.Random(seed)
    ram = PhysicalMemory(RAM_BYTES)
    walker = Walker(ram)
    results = []
    for _ in range(2000):
        maxphyaddr = rng.randrange(36, 53)
        tree = random_tree(rng, ram, maxphyaddr)
        registers = Registers(
            cr3=CR3 | rng.choice((0, 0x18)),
            cr0=CR0_LONG_MODE & ~rng.choice((0, CR0.WP)),
            efer=EFER_LONG_MODE & ~rng.choice((0, EFER.NXE)),
            cpl=rng.randrange(4),
            maxphyaddr=maxphyaddr,
            cr4=CR4_LONG_MODE | sum(bit * rng.randrange(2) for bit in (CR4.SMEP, CR4.SMAP, CR4.PKE, CR4.PKS)),
            ac=rng.random() < 0.5,
            implicit=rng.random() < 0.1,
            pkru=rng.getrandbits(32) & rng.getrandbits(32),
            pkrs=rng.getrandbits(32) & rng.getrandbits(32),
            pages_1g=rng.random() < 0.9,
        )
        for access in Access:
            found, after = tree.translate(walker, registers, access)
            steps = " ".join(f"{step.level}:{step.paddr:x}:{step.value:x}" for step in walker.steps())
            results.append(f"{found} {steps} {after}")
        tree.erase()
    return results


if __name__ == "__main__":
    seed, path = int(sys.argv[1]), sys.argv[2]
    told = {"mode": Guest().mmu.code, "guest": run_guest(seed), "walks": run_walks(seed)}
    with open(path, "w", encoding="utf-8") as out:
        json.dump(told, out)
