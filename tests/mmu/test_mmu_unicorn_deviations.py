"""Where Unicorn's own walk is not what the manual says, as data.

Everything else in the comparisons with Unicorn (test_mmu_matrix_unicorn.py, test_mmu_unicorn_walker.py) must be equal,
and each deviation must still be there: if one is not, strike it and what makes room for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from mmu import CR4, Access, BusError, PageFault, PhysicalMemory, Registers
from mmu.entries import A, decode
from mmu.faults import NotCanonical
from mmu.registers import CR4_LONG_MODE
from mmu.translation import Walker
from tests.mmu.matrix_cases import CODE, CODE_PADDR, MAXPHYADDR, RAM_BYTES
from tests.mmu.tables import Tables
from tests.mmu.unicorn_walks import PUSH, Engine

VADDR = 0x7F12_3456_7000
PADDR = {1: 0x90_0000, 2: 0xA0_0000, 3: 0x4000_0000}
GAP = 0x1234_5678_9ABC_DEF0


@dataclass(frozen=True)
class Deviation:
    """A page with these ``fields``, and what an access to it does: here, and in Unicorn."""

    name: str
    reason: str
    ours: str
    theirs: str
    vaddr: int = VADDR
    level: int = 1
    bits: int = 0  # set in the leaf beside its fields
    access: Access = Access.READ
    stack: bool = False
    fields: dict[str, int] = field(default_factory=dict)
    registers: dict[str, Any] = field(default_factory=dict)


DEVIATIONS = (
    Deviation(
        "narrow",
        "The physical width is fixed at 40 bits: a bit that another processor reserves is an address bit.",
        bits=1 << 38,
        registers=dict(maxphyaddr=36),
        ours="#PF 0x9, A in []",
        theirs="0x4000900000, A in [4, 3, 2, 1]",
    ),
    Deviation(
        "wide",
        "The physical width is fixed at 40 bits: a wider address has a reserved bit.  (Here it lies outside memory.)",
        bits=1 << 45,
        registers=dict(maxphyaddr=52),
        ours="bus error, A in [4, 3, 2, 1]",
        theirs="#PF 0x9, A in [4, 3, 2]",
    ),
    Deviation(
        "no 1G pages",
        "1G pages are accepted on every CPU model; without them PS of a PDPTE is reserved.",
        level=3,
        registers=dict(pages_1g=False),
        ours="#PF 0x9, A in []",
        theirs="0x7456700d, A in [4, 3]",
        vaddr=VADDR | 0xD,
    ),
    Deviation(
        "early A",
        "A is set while walking.  We set it when the access is known to be allowed; the manual leaves it open.",
        fields=dict(P=0),
        access=Access.WRITE,
        ours="#PF 0x2, A in []",
        theirs="#PF 0x2, A in [4, 3, 2]",
    ),
    Deviation(
        "early A of a 1G page",
        "A is set while walking: in a PDPTE also where the page then turns out not to be writable.",
        level=3,
        fields=dict(RW=0),
        access=Access.WRITE,
        ours="#PF 0x3, A in []",
        theirs="#PF 0x3, A in [4, 3]",
    ),
    Deviation(
        "PKS",
        "CR4.PKS is stored without effect: there are no protection keys for supervisor pages, and no IA32_PKRS.",
        fields=dict(US=0, PKEY=5),
        registers=dict(cr4=CR4_LONG_MODE | CR4.PKS, pkrs=0b01 << 10),
        ours="#PF 0x21, A in []",
        theirs="0x900000, A in [4, 3, 2, 1]",
    ),
    Deviation(
        "#SS",
        "There is no #SS for an address in the stack segment that is not canonical; it is #GP.",
        vaddr=GAP,
        access=Access.WRITE,
        stack=True,
        ours="vector 12, A in []",
        theirs="vector 13, A in []",
    ),
)


class Scene:
    """The page of a deviation in memory, for both sides."""

    def __init__(self, deviation: Deviation) -> None:
        self.deviation = deviation
        self.ram = PhysicalMemory(RAM_BYTES)
        self.tables = Tables(self.ram)
        for cpl, code in CODE.items():
            self.tables.map_page(code, CODE_PADDR, US=cpl & 1)
        self.registers = Registers(**(dict(cr3=self.tables.cr3, cpl=0, maxphyaddr=MAXPHYADDR) | deviation.registers))
        page = deviation.vaddr & -1 << (3 + 9 * deviation.level)
        at = self.tables.map_page(page, PADDR[deviation.level], deviation.level, **deviation.fields)
        self.ram.write_u64(at, self.ram.read_u64(at) | deviation.bits)
        self.slots = {level: self.tables.slot(page, level) for level in range(4, deviation.level - 1, -1)}

    def accessed(self) -> str:
        return f"A in {[level for level, slot in self.slots.items() if self.ram.read_u64(slot) & int(A)]}"

    def ours(self) -> str:
        deviation = self.deviation
        try:
            walk = Walker(self.ram).translate
            said = f"{walk(self.registers, deviation.vaddr, deviation.access, stack=deviation.stack).paddr:#x}"
        except PageFault as fault:
            said = f"#PF {fault.error_code:#x}"
        except NotCanonical as fault:
            said = f"vector {fault.vector}"
        except BusError:
            said = "bus error"
        return f"{said}, {self.accessed()}"

    def theirs(self) -> str:
        deviation, engine = self.deviation, Engine(self.ram)
        engine.load(self.registers, self.tables.cr3)
        paddr = engine.translate(deviation.vaddr, deviation.access)
        if paddr is not None:
            return f"{paddr:#x}, {self.accessed()}"
        engine.load(self.registers, self.tables.cr3)
        engine.general[4] = deviation.vaddr + 8  # RSP
        interrupt = engine.execute(deviation.vaddr, deviation.access, 0, at=PUSH[0] if deviation.stack else None)
        assert interrupt is not None
        vector, error_code, cr2 = interrupt
        assert vector != 14 or cr2 == deviation.vaddr
        said = f"#PF {error_code:#x}" if vector == 14 else f"vector {vector}"
        return f"{said}, {self.accessed()}"


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_deviations(deviation: Deviation) -> None:
    assert Scene(deviation).ours() == deviation.ours
    assert Scene(deviation).theirs() == deviation.theirs, f"no longer so: {deviation.reason}"


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_what_differs_is_what_is_named(deviation: Deviation) -> None:
    """With what the deviation is about set as in Unicorn, the two sides agree."""
    usual: dict[str, dict[str, Any]] = {
        "narrow": dict(registers={}),
        "wide": dict(registers={}),
        "no 1G pages": dict(registers={}),
        "early A": dict(fields={}),
        "early A of a 1G page": dict(fields={}),
        "PKS": dict(registers={}),
        "#SS": dict(stack=False),
    }
    same = Deviation(**(vars(deviation) | usual[deviation.name]))
    if deviation.name == "narrow":
        assert Scene(same).ours().startswith("bus error"), "the address is fine, and outside memory"
        return
    ours, theirs = Scene(same).ours(), Scene(same).theirs()
    if deviation.name == "wide":
        ours, theirs = ours.partition(",")[0], theirs.partition(",")[0]  # A: the deviation "early A"
    assert ours == theirs


def test_pcids_do_not_change_a_walk() -> None:
    """Unicorn has none; where the tables are is the same on both sides."""
    scene = Scene(DEVIATIONS[3])
    slot = scene.slots[1]
    scene.ram.write_u64(slot, scene.ram.read_u64(slot) | 1)
    engine = Engine(scene.ram)
    cr4 = CR4_LONG_MODE | CR4.PCIDE
    for low in (0, 0x18, 0xABC, 0xFFF, 1 << 63 | 7):
        cr3 = scene.tables.cr3 | low
        registers = Registers(cr3=cr3, cr4=cr4, cpl=0, maxphyaddr=MAXPHYADDR)
        assert registers.pcid == low & 0xFFF
        engine.load(Registers(cr3=0, cr4=cr4, cpl=0, maxphyaddr=MAXPHYADDR), cr3)
        found = Walker(scene.ram).translate(registers, VADDR, Access.READ)
        assert engine.translate(VADDR, Access.READ) == found.paddr == PADDR[1]
        assert [decode(step.level, step.value)["P"] for step in found.steps] == [1, 1, 1, 1]
