"""translate, held against an oracle that was written from the manual (SDM vol. 3, 4.5 to 4.8) and not from mmu.walk."""

from __future__ import annotations

import doctest
import importlib
from dataclasses import dataclass
from itertools import product

import pytest

from mmu import CR0, CR4, EFER, Access, BusError, GeneralProtection, PageFault, PhysicalMemory, Registers, translate
from mmu.faults import ErrorCode
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE
from mmu.translation import Walker
from tests.mmu.tables import Tables

CR3 = 0x1000
#: One address with another index at every level, and an offset that shows the page size.
VADDR = 0x0000_7654_3210_FEDC
PAGE = {1: 0x0000_0070_0000, 2: 0x0000_0060_0000, 3: 0}
ADDRESS_OF = {4: 0x2000, 3: 0x3000, 2: 0x4000}


# ---- the oracle


@dataclass(frozen=True)
class Answer:
    """What the processor does: ``error`` None and an address, or an error code; and the entries afterwards."""

    error: int | None
    paddr: int | None
    entries: dict[int, int]


def reserved_bit_is_set(level: int, entry: int, maps_a_page: bool, nxe: bool, maxphyaddr: int) -> bool:
    must_be_zero = list(range(maxphyaddr, 52))
    if level == 4:
        must_be_zero.append(7)
    if level == 3 and maps_a_page:
        must_be_zero += range(13, 30)
    if level == 2 and maps_a_page:
        must_be_zero += range(13, 21)
    if not nxe:
        must_be_zero.append(63)
    return any(entry >> bit & 1 for bit in must_be_zero)


def allowed(path: list[int], access: Access, user_mode: bool, wp: bool, nxe: bool) -> bool:
    user_page = all(entry >> 2 & 1 for entry in path)
    writable = all(entry >> 1 & 1 for entry in path)
    no_execute = nxe and any(entry >> 63 for entry in path)
    if user_mode and not user_page:
        return False
    if access == Access.WRITE:
        return writable or (not user_mode and not wp)
    if access == Access.FETCH:
        return not no_execute
    return True


def oracle(entries: dict[int, int], vaddr: int, access: Access, registers: Registers) -> Answer:
    """``entries`` holds the entry of each level on the way (levels below a leaf are not looked at)."""
    user_mode = registers.cpl == 3
    wp, nxe = bool(registers.cr0 & 1 << 16), bool(registers.efer & 1 << 11)
    error = 0
    if access == Access.WRITE:
        error |= 1 << 1
    if user_mode:
        error |= 1 << 2
    if access == Access.FETCH and nxe:
        error |= 1 << 4
    path = []
    for level in (4, 3, 2, 1):
        entry = entries[level]
        if not entry & 1:
            return Answer(error, None, entries)
        maps_a_page = level == 1 or (level in (2, 3) and bool(entry & 1 << 7))
        if reserved_bit_is_set(level, entry, maps_a_page, nxe, registers.maxphyaddr):
            return Answer(error | 1 << 0 | 1 << 3, None, entries)
        path.append(entry)
        if maps_a_page:
            break
    if not allowed(path, access, user_mode, wp, nxe):
        return Answer(error | 1 << 0, None, entries)
    offset_bits = {1: 12, 2: 21, 3: 30}[level]
    page = entry & (1 << 52) - 1 & ~((1 << offset_bits) - 1)
    after = dict(entries)
    for used in range(4, level - 1, -1):
        after[used] |= 1 << 5
    if access == Access.WRITE:
        after[level] |= 1 << 6
    return Answer(None, page + vaddr % (1 << offset_bits), after)


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
RIGHTS = [rw << 1 | us << 2 | xd << 63 for rw, us, xd in product((0, 1), repeat=3)]


@pytest.mark.parametrize("leaf", [1, 2, 3])
def test_every_combination_of_rights(path: Path, leaf: int) -> None:
    base = path.base(leaf)
    levels = range(4, leaf - 1, -1)
    outcomes = set()
    for rights in product(RIGHTS, repeat=len(levels)):
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(cr0=CR0_LONG_MODE & ~CR0.PG), "IA-32e paging needs"),
        (dict(cr4=0), "IA-32e paging needs"),
        (dict(efer=int(EFER.LMA)), "IA-32e paging needs"),
        *((dict(cr4=CR4_LONG_MODE | bit), f"CR4.{bit.name}.* not modelled") for bit in (
            CR4.LA57, CR4.PCIDE, CR4.SMEP, CR4.SMAP, CR4.PKE, CR4.PKS)),
        (dict(pkru=4), "protection keys"),
        (dict(cpl=4), "CPL is 0 to 3"),
        (dict(cpl=-1), "CPL is 0 to 3"),
        (dict(maxphyaddr=35), "36 to 52 bits, not 35"),
        (dict(maxphyaddr=53), "36 to 52 bits, not 53"),
        (dict(cr3=1 << 40, maxphyaddr=40), "at or above MAXPHYADDR 40"),
    ],
)  # fmt: skip
def test_registers_that_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Registers(**({"cr3": CR3} | change))


@pytest.mark.parametrize(
    ("code", "access", "words"),
    [
        (0x0, Access.READ, "supervisor read: not present"),
        (0x4, Access.READ, "user read: not present"),
        (0x7, Access.WRITE, "user write: not allowed"),
        (0x15, Access.FETCH, "user fetch: not allowed"),
        (0xB, Access.WRITE, "supervisor write: a reserved bit is set"),
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
