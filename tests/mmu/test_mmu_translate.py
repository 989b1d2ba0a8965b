"""translate, compared with an oracle that was written from the manual: every bit of every entry of four levels."""

from __future__ import annotations

import doctest
import importlib
from itertools import product
from typing import Required, TypedDict

import pytest

from mmu import CR0, CR4, EFER, Access, BusError, GeneralProtection, PageFault, PhysicalMemory, Registers, translate
from mmu.faults import ErrorCode
from mmu.registers import CR0_LONG_MODE, CR3_NO_FLUSH, CR4_LONG_MODE, EFER_LONG_MODE
from mmu.translation import Walker
from tests.exhaustive import by_default
from tests.mmu.oracle import Answer, oracle
from tests.mmu.tables import Tables

CR3 = 0x1000
#: One address with another index at every level, and an offset that shows the page size.
VADDR = 0x0000_7654_3210_FEDC
PAGE = {1: 0x0000_0070_0000, 2: 0x0000_0060_0000, 3: 0}
ADDRESS_OF = {4: 0x2000, 3: 0x3000, 2: 0x4000}


# ---- the walker under test, on one path through tables whose every entry the test writes itself


class Path:
    def __init__(self) -> None:
        self.ram = PhysicalMemory(1 << 30)
        self.walker = Walker(self.ram)
        table = {4: CR3, 3: 0x2000, 2: 0x3000, 1: 0x4000}
        self.slots = {level: table[level] + 8 * (VADDR >> (3 + 9 * level) & 511) for level in (4, 3, 2, 1)}

    def base(self, leaf: int) -> dict[int, int]:
        """Entries that are present and allow nothing more, down to a page at level ``leaf``; below it, zero."""
        entries = {level: ADDRESS_OF[level] | 1 for level in range(4, leaf, -1)}
        entries[leaf] = PAGE[leaf] | 1 | (1 << 7 if leaf > 1 else 0)
        return entries | dict.fromkeys(range(1, leaf), 0)

    def ask(self, entries: dict[int, int], access: Access, registers: Registers, vaddr: int = VADDR) -> Answer:
        for level, slot in self.slots.items():
            self.ram.qwords[slot >> 3] = entries[level]
        error, paddr = None, None
        try:
            paddr = self.walker.translate(registers, vaddr, access).paddr
        except PageFault as fault:
            assert fault.vaddr == vaddr
            error = fault.error_code
        return Answer(error, paddr, {level: self.ram.qwords[slot >> 3] for level, slot in self.slots.items()})

    def check(self, entries: dict[int, int], access: Access, registers: Registers) -> Answer:
        answer, expected = self.ask(entries, access, registers), oracle(entries, VADDR, access, registers)
        assert answer == expected, (registers, access, {level: hex(entry) for level, entry in entries.items()})
        return answer


@pytest.fixture(scope="module")
def path() -> Path:
    return Path()


def registers(*, cpl: int = 3, wp: bool = True, nxe: bool = True, maxphyaddr: int = 48) -> Registers:
    return Registers(
        cr3=CR3,
        cr0=CR0_LONG_MODE if wp else CR0_LONG_MODE & ~CR0.WP,
        efer=EFER_LONG_MODE if nxe else EFER_LONG_MODE & ~EFER.NXE,
        cpl=cpl,
        maxphyaddr=maxphyaddr,
    )


CONTROLS = [registers(cpl=cpl, wp=wp, nxe=nxe) for cpl, wp, nxe in product((0, 3), (False, True), (False, True))]
#: Every combination of R/W, U/S and XD in one entry.
OPEN = 1 << 1 | 1 << 2
RIGHTS = [rw << 1 | us << 2 | xd << 63 for rw, us, xd in product((0, 1), repeat=3)]


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_every_combination_of_rights(path: Path, leaf: int) -> None:
    base = path.base(leaf)
    levels = range(4, leaf - 1, -1)
    outcomes = set()
    closed = by_default(2, 4)  # entries at most that forbid anything, in any combination
    for rights in product(RIGHTS, repeat=len(levels)):
        if len(levels) - rights.count(OPEN) > closed:
            continue
        entries = base | {level: base[level] | right for level, right in zip(levels, rights, strict=True)}
        for state, access in product(CONTROLS, Access):
            outcomes.add(path.check(entries, access, state).error)
    # success; not allowed: read (always by a user), write, fetch; RSVD: XD without NXE
    assert outcomes == {None, 0x5, 0x3, 0x7, 0x11, 0x15, 0x9, 0xB, 0xD, 0xF}


