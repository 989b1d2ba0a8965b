"""One walk step by step, in words: which bits of the address choose the entry, what it holds, and what follows.

The processor's part is the MMU's own walk of the snapshot's tables (:class:`mmu.Walker`), and no A or D bit is set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from emu.mm.pagetable import span
from emu.mm.swapops import GUARD, POISONED, marked
from emu.trace.pt.ranges import what_is_absent
from emu.trace.pt.tables import PageTablesSnapshot, Space
from emu.trace.pt.text import describe_table, table_name
from emu.trace.report.units import size_text
from mmu import Access, GeneralProtection, PageFault, PhysicalMemory, Walker, WalkStep
from mmu.entries import ADDRESS, ENTRY_NAME, RW, US, XD, A, D, P, decode, fields_of, is_leaf, reserved_bits
from mmu.faults import ErrorCode
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, BusError
from mmu.registers import EFER, Registers

_DOES = {Access.READ: "reads", Access.WRITE: "writes", Access.FETCH: "executes"}
_NEEDED = {Access.READ: "r", Access.WRITE: "w", Access.FETCH: "x"}


class Field(NamedTuple):
    """One field of an entry: its bits as the manual writes them, its name, its value, what that means."""

    bits: str
    name: str
    value: int
    means: str

    @property
    def shown(self) -> str:
        """The value: a bit as it is, a number in hexadecimal."""
        return f"{self.value:#x}" if ":" in self.bits else f"{self.value}"


@dataclass(frozen=True)
class WalkedEntry:
    """One step: an index from the address, the entry that it chooses, and what comes of it, in sentences."""

    level: int
    table: int
    high: int  # bits high:low of the address are the index
    low: int
    index: int
    paddr: int
    value: int
    fields: tuple[Field, ...]
    follows: tuple[str, ...]

    @property
    def name(self) -> str:
        """PML4E, PDPTE, ..."""
        return ENTRY_NAME[self.level]


@dataclass(frozen=True)
class WalkStory:
    """A walk from CR3 to its end: the physical address, or the fault (``error_code``; None where there is none)."""

    space: Space
    vaddr: int
    access: Access
    levels: int
    entries: tuple[WalkedEntry, ...]
    #: How it ends, in sentences; behind the first stand the bits of the error code, if there is one.
    ending: tuple[str, ...]
    paddr: int | None = None
    page_size: int = PAGE_SIZE
    error_code: int | None = None
    #: The bytes at the physical address, as far as they are known.
    data: bytes = b""

    @property
    def title(self) -> str:
        """Who does what."""
        return f"{self.space.title} {_DOES[self.access]} {self.vaddr:#x}"

    def lines(self) -> list[str]:
        """The whole story as text."""
        lines = [self.title, "", *self.opening, ""]
        for number, entry in enumerate(self.entries, 1):
            lines += self.step_lines(number, entry)
            lines.append("")
        if self.error_code is None:
            return lines + list(self.ending)
        bits = [f"    {field.bits:>5}  {field.name:4} {field.value}  {field.means}" for field in self.error_fields]
        return [*lines, self.ending[0], *bits, *self.ending[1:]]

    @property
    def error_fields(self) -> list[Field]:
        """The bits of the error code; none where there is no page fault."""
        return [] if self.error_code is None else error_fields(self.error_code)

    @property
    def opening(self) -> tuple[str, ...]:
        """What CR3 says."""
        top = describe_table(self.levels, self.levels)
        return (f"CR3 holds {self.space.pgd:#x}: there the {top} begins, of {self.levels} levels.",)

    def step_lines(self, number: int, entry: WalkedEntry) -> list[str]:
        """One step as text."""
        lines = [f"Step {number}: {describe_table(entry.level, self.levels)} at {entry.table:#x}"]
        lines += [f"  {line}" for line in index_sentences(entry)]
        lines += [f"    {field.bits:>5}  {field.name:8} {field.shown}  {field.means}" for field in entry.fields]
        return lines + [f"  {line}" for line in entry.follows]


def index_sentences(entry: WalkedEntry) -> tuple[str, str]:
    """How the entry is found, and what it holds."""
    where = f"Bits {entry.high}:{entry.low} of the address are {entry.index:#011b} = {entry.index}."
    found = f"Entry {entry.index} is at {entry.table:#x} + {entry.index} * 8 = {entry.paddr:#x}, and holds "
    return where, f"{found}{entry.value:#018x}:"


def walk(
    snapshot: PageTablesSnapshot, space: Space, vaddr: int, access: Access, memory: PhysicalMemory | None = None
) -> WalkStory:
    """Walk the tables of an address space at CPL 3.  ``memory`` is that of the machine, if there still is one: the
    story then ends with the byte.
    """
    registers = replace(snapshot.registers, cr3=space.pgd)
    ram = _with_tables(snapshot, space, vaddr) if memory is None else memory
    levels = snapshot.levels
    story = WalkStory(space, vaddr, access, levels, (), ())
    try:
        found = Walker(ram, marks=False).translate(registers, vaddr, access)
    except PageFault as fault:
        entries = tuple(_entry(step, vaddr, levels) for step in fault.steps)
        if entries[-1].table not in snapshot.tables:
            return replace(story, entries=entries[:-1], ending=(f"The table at {entries[-1].table:#x} is not there.",))
        why = _why(registers, fault, entries)
        entries = (*entries[:-1], replace(entries[-1], follows=tuple(why)))
        story = replace(story, entries=entries, error_code=fault.error_code)
        return replace(story, ending=tuple(_faults(story, fault)))
    except GeneralProtection:
        return replace(story, ending=_not_canonical(vaddr, levels))
    except BusError as error:
        return replace(story, ending=(f"The walk leaves physical memory: {error}.",))
    steps = tuple(_entry(step, vaddr, levels) for step in found.steps)
    data = b"" if memory is None else memory.read(found.paddr, min(8, found.page_size - found.paddr % found.page_size))
    story = replace(story, entries=steps, paddr=found.paddr, page_size=found.page_size, data=data)
    return replace(story, ending=tuple(_arrives(story)))


def _with_tables(snapshot: PageTablesSnapshot, space: Space, vaddr: int) -> PhysicalMemory:
    """Memory with nothing in it but the tables that the walk may read."""
    ram = PhysicalMemory(snapshot.memory_bytes)
    at, level = space.pgd, snapshot.levels
    while level and (table := snapshot.tables.get(at)) is not None:
        ram.write(at, table.entries.astype("<u8").tobytes())
        entry = int(table.entries[_index(vaddr, level)])
        at, level = entry & int(ADDRESS), 0 if is_leaf(level, entry) else level - 1
    return ram


def _index(vaddr: int, level: int) -> int:
    return vaddr >> (PAGE_SHIFT + 9 * (level - 1)) & 511


def _entry(step: WalkStep, vaddr: int, levels: int) -> WalkedEntry:
    low = PAGE_SHIFT + 9 * (step.level - 1)
    return WalkedEntry(
        step.level, step.paddr & -PAGE_SIZE, low + 8, low, _index(vaddr, step.level), step.paddr, step.value,
        tuple(_fields(step.level, step.value)), tuple(_follows(step, vaddr, levels)),
    )  # fmt: skip


def _fields(level: int, value: int) -> list[Field]:
    """Each field of a present entry but those of no meaning that are 0; of one that is not present, only P."""
    if not value & P:
        return [Field("0", "P", 0, "not present: " + (what_is_absent(value) if value else "the whole entry is 0"))]
    values, found = decode(level, value), []
    for field in fields_of(level, is_leaf(level, value)):
        given = values[field.name]
        if not given and field.name in ("IGN6", "IGN8", "AVL", "AVL_HIGH", "PKEY", "RSVD", "PWT", "PCD", "PAT"):
            continue
        bits = f"{field.high}:{field.low}" if field.high > field.low else f"{field.low}"
        found.append(Field(bits, field.name, given, _meaning(field.name, given, field.means)))
    return found


#: What a flag that is 0 means, and what one that is 1 means where the field's own words are no sentence.
_ZERO = {
    "RW": "writes are not allowed", "US": "user-mode accesses are not allowed", "A": "not accessed yet: a walk sets it",
    "D": "not written yet: a write sets it", "PS": "this entry points at a table", "G": "not global",
    "XD": "instructions may be fetched",
}  # fmt: skip


def _meaning(name: str, value: int, means: str) -> str:
    if not value:
        return _ZERO.get(name, f"not {means}")
    return "instructions may not be fetched" if name == "XD" else means


def _follows(step: WalkStep, vaddr: int, levels: int) -> list[str]:
    value, level = step.value, step.level
    if not value & P:
        return []
    target = decode(level, value)["ADDRESS"]
    if not is_leaf(level, value):
        return [f"So the {table_name(level - 1, levels)} table at {target:#x} comes next."]
    size, offset = span(level), vaddr & (span(level) - 1)
    shift = PAGE_SHIFT + 9 * (level - 1)
    return [
        f"So it maps a page of {size_text(size)} at {target:#x}.",
        f"Bits {shift - 1}:0 of the address are the offset in it: {target:#x} + {offset:#x} = {target + offset:#x}.",
    ]


# -- how it ends -------------------------------------------------------------------------------------------------------


def _arrives(story: WalkStory) -> list[str]:
    assert story.paddr is not None
    lines = [f"The physical address of {story.vaddr:#x} is {story.paddr:#x}."]
    marks = [f"A in the {entry.name}" for entry in story.entries if not entry.value & A]
    if story.access == Access.WRITE and not story.entries[-1].value & D:
        marks.append(f"D in the {story.entries[-1].name}")
    if marks:
        lines.append(f"The processor sets {', '.join(marks)}.")
    if story.data:
        lines.append(f"The byte there is {story.data[0]:#04x} (from there on: {story.data.hex(' ')}).")
    return lines


def _why(registers: Registers, fault: PageFault, entries: tuple[WalkedEntry, ...]) -> list[str]:
    """Why the walk ended at its last entry."""
    last, code = entries[-1], ErrorCode(fault.error_code)
    if not code & ErrorCode.P:
        return [f"P is 0, so the walk ends here: {what_is_absent(last.value)}."]
    if code & ErrorCode.RSVD:
        bad = last.value & reserved_bits(
            last.level, is_leaf(last.level, last.value), registers.maxphyaddr, nxe=bool(registers.efer & EFER.NXE),
            pages_1g=registers.pages_1g, upper_g_reserved=registers.upper_g_reserved,
        )  # fmt: skip
        return [f"Bits that must be 0 are set ({bad:#x}), so the walk ends here."]
    if code & ErrorCode.PK:
        return [f"The page has protection key {decode(last.level, last.value).get('PKEY', 0)}, and PKRU forbids it."]
    return [f"The walk comes to its end, and the access is not allowed: {_denied(fault, entries)}."]


def _denied(fault: PageFault, entries: tuple[WalkedEntry, ...]) -> str:
    reasons = [f"US is 0 in the {entry.name}" for entry in entries if not entry.value & US]
    if fault.access == Access.WRITE:
        reasons += [f"RW is 0 in the {entry.name}" for entry in entries if not entry.value & RW]
    if fault.access == Access.FETCH:
        reasons += [f"XD is 1 in the {entry.name}" for entry in entries if entry.value & XD]
    return ", ".join(reasons)


def _faults(story: WalkStory, fault: PageFault) -> list[str]:
    """The exception, and what Linux does then."""
    return [
        f"Page fault (#PF): CR2 becomes {fault.vaddr:#x}, and the error code is {fault.error_code:#x}:",
        *([] if story.space.cpus is not None else [_linux(story)]),  # a dump does not say what was mapped
    ]


def error_fields(code: int) -> list[Field]:
    """The bits of a page fault's error code, in words (SDM vol. 3, 4.7)."""
    words = (
        ("P", "the entry was not present", "the translation was present, and the access is not allowed"),
        ("W/R", "not a write", "a write"),
        ("U/S", "in supervisor mode", "in user mode"),
        ("RSVD", "no reserved bit", "a reserved bit was set"),
        ("I/D", "not an instruction fetch", "an instruction fetch"),
        ("PK", "not by a protection key", "by the protection key"),
    )
    return [Field(f"{n}", name, code >> n & 1, (zero, one)[code >> n & 1]) for n, (name, zero, one) in enumerate(words)]


def _linux(story: WalkStory) -> str:
    if story.vaddr >> 63:
        return "Linux: the address is in the kernel's half, so this is SIGSEGV."
    mapping = story.space.mapping_at(story.vaddr)
    if mapping is None:
        return "Linux: no mapping of the process covers the address, so this is SIGSEGV, unless the stack grows there."
    if (found := marked(story.entries[-1].value)) & (GUARD | POISONED):
        return f"Linux: {'a guard page is SIGSEGV' if found & GUARD else 'a poisoned page is SIGBUS'}."
    what = f"the mapping {mapping.start:#x}-{mapping.end:#x} {mapping.rights} {mapping.name}".rstrip()
    if _NEEDED[story.access] not in mapping.rights:
        return f"Linux: {what} does not allow the access, so this is SIGSEGV."
    return f"Linux: {what} allows the access, so the kernel finds a page, and the instruction runs again."


def _not_canonical(vaddr: int, levels: int) -> tuple[str, ...]:
    top = PAGE_SHIFT + 9 * levels - 1
    return (
        f"There is no walk: the address is not canonical, since bits 63:{top} of {vaddr:#x} are not all equal.",
        "General protection (#GP), with error code 0.",
    )
