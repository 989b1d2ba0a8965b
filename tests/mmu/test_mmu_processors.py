"""Logical processors that take turns on one engine: each has its CR3, its translations and its counters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc

from mmu import Access, Mmu, PhysicalMemory
from mmu.geometry import Geometry
from mmu.model import TlbModel
from mmu.processors import COUNTERS, MODEL, REGISTERS
from mmu.state import MmuState
from tests.mmu.exact_guest import PAGE, tiny
from tests.mmu.guest import DATA, DATA_PADDR, LOAD, OTHER, OTHER_PADDR, STORE, Guest
from tests.mmu.tables import Tables

NEW_PADDR = 0x38_0000


class Several(Guest):
    """A guest with three processors; the first one has its turn, and all have loaded the same tables."""

    def __init__(self, tlb: str | Geometry) -> None:
        self.ram = PhysicalMemory(16 << 20)
        self.tables = Tables(self.ram)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.mmu = Mmu(self.uc, self.ram, tlb=tlb, processors=3)
        for processor in (2, 1, 0):
            self.mmu.switch_to(processor)
            self.mmu.load_cr3(self.tables.cr3)
        self.tables.map_page(DATA, DATA_PADDR)
        self.tables.map_page(OTHER, OTHER_PADDR)
        self.ram.write_u64(DATA_PADDR, 1)
        self.ram.write_u64(NEW_PADDR, 2)
        self.program(LOAD)

    def load(self, vaddr: int = DATA) -> int:
        return self.run(rbx=vaddr)

    def held(self) -> list[set[int]]:
        """The data addresses that each processor's TLB holds."""
        return [{entry.vaddr for entry in tlb.contents()["L1D"]} for tlb in self.mmu.tlbs]


@pytest.fixture
def exact() -> Several:
    return Several(tiny(8))


def test_every_field_that_a_model_sets_is_put_aside() -> None:
    """What building a model writes into the state must not be shared, apart from what every processor has alike."""
    state = MmuState()
    before = bytes(state)
    TlbModel(state, tiny(4, level_2=8, structures={2: 4}, inclusive=True), seed=5)
    where = {name: getattr(MmuState, name) for name, *_ in MmuState._fields_}
    places = {name: slice(field.offset, field.offset + field.size) for name, field in where.items()}
    changed = {name for name, place in places.items() if bytes(state)[place] != before[place]}
    assert changed - set(MODEL) == {"inclusive", "coalesce"}
    assert len({*MODEL, *COUNTERS, *REGISTERS}) == len(MODEL) + len(COUNTERS) + len(REGISTERS)


def test_each_has_translations_of_its_own(exact: Several) -> None:
    assert exact.load() == 1
    assert exact.held() == [{DATA}, set(), set()]
    exact.tables.map_page(DATA, NEW_PADDR)
    exact.mmu.switch_to(2)
    assert exact.load() == 2, "nobody has told it, but it never knew the old translation"
    exact.mmu.switch_to(0)
    assert exact.load() == 1, "stale, as it was when its turn was over"
    assert exact.held() == [{DATA}, set(), {DATA}]


@pytest.mark.parametrize("what", ["invlpg", "flush", "load_cr3"])
def test_an_invalidation_is_the_business_of_one_processor(exact: Several, what: str) -> None:
    mmu = exact.mmu
    for processor in (1, 2, 0):
        mmu.switch_to(processor)
        exact.load()
        exact.load(OTHER)
    flushes = [mmu.counters_of(processor).flushes for processor in range(3)]
    mmu.switch_to(1)
    invalidations: dict[str, Callable[[], None]] = {
        "invlpg": lambda: mmu.invlpg(DATA),
        "flush": mmu.flush,
        "load_cr3": lambda: mmu.load_cr3(exact.tables.cr3),
    }
    invalidations[what]()
    left = {OTHER} if what == "invlpg" else set()
    assert exact.held() == [{DATA, OTHER}, left, {DATA, OTHER}]
    done = [mmu.counters_of(processor).flushes - n for processor, n in enumerate(flushes)]
    assert done == [0, what != "load_cr3", 0]


def test_an_ipi_reaches_a_processor_that_does_not_have_its_turn(exact: Several) -> None:
    mmu = exact.mmu
    for processor in (1, 0):
        mmu.switch_to(processor)
        exact.load()
        exact.load(OTHER)
    exact.tables.map_page(DATA, NEW_PADDR)
    with mmu.on(1):
        assert mmu.processor == mmu.state.cpu == 1
        mmu.invlpg(DATA)
    assert mmu.processor == mmu.state.cpu == 0
    assert exact.held() == [{DATA, OTHER}, {OTHER}, set()]
    assert exact.load() == 1
    mmu.switch_to(1)
    assert exact.load() == 2
    with mmu.on(1):
        mmu.flush()
    assert exact.held()[1] == set()


def test_the_counters_add_up(exact: Several) -> None:
    mmu = exact.mmu
    for processor, number in enumerate((1, 2, 3)):
        mmu.switch_to(processor)
        for n in range(number):
            exact.tables.map_page(OTHER - PAGE * (n + 1), OTHER_PADDR + PAGE * (n + 1))
            exact.load(OTHER - PAGE * (n + 1))
        counted = mmu.tlbs[processor].access_counters()[Access.READ]
        assert counted["accesses"] == number
    for name in COUNTERS:
        assert getattr(mmu.counters, name) == sum(getattr(mmu.counters_of(n), name) for n in range(3))
    assert mmu.counters.walks == 3 + 1 + 2 + 3, "for code, and for data"


def test_filtered_mode_forgets_the_tables_of_another_processor() -> None:
    guest = Several("off")
    mmu, other = guest.mmu, Tables(guest.ram, cr3=0x40_0000)
    for vaddr, paddr in ((0x40_0000, 0x10_0000), (DATA, NEW_PADDR)):
        other.map_page(vaddr, paddr)
    assert guest.load() == 1
    mmu.switch_to(1)
    mmu.load_cr3(other.cr3)
    assert guest.load() == 2
    mmu.switch_to(0)
    assert (mmu.state.cr3, mmu.cr3_of(1)) == (guest.tables.cr3, other.cr3)
    assert guest.load() == 1
    fills = mmu.counters.fills
    mmu.switch_to(2)  # the same tables: what the engine holds is good there too
    assert guest.load() == 1
    assert mmu.counters.fills == fills
    with mmu.on(1):
        mmu.flush_range(DATA, PAGE)
    assert guest.load() == 1
    assert mmu.counters.fills == fills, "the engine held nothing of that processor"


def test_a_store_of_another_processor_is_seen(exact: Several) -> None:
    exact.load()
    exact.mmu.switch_to(1)
    exact.program(STORE)
    exact.run(rbx=DATA, rax=9)
    exact.mmu.switch_to(0)
    exact.program(LOAD)
    assert exact.load() == 9


def test_there_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20), processors=0)