@pytest.mark.parametrize("cpl", [1, 2])
def test_rings_1_and_2_are_supervisor(path: Path, cpl: int) -> None:
    for leaf in (1, 2, 3):
        for right, wp, nxe, access in product(RIGHTS, (False, True), (False, True), Access):
            entries = path.base(leaf)
            entries[leaf] |= right
            answer = path.check(entries, access, registers(cpl=cpl, wp=wp, nxe=nxe))
            assert answer == path.ask(entries, access, registers(cpl=0, wp=wp, nxe=nxe))


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_every_state_of_accessed_and_dirty(path: Path, leaf: int) -> None:
    base = {level: entry | (6 if entry else 0) for level, entry in path.base(leaf).items()}
    levels = range(4, leaf - 1, -1)
    for accessed in product((0, 1 << 5), repeat=len(levels)):
        for dirty, writable, access, state in product((0, 1 << 6), (True, False), Access, CONTROLS):
            entries = base | {level: base[level] | a for level, a in zip(levels, accessed, strict=True)}
            entries[leaf] = (entries[leaf] | dirty) & (-1 if writable else ~2)
            path.check(entries, access, state)


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_bits_that_mean_nothing_to_a_table_pointer(path: Path, leaf: int) -> None:
    """D, G and the ignored bits of every entry neither fault nor change where it leads."""
    for level in range(4, leaf - 1, -1):
        for bit in (3, 4, 6, 8, 9, 10, 11, *range(52, 63)):
            entries = path.base(leaf)
            entries[level] |= 1 << bit
            for access, state in product(Access, CONTROLS):
                path.check(entries, access, state)


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_an_entry_that_is_not_present(path: Path, leaf: int) -> None:
    """Whatever else it holds, and whatever the entries above it forbid."""
    for missing in range(4, leaf - 1, -1):
        for rest, forbids in product((0, 0xFFFF_FFFF_FFFF_FFFE), (0, 2, 4, 6)):
            entries = {level: entry | 6 ^ forbids for level, entry in path.base(leaf).items()}
            entries[missing] = rest
            for access, state in product(Access, CONTROLS):
                answer = path.check(entries, access, state)
                assert answer.error is not None and not answer.error & (ErrorCode.P | ErrorCode.RSVD)


@pytest.mark.parametrize("maxphyaddr", range(36, 53))
def test_every_reserved_bit(path: Path, maxphyaddr: int) -> None:
    """Each bit that is no address bit below MAXPHYADDR, alone in each entry; the oracle knows which are reserved."""
    states = [registers(cpl=cpl, nxe=nxe, maxphyaddr=maxphyaddr) for cpl, nxe in product((0, 3), (False, True))]
    faults = 0
    for leaf in (1, 2, 3):
        lowest_address_bit = {1: 12, 2: 21, 3: 30}[leaf]
        for level in range(4, leaf - 1, -1):
            first = lowest_address_bit if level == leaf else 12
            for bit in set(range(1, 64)) - set(range(first, maxphyaddr)):
                entries = {k: entry | (6 if entry else 0) for k, entry in path.base(leaf).items()}
                entries[level] |= 1 << bit
                for state, access in product(states, Access):
                    error = path.check(entries, access, state).error
                    faults += error is not None and bool(error & ErrorCode.RSVD)
    high = 52 - maxphyaddr
    path_entries = 4 + 3 + 2
    always = path_entries * high + 3 + 17 + 8  # PS of the PML4E, low address bits of a 1G and a 2M page
    tables_as_pages = 2 + 1  # PS in the PDPTE or PDE of a smaller page: its table address is not aligned enough
    without_nxe = path_entries
    assert faults == (always + tables_as_pages) * 4 * 3 + without_nxe * 2 * 3


def test_a_reserved_bit_comes_before_what_lies_below_it(path: Path) -> None:
    state = registers()
    entries = path.base(1) | {3: ADDRESS_OF[3] | 1 | 1 << 51, 1: 0}
    assert path.check(entries, Access.WRITE, state).error == 0xF
    entries = path.base(1) | {3: 0, 1: 1 | 1 << 51}
    assert path.check(entries, Access.WRITE, state).error == 0x6


# ---- addresses


