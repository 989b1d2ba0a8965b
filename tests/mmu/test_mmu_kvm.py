"""Our walk against the host CPU, through /dev/kvm: the same tables, the same access.

UNIMMU_EXHAUSTIVE=1 runs the whole matrix; otherwise the same part of it each time.  Where KVM has nested paging, the
CPU walks the tables itself; where it shadows them, the answers are those of the CPU and of KVM together.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest

from mmu import Access, GeneralProtection, PageFault
from mmu.faults import ErrorCode
from mmu.translation import Walker
from tests.exhaustive import EXHAUSTIVE, by_default
from tests.mmu.kvm import GENERAL_PROTECTION, PAGE_FAULT, Kvm, Outcome, Placed, Unavailable, modules
from tests.mmu.paging_cases import (
    OPEN,
    SIZE,
    Case,
    Features,
    Matrix,
    addresses,
    implicit_accesses,
    path,
    random_cases,
    single_bits,
    sizes,
)

SEED = "20231"
MATRIX_CASES = 2_000  # of each page size and privilege
RANDOM_CASES = by_default(3_000, 200_000)
IMPLICIT_CASES = 1_000
#: What AMD reserves in a PML5E and a PML4E, and Intel ignores (APM vol. 2, 5.3, "MBZ"; SDM vol. 3, table 4-15).
UPPER_G = 1 << 8
FEATURES = {
    "nx": "NX",
    "pages_1g": "1G pages",
    "smep": "SMEP",
    "smap": "SMAP",
    "pku": "protection keys",
    "la57": "5 levels",
}


class Comparison:
    """Runs cases on both sides."""

    def __init__(self, machine: Kvm) -> None:
        self.machine = machine
        self.features = machine.features
        self._walker = Walker(machine.ram)
        self._ram = machine.ram

    def ours(self, case: Case, placed: Placed) -> Outcome:
        if self._ram is not placed.ram:
            self._ram, self._walker = placed.ram, Walker(placed.ram)
        placed.write()
        try:
            found = self._walker.translate(self.machine.registers(case, placed), case.vaddr, case.access)
        except PageFault as fault:
            return Outcome(PAGE_FAULT, fault.error_code, fault.vaddr)
        except GeneralProtection:
            return Outcome(GENERAL_PROTECTION)
        return Outcome(paddr=found.paddr, entries=placed.read())

    def theirs(self, case: Case, placed: Placed) -> Outcome:
        placed.write()
        return self.machine.run(case, placed)

    def check(self, cases: Iterable[Case]) -> Counter[str]:
        """Assert that both agree; how often each kind of outcome was seen."""
        seen: Counter[str] = Counter()
        for case in cases:
            placed = self.machine.place(case)
            ours = self.ours(case, placed)  # first: a table that KVM has walked must not be written
            theirs = self.theirs(case, placed)
            assert theirs == ours, f"{modules()}: {case}: {theirs}; we say: {ours}"
            seen["done" if ours.vector is None else f"{ours.vector} {ours.error_code:#x}"] += 1
        return seen


def runs_at_all(machine: Kvm) -> None:
    """Unavailable unless undisputed accesses end as they must."""
    for cpl, access, leaf in ((c, a, leaf) for c in (0, 3) for a in Access for leaf in (OPEN, 0)):
        case = Case(path(1, leaf), access, cpl)
        placed = machine.place(case)
        placed.write()
        try:
            outcome = machine.run(case, placed)
        except (RuntimeError, OSError, AssertionError) as error:
            raise Unavailable(f"/dev/kvm does not run the machine: {error}") from None
        if outcome.vector != (None if leaf else PAGE_FAULT):
            raise Unavailable(f"/dev/kvm does not run the machine: {case}: {outcome}")


@pytest.fixture(scope="module")
def kvm() -> Iterator[Comparison]:
    try:
        machine = Kvm()
        runs_at_all(machine)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield Comparison(machine)
    machine.close()


def part_of(cases: Matrix, count: int, seed: str) -> Iterator[Case]:
    """All of them, or ``count`` of them, always the same."""
    chosen = range(len(cases))
    if not EXHAUSTIVE and count < len(cases):
        return (cases[index] for index in sorted(random.Random(seed).sample(chosen, count)))
    return (cases[index] for index in chosen)


def test_what_this_host_cannot_do(kvm: Comparison) -> None:
    missing = [words for name, words in FEATURES.items() if not getattr(kvm.features, name)]
    if missing:
        pytest.skip(f"not tested against the CPU, as KVM ({modules()}) does not offer it here: {', '.join(missing)}")


@pytest.mark.parametrize("cpl", [0, 3])
@pytest.mark.parametrize("level", [1, 2, 3], ids=SIZE.get)
def test_matrix(kvm: Comparison, level: int, cpl: int) -> None:
    if level not in sizes(kvm.features):
        pytest.skip(f"KVM offers no {SIZE[level]} pages here")
    seen = kvm.check(part_of(Matrix(kvm.features, level, cpl), MATRIX_CASES, f"{SEED} {level} {cpl}"))
    assert kinds_of_fault(kvm.features, cpl) <= set(seen), "the matrix meets every kind of fault"
    assert seen["done"]


def kinds_of_fault(features: Features, cpl: int) -> set[str]:
    user = ErrorCode.US if cpl == 3 else ErrorCode(0)
    codes = {user, user | ErrorCode.WR, user | ErrorCode.P | ErrorCode.WR}
    if features.nx:
        codes |= {user | ErrorCode.P | ErrorCode.RSVD, user | ErrorCode.P | ErrorCode.RSVD | ErrorCode.WR}
        codes |= {user | ErrorCode.ID, user | ErrorCode.P | ErrorCode.ID}
    if features.pku:
        codes |= {user | ErrorCode.P | ErrorCode.PK, user | ErrorCode.P | ErrorCode.PK | ErrorCode.WR}
    if features.smap or cpl == 3:
        codes.add(user | ErrorCode.P)
    return {f"{PAGE_FAULT} {int(code):#x}" for code in codes}


def test_every_bit_of_every_entry(kvm: Comparison) -> None:
    assert kvm.check(single_bits(kvm.features))["done"]


def test_addresses_that_are_not_canonical(kvm: Comparison) -> None:
    assert kvm.check(addresses(kvm.features)).keys() == {"done", f"{GENERAL_PROTECTION} 0x0"}


def test_implicit_supervisor_accesses(kvm: Comparison) -> None:
    cases = list(implicit_accesses(kvm.features))
    if not EXHAUSTIVE and len(cases) > IMPLICIT_CASES:
        cases = random.Random(SEED).sample(cases, IMPLICIT_CASES)
    seen = kvm.check(cases)
    assert seen["done"]
    codes = [int(outcome.split()[1], 16) for outcome in seen if outcome != "done"]
    assert codes and not any(code & ErrorCode.US for code in codes)


def test_random_entries(kvm: Comparison) -> None:
    seen = kvm.check(islice(random_cases(kvm.features, SEED), RANDOM_CASES))
    assert seen["done"] > RANDOM_CASES / 10
    assert kinds_of_fault(kvm.features, 0) | kinds_of_fault(kvm.features, 3) <= set(seen)


def test_bit_8_of_a_pml4e(kvm: Comparison) -> None:
    """Reserved by AMD, ignored by Intel: Registers.upper_g_reserved."""
    case = Case(path(1, OPEN, l4=OPEN | UPPER_G), Access.READ)
    fault = (PAGE_FAULT, ErrorCode.P | ErrorCode.RSVD | ErrorCode.US)
    for compared in (kvm.theirs, kvm.ours):
        outcome = compared(case, kvm.machine.place(case))
        assert (outcome.vector, outcome.error_code) == (fault if kvm.features.amd else (None, 0))
