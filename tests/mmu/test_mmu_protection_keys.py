"""Protection keys: every key, PKRU and IA32_PKRS, on pages of each size (SDM vol. 3, 4.6.2)."""

from __future__ import annotations

from itertools import product
from typing import TypedDict, Unpack

import pytest

from mmu import CR0, CR4, Access, PageFault, PhysicalMemory, Registers
from mmu.entries import page_bytes
from mmu.faults import ErrorCode
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, Rights
from mmu.translation import Walker
from tests.mmu.tables import Tables

VADDR = 0x40_0000_0000
AD, WD = 1, 2
KEYS = CR4_LONG_MODE | CR4.PKE | CR4.PKS


class State(TypedDict, total=False):
    """What :class:`Registers` may be made with."""

    cr0: int
    cr4: int
    cpl: int
    ac: bool
    implicit: bool
    pkru: int
    pkrs: int


class Page:
    """One page with a key."""

    def __init__(self, level: int = 1, **fields: int) -> None:
        self.ram = PhysicalMemory(2 << 30)
        self.tables = Tables(self.ram)
        self.tables.map_page(VADDR, page_bytes(level) if level > 1 else 0x9000, level, **fields)
        self.walker = Walker(self.ram)

    def error(self, access: Access, **registers: Unpack[State]) -> int | None:
        try:
            state = State(cr4=KEYS) | registers
            self.walker.translate(Registers(self.tables.cr3, **state), VADDR, access)
        except PageFault as fault:
            return fault.error_code
        return None


@pytest.mark.parametrize("user_page", [False, True])
@pytest.mark.parametrize("key", range(16))
def test_every_key(key: int, user_page: bool) -> None:
    """The two bits of the page's own key count, in the register for this kind of page; all others say the opposite."""
    page = Page(US=int(user_page), PKEY=key)
    for bits, wp, cpl, access in product(range(4), (False, True), (0, 3), Access):
        if cpl == 3 and not user_page:
            continue  # not allowed anyway
        opposite = 0xFFFF_FFFF & ~(3 << 2 * key)
        own, other = bits << 2 * key | opposite * (bits == 0), 0xFFFF_FFFF * (bits == 0)
        found = page.error(
            access,
            cpl=cpl,
            cr0=CR0_LONG_MODE if wp else CR0_LONG_MODE & ~CR0.WP,
            pkru=own if user_page else other,
            pkrs=other if user_page else own,
        )
        denied = access != Access.FETCH and bool(
            bits & AD or (bits & WD and access == Access.WRITE and (wp or cpl == 3))
        )
        base = (2 if access == Access.WRITE else 0) | (4 if cpl == 3 else 0)
        assert found == (base | ErrorCode.P | ErrorCode.PK if denied else None), (bits, wp, cpl, access)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_keys_of_large_pages(level: int) -> None:
    page = Page(level, PKEY=11)
    assert page.error(Access.READ, pkru=AD << 22) == 0x25
    assert page.error(Access.WRITE, pkru=WD << 22) == 0x27
    assert page.error(Access.READ, pkru=WD << 22) is None
    assert page.error(Access.FETCH, pkru=3 << 22) is None


def test_a_table_pointer_has_no_key() -> None:
    page = Page(PKEY=0)
    for level in (4, 3, 2):
        slot = page.tables.slot(VADDR, level)
        page.ram.write_u64(slot, page.ram.read_u64(slot) | 0xF << 59)
    assert page.error(Access.WRITE, pkru=0xFFFF_FFFC, pkrs=0xFFFF_FFFF) is None
    assert page.error(Access.WRITE, pkru=0x0000_0001) == 0x27


def test_a_page_is_a_user_page_only_if_every_entry_says_so() -> None:
    """Which register counts goes by all levels."""
    page = Page(PKEY=1)
    slot = page.tables.slot(VADDR, 3)
    page.ram.write_u64(slot, page.ram.read_u64(slot) & ~4)
    assert page.error(Access.READ, cpl=0, pkru=AD << 2) is None
    assert page.error(Access.READ, cpl=0, pkrs=AD << 2) == 0x21


@pytest.mark.parametrize("cr4", [CR4_LONG_MODE, CR4_LONG_MODE | CR4.PKS])
def test_without_pke_user_pages_have_no_keys(cr4: int) -> None:
    assert Page(PKEY=3).error(Access.WRITE, cr4=cr4, pkru=0xFFFF_FFFF, pkrs=0xFFFF_FFFF) is None


@pytest.mark.parametrize("cr4", [CR4_LONG_MODE, CR4_LONG_MODE | CR4.PKE])
def test_without_pks_supervisor_pages_have_no_keys(cr4: int) -> None:
    page = Page(PKEY=3, US=0)
    assert page.error(Access.WRITE, cpl=0, cr4=cr4, pkru=0xFFFF_FFFF, pkrs=0xFFFF_FFFF) is None


def test_the_error_code_names_the_key_beside_another_reason() -> None:
    """PK says that the key forbids the access, also where R/W or SMAP forbid it too."""
    assert Page(PKEY=1, RW=0).error(Access.WRITE, pkru=WD << 2) == 0x27
    assert Page(PKEY=1).error(Access.READ, cpl=0, cr4=KEYS | CR4.SMAP, pkru=AD << 2) == 0x21
    assert Page(PKEY=1, US=0).error(Access.READ, cpl=3, pkrs=AD << 2) == 0x25
    cr0 = CR0_LONG_MODE & ~CR0.WP
    assert Page(PKEY=1, US=0).error(Access.WRITE, cpl=3, cr0=cr0, pkrs=WD << 2) == 0x7, "WD of a PKRS needs CR0.WP"


@pytest.mark.parametrize("cpl", [0, 3])
def test_what_a_key_leaves(cpl: int) -> None:
    page = Page(PKEY=7, D=1)
    for bits, rights in ((0, 7), (WD, Rights.READ | Rights.EXECUTE)):
        registers = Registers(cr3=page.tables.cr3, cr4=KEYS, cpl=cpl, pkru=bits << 14)
        found = page.walker.translate(registers, VADDR, Access.READ)
        assert (found.rights, found.key) == (rights, 7)


# ---- implicit supervisor accesses, SMAP and SMEP, told by hand


@pytest.mark.parametrize(
    ("cpl", "ac", "implicit", "read", "fetch"),
    [
        (0, False, False, 0x1, 0x11),
        (0, True, False, None, 0x11),
        (0, True, True, 0x1, 0x11),  # AC is for explicit accesses
        (0, False, True, 0x1, 0x11),
        (3, False, False, None, None),
        (3, True, True, 0x1, None),  # a descriptor table on a user page; code is fetched as a user all the same
        (3, False, True, 0x1, None),
    ],
)
def test_smap_and_smep(cpl: int, ac: bool, implicit: bool, read: int | None, fetch: int | None) -> None:
    page = Page()
    state = State(cpl=cpl, ac=ac, implicit=implicit, cr4=CR4_LONG_MODE | CR4.SMAP | CR4.SMEP)
    assert page.error(Access.READ, **state) == read
    assert page.error(Access.FETCH, **state) == fetch


def test_an_implicit_access_of_a_user_to_a_supervisor_page() -> None:
    page = Page(US=0)
    assert page.error(Access.READ, cpl=3) == 0x5
    assert page.error(Access.READ, cpl=3, implicit=True) is None
    assert page.error(Access.FETCH, cpl=3, implicit=True) == 0x15
    page = Page(US=0, RW=0)
    assert page.error(Access.WRITE, cpl=3, implicit=True) == 0x3, "a supervisor's write, and CR0.WP"
