"""What the audit says of huge pages."""

from __future__ import annotations

import pytest

from tests.booted import GIB, Booted, MakeMachine

POOL = 8


@pytest.fixture
def mapped(machine: MakeMachine) -> Booted:
    """A process with a private huge page, and a shared one, at 4 and 5 GiB; each mapping is promised one more."""
    booted = machine(hugepages=POOL)
    booted.guest(
        "calls",
        "@p = mmap 4G 4M RW PRIVATE|MAP_HUGETLB|MAP_FIXED -1 0; @store p 1;"
        "@s = mmap 5G 4M RW ANON|MAP_HUGETLB|MAP_FIXED -1 0; @store s 1; @pause",
    )
    booted.run(timeout_s=60)
    assert booted.audit() == []
    return booted


def test_the_audit_counts_references(mapped: Booted) -> None:
    pool = mapped.kernel.huge_pages
    head = mapped.tasks[0].mm.tables.pte(5 * GIB) >> 12 & 0xFFFFFFF
    pool.counts[head] += 1
    found = mapped.audit()
    pool.counts[head] -= 1
    assert found == [f"huge page {head:#x} has 3 references, and 2 were found"]


def test_the_audit_counts_promises(mapped: Booted) -> None:
    pool = mapped.kernel.huge_pages
    pool.reserved += 1
    found = mapped.audit()
    pool.reserved -= 1
    assert found == ["3 of 6 free huge pages are accounted for as promised, 2 are"]


def test_the_audit_finds_a_wrong_page(mapped: Booted) -> None:
    tables = mapped.tasks[0].mm.tables
    private, shared = (tables.entry_slot(at, 2) for at in (4 * GIB, 5 * GIB))
    assert private is not None and shared is not None
    words = mapped.ram.qwords
    one, other = words[private], words[shared]
    words[private], words[shared] = other, one
    found = mapped.audit()
    words[private], words[shared] = one, other
    head = {name: entry >> 12 & 0xFFFFFFF for name, entry in (("private", one), ("shared", other))}
    assert found == [
        f"calls: the PMD entry of {5 * GIB:#x} maps huge page {head['private']:#x}, "
        "but the file has another page there",
        f"calls: the PMD entry of {4 * GIB:#x} lets a private mapping write to huge page {head['shared']:#x}, which "
        "others can see",
    ]


def test_the_audit_finds_an_entry_without_a_mapping(mapped: Booted) -> None:
    tables = mapped.tasks[0].mm.tables
    slot = tables.entry_slot(4 * GIB, 2)
    assert slot is not None
    words = mapped.ram.qwords
    words[slot + 8] = words[slot]
    found = mapped.audit()
    words[slot + 8] = 0
    where = f"calls: the PMD entry of {4 * GIB + (16 << 20):#x}"
    assert f"{where} maps a huge page, but no VMA of huge pages covers it" in found
