"""Native code that makes plain blocks known: they lie in one page, nothing in them is listed, and their code cannot
change unseen.  All others, and what becomes of these, are the affair of :class:`emu.instructions.blocks.Blocks`, which
is told of them later.
"""

from __future__ import annotations

import ctypes

from emu.engine.records import BLOCK_BYTES, TABLE_ENTRIES, KnownBlock, TrapState
from emu.instructions.opcodes import MODE_SHIFT
from emu.instructions.scan import look
from mmu.native import entry, load8, native
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView, fields

#: In Mmu.has_code: the engine sees writes, and we do not.
WRITABLE = 2
#: So many are noted, and then taken.
MOST_NOTED = 1024
_PAGE = 0x1000
_OFFSET = 0xFFF


class NotedBlock(ctypes.Structure):
    """A plain block.  Every field is a uint64."""

    address: int
    paddr: int
    size: int
    instructions: int

    _fields_ = fields(__annotations__)


class PlainBlocks(ctypes.Structure):
    """What the native code knows.  Every field is a uint64."""

    trap: int  # host address of the TrapState
    ram: int
    has_code: int
    code_views: int
    listing: int  # host address of the opcode table of a mode
    mode: int
    noted: int  # host address of NotedBlock[MOST_NOTED], all of this mode
    number: int  # of them

    _fields_ = fields(__annotations__)


NOTED_BYTES = ctypes.sizeof(NotedBlock)


@native
def _is_string(opcode: int) -> bool:
    """Whether a string instruction may end there, of which REP matters (mmu.opcodes.STRINGS)."""
    if opcode & 0xFC == 0x6C or opcode & 0xFC == 0xA4:
        return True
    return opcode >= 0xAA and opcode <= 0xAF


@entry("u64", PlainBlocks, "u64", "u64")
def plain_block(known: PlainBlocks, address: int, size: int) -> int:
    """Make a block of the code that runs known, if it is plain; 0 if somebody else must look at it."""
    trap = TrapState.from_address(known.trap)
    space, page, offset = trap.code_id, address >> 12, address & _OFFSET
    if size == 0 or offset + size > _PAGE or known.number == MOST_NOTED or space >> MODE_SHIFT != known.mode:
        return 0
    view = CodeView.from_address(known.code_views + ((page + space * 37) & (CODE_VIEWS - 1)) * CODE_VIEW_BYTES)
    if view.page != page + 1 or view.space != space or load8(known.has_code + view.frame) == WRITABLE:
        return 0
    paddr = view.frame * _PAGE + offset
    if _is_string(load8(known.ram + paddr + size - 1)):
        return 0
    found = look(known.ram + paddr, size, known.listing)
    if found >> 62 != 0:
        return 0
    block = KnownBlock.from_address(trap.table + ((address ^ (address >> 15)) & (TABLE_ENTRIES - 1)) * BLOCK_BYTES)
    block.address = address
    block.key = (space << 32) | size
    block.instructions = found
    block.before = 0
    block.goes_on = 0
    block.hit = 0
    block.code = 0
    block.guards = 0
    note = NotedBlock.from_address(known.noted + known.number * NOTED_BYTES)
    note.address = address
    note.paddr = paddr
    note.size = size
    note.instructions = found
    known.number += 1
    return 1
