"""LA57: five levels, and which addresses are canonical with 48 and with 57 bits."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from mmu import CR4, EFER, Access, GeneralProtection, PageFault, PhysicalMemory, Registers, translate
from mmu.entries import page_bytes
from mmu.faults import NotCanonical, StackFault
from mmu.registers import CR4_LONG_MODE, EFER_LONG_MODE
from mmu.state import Status
from mmu.translation import Walker, translate_many
from tests.mmu.matrix_cases import CODE, CODE_PADDR, MAXPHYADDR
from tests.mmu.oracle import Answer, is_canonical, oracle
from tests.mmu.tables import Tables
from tests.mmu.unicorn_walks import Engine

LA57 = CR4_LONG_MODE | CR4.LA57
CR3 = 0x1000
#: One address with another index at every level.
VADDR = 0x00AB_7654_3210_FEDC
TABLE = {5: CR3, 4: 0x2000, 3: 0x3000, 2: 0x4000, 1: 0x5000}
PAGE = {1: 0x0070_0000, 2: 0x0060_0000, 3: 0}


# ---- the fifth level


class Path:
    """Five entries that the test writes itself; open unless it says otherwise."""

    def __init__(self) -> None:
        self.ram = PhysicalMemory(1 << 30)
        self.walker = Walker(self.ram)
        self.slots = {level: TABLE[level] + 8 * (VADDR >> (3 + 9 * level) & 511) for level in TABLE}

    def check(self, leaf: int, changes: dict[int, int], access: Access, registers: Registers) -> int | None:
        """``changes`` are flipped in the entry of their level.  Returns the error code, and checks all."""
        entries = {level: TABLE[level - 1] | 7 for level in range(5, leaf, -1)}
        entries |= {leaf: PAGE[leaf] | 7 | (0x80 if leaf > 1 else 0)} | dict.fromkeys(range(1, leaf), 0)
        for level, bits in changes.items():
            entries[level] ^= bits
        for level, slot in self.slots.items():
            self.ram.write_u64(slot, entries[level])
        error, paddr = None, None
        try:
            paddr = self.walker.translate(registers, VADDR, access).paddr
        except PageFault as fault:
            error = fault.error_code
        answer = Answer(error, paddr, {level: self.ram.read_u64(slot) for level, slot in self.slots.items()})
        assert answer == oracle(entries, VADDR, access, registers), (leaf, changes, access, registers)
        return error


@pytest.fixture(scope="module")
def path() -> Path:
    return Path()


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_every_bit_of_a_pml5e(path: Path, leaf: int) -> None:
    for maxphyaddr, nxe, cpl in product((36, 40, 52), (False, True), (0, 3)):
        efer = EFER_LONG_MODE if nxe else EFER_LONG_MODE & ~EFER.NXE
        registers = Registers(cr3=CR3, cr4=LA57, efer=efer, cpl=cpl, maxphyaddr=maxphyaddr)
        reserved = set()
        for bit in sorted(set(range(64)) - set(range(12, maxphyaddr))):
            for access in Access:
                error = path.check(leaf, {5: 1 << bit}, access, registers)
                if error is not None and error & 8:
                    reserved.add(bit)
        assert reserved == {7, *range(maxphyaddr, 52), *(() if nxe else (63,))}


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_rights_of_five_entries(path: Path, leaf: int) -> None:
    """Each entry with one right taken away, in all combinations of two entries."""
    taken = (0, 2, 4, 1 << 63, 1)
    for first, second in product(range(5, leaf - 1, -1), repeat=2):
        for a, b, cpl, access in product(taken, taken, (0, 3), Access):
            changes = {first: a} if first == second else {first: a, second: b}
            path.check(leaf, changes, access, Registers(cr3=CR3, cr4=LA57, cpl=cpl))


def test_accessed_bits_of_five_entries(path: Path) -> None:
    for accessed in product((0, 1 << 5), repeat=5):
        for dirty, access in product((0, 1 << 6), Access):
            changes = dict(zip(TABLE, accessed, strict=True))
            changes[1] |= dirty
            assert path.check(1, changes, access, Registers(cr3=CR3, cr4=LA57)) is None


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_steps_of_a_walk(levels: int, level: int) -> None:
    ram = PhysicalMemory(2 << 30)
    tables = Tables(ram, levels=levels)
    vaddr = VADDR if levels == 5 else VADDR & (1 << 47) - 1
    page = vaddr & -page_bytes(level)
    tables.map_page(page, page_bytes(3), level)
    registers = Registers(cr3=tables.cr3, cr4=LA57 if levels == 5 else CR4_LONG_MODE)
    found = translate(ram, registers, vaddr)
    assert found.paddr == page_bytes(3) + vaddr - page
    assert [step.level for step in found.steps] == list(range(levels, level - 1, -1))
    assert [step.paddr for step in found.steps] == [tables.slot(page, k) for k in range(levels, level - 1, -1)]
    top = "PML5E PML4 table at 0x2000: P RW US" if levels == 5 else "PML4E PDPT table at 0x2000: P RW US"
    assert str(found.steps[0]).endswith(top)


def test_the_same_tables_mean_something_else() -> None:
    """A page mapped with five levels is not there with four."""
    ram = PhysicalMemory(1 << 20)
    tables = Tables(ram, levels=5)
    tables.map_page(0x1000, 0x9000)
    assert translate(ram, Registers(cr3=tables.cr3, cr4=LA57), 0x1000).paddr == 0x9000
    with pytest.raises(PageFault):
        translate(ram, Registers(cr3=tables.cr3), 0x1000)


# ---- canonical addresses

EDGES = [
    edge + delta & (1 << 64) - 1
    for edge in (0, 1 << 47, 1 << 48, 1 << 56, 1 << 57, 1 << 63, -(1 << 47), -(1 << 48), -(1 << 56), -(1 << 57))
    for delta in (-0x1000, -1, 0, 1, 0x1000)
]


def everywhere(ram: PhysicalMemory, cr3: int) -> None:
    """A table whose every entry points to itself: whatever is canonical is mapped, at ``cr3``'s own page."""
    ram.words[cr3 >> 3 : (cr3 >> 3) + 512] = cr3 | 0x67


