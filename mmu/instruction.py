"""The instruction that an access is made for, as native code: it says what the engine's accesses are on a processor.

Unicorn keeps RIP exact in its fill hooks, and in memory hooks.  The code that it runs is where it was fetched from
last, whatever the tables say by now, so fetches are noted by page.  What an instruction is found to be is kept by its
address until the engine fetches other code: a page that had none, a page from another frame, or one that it may write.
In exact mode, which sees them, stores to such a page end it too; in filtered mode nothing is kept of such a page.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

from mmu.host_array import HostArray
from mmu.native import cold, inlined, load8, load32, load64, native
from mmu.opcodes import OPCODES, PREFIX, PREFIXES, STRING, WIDE_SHIFT, WIDE_WITH_REX_W, OpcodeMap, Prefix, opcode_table
from mmu.registers import Access
from mmu.state import MmuState, Status, fields
from mmu.walk import canonical, root, walk_from


class Kind(IntEnum):
    """What an instruction is, as bits."""

    UPDATES = 1  # it reads its memory operand and then writes it: one write access
    WIDE = 2  # the operand has 16 bytes: one access, which the engine makes in two pieces of 8
    TEN = 4  # the operand has 10 bytes, which the engine accesses as 8 and 2
    REPEATS = 8  # a string instruction with REP: one instruction, whatever the count


class Decoded(ctypes.Structure):
    """What the instruction at an address is.  Every field is a uint64."""

    rip: int
    fetches: int  # MmuState.code_fetches, when this was found
    kind: int

    _fields_ = fields(__annotations__)


class CodePage(ctypes.Structure):
    """Where the engine has fetched a page of code from.  Every field is a uint64."""

    page: int  # its number plus 1
    cr3: int
    host: int

    _fields_ = fields(__annotations__)


#: How many instructions and pages of code are kept; both tables are direct-mapped.
DECODED, FETCHED = 1 << 10, 1 << 8
_DECODED_BYTES, _PAGE_BYTES = ctypes.sizeof(Decoded), ctypes.sizeof(CodePage)
LONGEST = 15
_OFFSET = 0xFFF
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_REX_BITS, _REX, _REX_W = 0xF0, 0x40, 0x48
_ENTRY_BYTES = 4


class InstructionTables:
    """The memory behind the fields of a state that this module uses."""

    def __init__(self, state: MmuState) -> None:
        self._opcodes = opcode_table()
        self.decoded = HostArray(DECODED * _DECODED_BYTES, "B")
        self.code_pages = HostArray(FETCHED * _PAGE_BYTES, "B")
        state.opcodes, state.decoded = self._opcodes.address, self.decoded.address
        state.code_pages, state.code_fetches = self.code_pages.address, 1

    def code_page(self, page: int, cr3: int) -> int:
        """The host address from which the engine has fetched this page of code; 0 if that is not known any more."""
        known = CodePage.from_address(self.code_pages.address + (page & (FETCHED - 1)) * _PAGE_BYTES)
        return known.host if known.page == page + 1 and known.cr3 == cr3 else 0


@native
def note_fetch(state: MmuState, vaddr: int, paddr: int) -> None:
    """The engine is about to fetch code of this page from there."""
    if state.code_pages == 0:
        return
    known = CodePage.from_address(state.code_pages + ((vaddr >> 12) & (FETCHED - 1)) * _PAGE_BYTES)
    page, host = (vaddr >> 12) + 1, state.ram + (paddr & _PAGE_MASK)
    constant = load8(state.has_code + (paddr >> 12)) == 1
    if known.page != page or known.host != host or known.cr3 != state.cr3 or not constant:
        known.page = page
        known.host = host
        known.cr3 = state.cr3
        state.code_fetches += 1


@native
def look_up(state: MmuState, vaddr: int, access: int) -> int:
    """The translation in the tables now: a walk from CR3 that changes nothing and counts nothing."""
    mask, walks, loads, faults = state.event_mask, state.walks, state.walk_loads, state.page_faults
    state.event_mask, state.read_only = 0, 1
    status = walk_from(state, vaddr, access, root(state))
    state.read_only = 0
    state.event_mask, state.walks, state.walk_loads, state.page_faults = mask, walks, loads, faults
    return status


@native
def code_at(state: MmuState, rip: int) -> int:
    """The host address of the code at an address; 0 where there is none."""
    known = CodePage.from_address(state.code_pages + ((rip >> 12) & (FETCHED - 1)) * _PAGE_BYTES)
    if known.page == (rip >> 12) + 1 and known.cr3 == state.cr3:
        return known.host + (rip & _OFFSET)
    if look_up(state, rip, Access.FETCH) != Status.OK or state.walked.paddr >= state.ram_bytes:
        return 0
    return state.ram + state.walked.paddr


@native
def _byte_at(state: MmuState, rip: int, host: int, number: int) -> int:
    """A byte of the instruction, which may go on in the next page."""
    if (rip & _OFFSET) + number <= _OFFSET:
        return load8(host + number)
    rest = code_at(state, rip + number)
    return 0 if rest == 0 else load8(rest)


@cold
def _decode(state: MmuState, rip: int) -> int:
    """Find out what the instruction is, and keep that."""
    host = code_at(state, rip)
    if host == 0:
        return 0
    at, opcode_map, prefix, rex_w, repeats = 0, 0, 0, 0, 0
    opcode = _byte_at(state, rip, host, 0)
    while load32(state.opcodes + opcode * _ENTRY_BYTES) & PREFIX != 0 and at < LONGEST:
        rex_w = 1 if opcode & _REX_W == _REX_W and opcode & _REX_BITS == _REX else 0
        if opcode == 0xF3:
            prefix, repeats = Prefix.PF3, 1
        elif opcode == 0xF2:
            prefix, repeats = Prefix.PF2, 1
        elif opcode == 0x66 and prefix == 0:
            prefix = Prefix.P66
        at += 1
        opcode = _byte_at(state, rip, host, at)
    if opcode == 0x0F:
        at += 1
        opcode, opcode_map = _byte_at(state, rip, host, at), OpcodeMap.TWO_BYTES
        if opcode == 0x38 or opcode == 0x3A:  # compiled: no tuples here
            opcode_map = OpcodeMap.OF_38 if opcode == 0x38 else OpcodeMap.OF_3A
            at += 1
            opcode = _byte_at(state, rip, host, at)
    entry = load32(state.opcodes + ((opcode_map * PREFIXES + prefix) * OPCODES + opcode) * _ENTRY_BYTES)
    modrm = _byte_at(state, rip, host, at + 1)
    kind = Kind.REPEATS if entry & STRING != 0 and repeats != 0 else 0
    if modrm >> 6 != 3:
        if (entry >> ((modrm >> 3) & 7)) & 1 != 0:
            kind |= Kind.UPDATES
        if (entry >> (WIDE_SHIFT + ((modrm >> 3) & 7))) & 1 != 0 and (entry & WIDE_WITH_REX_W == 0 or rex_w != 0):
            kind |= Kind.TEN if opcode_map == 0 else Kind.WIDE
    seen = state.tlb_number != 0 or load8(state.has_code + ((host - state.ram) >> 12)) == 1
    if (rip & _OFFSET) <= _OFFSET - LONGEST and seen:
        known = Decoded.from_address(state.decoded + (rip & (DECODED - 1)) * _DECODED_BYTES)
        known.rip = rip
        known.fetches = state.code_fetches
        known.kind = kind
    return kind


@inlined
def instruction_at(state: MmuState, rip: int) -> int:
    """The :class:`Kind` of the instruction at an address."""
    known = Decoded.from_address(state.decoded + (rip & (DECODED - 1)) * _DECODED_BYTES)
    if known.rip == rip and known.fetches == state.code_fetches:
        return known.kind
    return _decode(state, rip)


@native
def operand_bytes(kind: int, size: int) -> int:
    """How many bytes the operand has of which the engine accesses ``size`` first."""
    if size == 8 and kind & Kind.WIDE != 0:
        return 16
    return 10 if size == 8 and kind & Kind.TEN != 0 else size


@inlined
def access_of(state: MmuState, asked: int) -> int:
    """What the access is that the engine asks for: a load that an instruction makes of what it is going to write, and
    nothing else, is the write."""
    if asked != Access.READ or state.engine_rip == 0:
        return asked
    return Access.WRITE if instruction_at(state, load64(state.engine_rip)) & Kind.UPDATES != 0 else Access.READ


@native
def fetches_ahead(state: MmuState, vaddr: int) -> bool:
    """Whether the engine asks for the page of code behind the one that runs, which it cannot have: this is no access
    before all that stands in front of it has run.
    """
    rip = load64(state.engine_rip)
    if vaddr >> 12 != (rip >> 12) + 1 or rip == state.crossing:
        return False
    if canonical(state, vaddr) and look_up(state, vaddr, Access.FETCH) == Status.OK:
        return False
    state.status = Status.FETCHED_AHEAD
    return True