def test_what_a_translation_tells() -> None:
    ram = PhysicalMemory(1 << 30)
    tables = Tables(ram)
    for level, vaddr, paddr in ((1, 0x40_0000, 0x7000), (2, 0x8000_0000, 0x20_0000), (3, 0x80_0000_0000, 0)):
        tables.map_page(vaddr, paddr, level)
        offset = (1 << (3 + 9 * level)) - 5
        found = translate(ram, Registers(cr3=tables.cr3), vaddr + offset)
        assert (found.vaddr, found.paddr) == (vaddr + offset, paddr + offset)
        assert (found.level, found.page_size) == (level, 1 << (3 + 9 * level))
        assert [step.level for step in found.steps] == list(range(4, level - 1, -1))
        assert [step.paddr for step in found.steps] == [tables.slot(vaddr, k) for k in range(4, level - 1, -1)]
        again = translate(ram, Registers(cr3=tables.cr3), vaddr)
        assert [step.value for step in again.steps] == [step.value | 1 << 5 for step in found.steps]


def test_a_step_in_words() -> None:
    ram = PhysicalMemory(1 << 20)
    tables = Tables(ram)
    tables.map_page(0, 0x8000, XD=1)
    steps = translate(ram, Registers(cr3=tables.cr3), 0x123).steps
    assert str(steps[0]) == "[0x1000] = 0x0000000000002007  PML4E PDPT table at 0x2000: P RW US"
    assert str(steps[3]) == "[0x4000] = 0x8000000000008007  PTE 4K page at 0x8000: P RW US XD"


@pytest.mark.parametrize("cpl", [0, 3])
@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize(
    "vaddr", [1 << 47, (1 << 48) - 1, 1 << 48, 1 << 63, 0xFFFF_7FFF_FFFF_FFFF, 0x0001_0000_0000_0000, 0xFFFE << 48]
)
def test_addresses_that_are_not_canonical(vaddr: int, access: Access, cpl: int) -> None:
    ram = PhysicalMemory(1 << 20)
    ram.words[0x200:0x400] = 0x2007  # wherever the walk would look, something is present
    with pytest.raises(GeneralProtection) as caught:
        translate(ram, Registers(cr3=CR3, cpl=cpl), vaddr, access)
    assert caught.value.vaddr == vaddr
    assert str(caught.value) == f"#GP: {vaddr:#x} is not canonical"


@pytest.mark.parametrize("vaddr", [0, (1 << 47) - 1, 0xFFFF_8000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF])
def test_the_edges_of_the_canonical_halves(vaddr: int) -> None:
    ram = PhysicalMemory(1 << 20)
    tables = Tables(ram)
    tables.map_page(vaddr & -4096, 0x9000)
    assert translate(ram, Registers(cr3=tables.cr3), vaddr).paddr == 0x9000 + vaddr % 4096


def test_cr3_flags_are_no_address() -> None:
    ram = PhysicalMemory(1 << 20)
    Tables(ram).map_page(0, 0x9000)
    assert translate(ram, Registers(cr3=CR3 | 0x18), 0).paddr == 0x9000


@pytest.mark.parametrize("low", [0, 1, 0x18, 0xABC, 0xFFF])
@pytest.mark.parametrize("keep", [0, CR3_NO_FLUSH])
def test_a_pcid_is_no_address(low: int, keep: int) -> None:
    """Nor is bit 63, which is about what a MOV to CR3 invalidates."""
    ram = PhysicalMemory(1 << 20)
    Tables(ram).map_page(0, 0x9000)
    registers = Registers(cr3=CR3 | low | keep, cr4=CR4_LONG_MODE | CR4.PCIDE)
    assert registers.pcid == low
    assert translate(ram, registers, 0).paddr == 0x9000
    assert Registers(cr3=CR3 | low).pcid == 0, "without CR4.PCIDE"


@pytest.mark.parametrize("level", [4, 3, 2, 1])
def test_a_table_outside_memory(level: int) -> None:
    ram = PhysicalMemory(1 << 20)
    tables = Tables(ram)
    tables.map_page(VADDR & -4096, 0x9000)
    cr3 = tables.cr3
    if level == 4:
        cr3 = 1 << 20
    else:
        ram.write_u64(tables.slot(VADDR, level + 1), 1 << 20 | 7)
    with pytest.raises(BusError, match="0x76543210fedc lead outside physical memory of 0x100000 bytes"):
        translate(ram, Registers(cr3=cr3), VADDR)


def test_the_first_word_outside_memory() -> None:
    ram = PhysicalMemory(1 << 20)
    with pytest.raises(BusError):
        translate(ram, Registers(cr3=1 << 20), 0)
    with pytest.raises(PageFault):
        translate(ram, Registers(cr3=(1 << 20) - 0x1000), 0xFFFF_FFFF_FFFF_FFFF)