@pytest.mark.parametrize("bits", [48, 57])
@pytest.mark.parametrize("cpl", [0, 3])
@pytest.mark.parametrize("access", Access)
def test_the_edges(bits: int, cpl: int, access: Access) -> None:
    ram = PhysicalMemory(1 << 20)
    everywhere(ram, CR3)
    registers = Registers(cr3=CR3, cr4=LA57 if bits == 57 else CR4_LONG_MODE, cpl=cpl)
    rng = random.Random(bits)
    for vaddr in EDGES + [rng.getrandbits(64) for _ in range(200)]:
        if is_canonical(vaddr, bits):
            assert translate(ram, registers, vaddr, access).paddr == CR3 + vaddr % 4096
            continue
        with pytest.raises(GeneralProtection) as caught:
            translate(ram, registers, vaddr, access)
        fault: NotCanonical = caught.value
        assert (fault.vaddr, fault.vector, fault.error_code) == (vaddr, 13, 0)
        assert str(fault) == f"#GP: {vaddr:#x} is not canonical"
        with pytest.raises(StackFault) as caught_stack:
            translate(ram, registers, vaddr, access, stack=True)
        fault = caught_stack.value
        assert (fault.vaddr, fault.vector, fault.error_code) == (vaddr, 12, 0)
        assert str(fault) == f"#SS: {vaddr:#x} is not canonical"


def test_a_stack_access_to_a_canonical_address_is_like_any_other() -> None:
    ram = PhysicalMemory(1 << 20)
    with pytest.raises(PageFault) as caught:
        translate(ram, Registers(cr3=CR3), 0x1000, Access.WRITE, stack=True)
    assert (caught.value.vector, caught.value.error_code) == (14, 6)
    everywhere(ram, CR3)
    assert translate(ram, Registers(cr3=CR3), 0x1000, Access.WRITE, stack=True).paddr == CR3


@pytest.mark.parametrize("bits", [48, 57])
def test_the_edges_in_unicorn(bits: int) -> None:
    """#GP and #PF are where Unicorn has them, for instructions that read, write and jump."""
    ram = PhysicalMemory(1 << 30)
    tables = Tables(ram, levels=5 if bits == 57 else 4)
    tables.map_page(CODE[0], CODE_PADDR, US=0)
    cr4 = LA57 if bits == 57 else CR4_LONG_MODE
    registers, engine = Registers(cr3=tables.cr3, cr4=cr4, cpl=0, maxphyaddr=MAXPHYADDR), Engine(ram)
    for access in Access:
        outcomes = translate_many(ram, registers, np.array(EDGES, dtype=np.uint64), access)
        for vaddr, outcome in zip(EDGES, outcomes, strict=True):
            engine.load(registers, tables.cr3)
            raised = engine.execute(vaddr, access, 0)
            if outcome["status"] == Status.PAGE_FAULT:
                assert raised == (14, outcome["error_code"], vaddr)
            else:
                assert outcome["status"] == Status.GENERAL_PROTECTION
                assert raised is not None and raised[:2] == (13, 0)