def test_a_page_outside_memory() -> None:
    ram = PhysicalMemory(1 << 20)
    tables = Tables(ram)
    tables.map_page(0, 1 << 20)
    tables.map_page(0x20_0000, 0, level=2)
    with pytest.raises(BusError):
        translate(ram, Registers(cr3=tables.cr3), 0)
    assert translate(ram, Registers(cr3=tables.cr3), 0x2F_FFFF).paddr == 0xF_FFFF
    with pytest.raises(BusError):
        translate(ram, Registers(cr3=tables.cr3), 0x30_0000)


def test_one_walker_forgets_the_walk_before() -> None:
    ram = PhysicalMemory(1 << 20)
    tables = Tables(ram)
    tables.map_page(0, 0x9000)
    tables.map_page(0x20_0000, 0, level=2)
    walker, state = Walker(ram), Registers(cr3=tables.cr3)
    for _ in range(2):
        assert walker.translate(state, 0x20_0000, Access.READ).level == 2
        with pytest.raises(GeneralProtection):
            walker.translate(state, 1 << 50, Access.READ)
        with pytest.raises(PageFault):
            walker.translate(state, 0x1000, Access.WRITE)
        assert [step.value & 1 for step in walker.steps()] == [1, 1, 1, 0]
        assert walker.translate(state, 0, Access.READ).level == 1


# ---- registers and faults in words


class Change(TypedDict, total=False):
    """What :class:`Registers` may be made with."""

    cr3: Required[int]
    cr0: int
    cr4: int
    efer: int
    cpl: int
    maxphyaddr: int
    pkru: int
    pkrs: int
    pat: int


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(cr0=CR0_LONG_MODE & ~CR0.PG), "IA-32e paging needs"),
        (dict(cr4=0), "IA-32e paging needs"),
        (dict(efer=int(EFER.LMA)), "IA-32e paging needs"),
        (dict(cr4=CR4_LONG_MODE | CR4.LAM_SUP), "CR4.LAM_SUP.* not modelled"),
        (dict(pkru=1 << 32), "PKRU and IA32_PKRS have 32 bits"),
        (dict(pkrs=1 << 32), "PKRU and IA32_PKRS have 32 bits"),
        (dict(pkru=-1), "have 32 bits"),
        (dict(pat=2), "IA32_PAT 0x2 holds a memory type that does not exist"),
        (dict(pat=3 << 56), "holds a memory type that does not exist"),
        (dict(pat=1 << 64), "holds a memory type that does not exist"),
        (dict(cpl=4), "CPL is 0 to 3"),
        (dict(cpl=-1), "CPL is 0 to 3"),
        (dict(maxphyaddr=35), "36 to 52 bits, not 35"),
        (dict(maxphyaddr=53), "36 to 52 bits, not 53"),
        (dict(cr3=1 << 40, maxphyaddr=40), "at or above MAXPHYADDR 40"),
        (dict(cr3=1 << 52, maxphyaddr=52), "at or above MAXPHYADDR 52"),
        (dict(cr3=1 << 61), "at or above MAXPHYADDR 48"),  # CR3.LAM_U57
        (dict(cr3=1 << 62, cr4=CR4_LONG_MODE | CR4.PCIDE), "at or above MAXPHYADDR 48"),
        (dict(cr3=CR3 | CR3_NO_FLUSH), "bit 63 needs CR4.PCIDE"),
        (dict(cr3=CR3 | CR3_NO_FLUSH | 1 << 48, cr4=CR4_LONG_MODE | CR4.PCIDE), "at or above MAXPHYADDR 48"),
    ],
)  # fmt: skip
def test_registers_that_are_refused(change: Change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Registers(**(Change(cr3=CR3) | change))


@pytest.mark.parametrize(
    ("code", "access", "words"),
    [
        (0x0, Access.READ, "supervisor read: not present"),
        (0x4, Access.READ, "user read: not present"),
        (0x7, Access.WRITE, "user write: not allowed"),
        (0x15, Access.FETCH, "user fetch: not allowed"),
        (0xB, Access.WRITE, "supervisor write: a reserved bit is set"),
        (0x25, Access.READ, "user read: not allowed by the protection key"),
    ],
)
def test_a_page_fault_in_words(code: int, access: Access, words: str) -> None:
    fault = PageFault(0x1234, code)
    assert fault.access == access
    assert str(fault) == f"#PF at 0x1234, error code {code:#x} ({words})"


@pytest.mark.parametrize("module", ["mmu.memory", "mmu.entries", "mmu.translation"])
def test_the_examples_in_the_docstrings(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module), extraglobs=vars(importlib.import_module("mmu")))
    assert results.attempted and not results.failed
