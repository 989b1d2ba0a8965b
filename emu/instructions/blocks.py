"""The blocks of code that have run: each is looked through once, and cut in pieces where an instruction is listed.

Cutting needs nothing of the engine.  While it translates a piece, the bytes at the place of the cut are those of a
jump: to that very place, where the next piece begins, or behind an instruction that is executed here.  The hook of the
piece, which runs before anything else does, puts the guest's bytes back; the piece stays in the engine's cache.  The
jump's length is no instruction's, so that a piece is never taken for the whole block, which the engine may translate
again.

What is known of a block holds as long as its frame's code is not dropped (:attr:`mmu.Mmu.on_code_dropped`); where a
frame can be written unseen, its blocks are compared with what they were each time.  Which frame an address has, we are
told when the engine fetches (``MmuState.on_code_view``); an address that gets another frame within what ``code_id``
stands for makes a new ``code_id``.
"""

from __future__ import annotations

import ctypes
import struct
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.engine.records import ENDS_REPEATING, REPEATS, SPECIAL, STOPS, CodeCopy, TrapState, guards_of
from emu.instructions.block import FORGET, RETRANSLATE, Block, Forget, Patch, Steps
from emu.instructions.codespace import NO_MODE, CodeSpace
from emu.instructions.cut import Cuts
from emu.instructions.listed import with_listed
from emu.instructions.opcodes import MODE_SHIFT, Mode
from emu.instructions.pages import CodePages
from emu.instructions.plain import MOST_NOTED, NOTED_BYTES, WRITABLE, PlainBlocks
from emu.instructions.scan import ENDS_INSIDE
from mmu import Mmu, unicorn_abi
from mmu.host_array import HostArray
from mmu.instruction import Kind
from mmu.memory import PAGE_SIZE
from mmu.objectcode import load
from mmu.opcodes import STRINGS
from mmu.registers import Access
from mmu.state import MmuState

if TYPE_CHECKING:
    from emu.engine.fpu import Fpu
    from emu.engine.records import Hit
    from emu.instructions.hits import Hits, Listed
    from emu.instructions.watch import Watch

_HOOK = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 4)
_NUMBER = 0xFFFF_FFFF
#: The mode under which a piece is known that belongs to mode 0, and how many modes there are.
_PIECE, _MODES = 16, 8
_NOTED = struct.Struct("4Q")
#: When so many blocks are known (one of which a copy is kept counts twice), they are forgotten.
MOST_BLOCKS = 1 << 17


_Key = tuple[int, int, int, int]


class Blocks(CodeSpace):
    """What is known, and what is done with listed instructions."""

    def __init__(self, mmu: Mmu, trap: TrapState, registers: Any, fpu: Fpu) -> None:
        super().__init__(mmu, trap, fpu)
        self._registers = registers
        #: Where the code is.
        self.pages = CodePages(mmu, trap)
        self._library = load("emu.instructions.scan")
        self._look = self._library["look_through"].call
        self.cuts = Cuts(mmu, trap)
        #: By mode.
        self._tables: dict[int, HostArray] = {}
        #: What native code has made known, and where it notes that until it is taken into what follows.
        self._noted = HostArray(MOST_NOTED * NOTED_BYTES, "B")
        self._native = PlainBlocks(mode=NO_MODE, noted=self._noted.address)
        #: How many instructions a block has of which nothing else is known, by the same.
        self._plain_blocks: dict[_Key, int] = {}
        #: By address, physical address, size and mode; pieces under the mode with _PIECE.
        self._blocks: dict[_Key, Block] = {}
        self._of_frame: defaultdict[int, dict[_Key, None]] = defaultdict(dict)
        #: How many have a copy.
        self._copies = 0
        #: Blocks that end within an instruction even when they are translated again.
        self._odd: set[_Key] = set()
        #: Made when the first one is seen.
        self.hits: Hits | None = None
        #: Where somebody wants to be told.
        self._watch: Watch | None = None
        #: Hits that may be in use: an instruction that is executed can write to its own page.
        self._dropped: list[Hit] = []
        self.pending: Patch | Steps | Forget | None = None
        #: Asked whether the code of a block that runs guards its aligned operands (the host address of its KnownBlock),
        #: if it may; and the blocks of which the code does not.
        self.guard: Callable[[int], bool] | None = None
        self._unguarded: set[_Key] = set()
        #: Asked whether the engine is to forget all code, and called where it has.
        self.is_full: Callable[[], bool] = lambda: False
        self.on_forgotten: Callable[[], object] = lambda: None
        self._install()

    def _install(self) -> None:
        mmu, trap, pointer = self._mmu, self._trap, self._mmu.guard.pointer
        trap.new_block = pointer(_HOOK, self._new_block)
        trap.fetched = ctypes.addressof(mmu.state) + MmuState.fetched.offset  # type: ignore[attr-defined]
        mmu.state.on_code_view = pointer(_HOOK, self._page_seen)
        native = self._native
        native.trap, native.ram, native.has_code = ctypes.addressof(trap), mmu.ram.host, mmu.state.has_code
        native.code_views = mmu.state.code_views
        trap.plain = load("emu.instructions.plain")["plain_block"].address
        trap.plain_record = ctypes.addressof(native)
        mmu.on_code_dropped = self._code_dropped

    def watch(self, watch: Watch) -> None:
        """Tell somebody before certain instructions run.  Once, and before any code has run."""
        self._watch, self._tables, self._native.mode = watch, {}, NO_MODE
        if watch.has_places:
            self._trap.plain = 0  # it does not know where code is from

    def watch_also(self, address: int) -> None:
        """There is one more place at which :class:`Watch` wants to be told, where a block of code begins."""
        paddr = self._mmu.translate(address, Access.FETCH).paddr
        self._take_notes()
        for key in [key for key in self._of_frame.get(paddr // PAGE_SIZE, ()) if key[0] == address]:
            self._drop(key)
        self._known.forget(address)
        self._mmu.forget_code(paddr)

    # -- where code is -----------------------------------------------------------------------------------------------

    def _page_seen(self, vaddr: int, frame: int, written: int) -> int:
        """Code of this page is about to be translated, or its frame can be written unseen from now on."""
        if written:
            self._can_change(frame)
        else:
            self.pages.seen(vaddr, frame)
            if self._trap.code_id != self._space:
                self._begin_space()
        return 0

    def forget(self) -> None:
        """Nothing is known.  Not within emulation."""
        self._trap.answer = 0  # who answers knows where the table was
        for key in list(self._blocks):
            self._drop(key)
        self._native.number = 0
        self._plain_blocks.clear()
        self._of_frame.clear()
        self._odd.clear()
        self._unguarded.clear()
        self._known.clear()
        engine: Any = self._mmu.uc
        engine.ctl_flush_tb()  # the pieces too
        self.on_forgotten()

    def _can_change(self, frame: int) -> None:
        """From now on the code in this frame can be written unseen."""
        self._take_notes()
        for key in self._of_frame.get(frame, ()):
            if self._plain_blocks.pop(key, None) is not None:
                self._known.forget(key[0])
            block = self._blocks.get(key)
            if block is not None and block.copy is None:
                block.copy = self.pages.read(key[1], block.last_frame, block.length)
                self._copies += 1
                self._known.forget(block.address)

    def _code_dropped(self, frame: int) -> None:
        self._take_notes()
        for key in self._of_frame.pop(frame, ()):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        block = self._blocks.pop(key, None)
        if block is None:
            if self._plain_blocks.pop(key, None) is not None:
                self._known.forget(key[0])
            return
        self._copies -= block.copy is not None
        self._known.forget(block.address)
        self._forget_hit(block)

    def _forget_hit(self, block: Block) -> None:
        if block.hit is not None:
            assert self.hits is not None
            self.hits.forget(block.hit)
            self._dropped.append(block.hit)

    def _take_notes(self) -> None:
        """Know what native code has made known."""
        mode, number, self._native.number = self._native.mode, self._native.number, 0
        for address, paddr, size, instructions in _NOTED.iter_unpack(self._noted.bytes[: number * NOTED_BYTES]):
            key = address, paddr, size, mode
            self._plain_blocks[key] = instructions
            self._of_frame[paddr // PAGE_SIZE][key] = None

    # -- looking through ---------------------------------------------------------------------------------------------

    def _new_block(self, _uc: int, address: int, size: int) -> int:
        """A block runs for the first time, or has been forgotten; 0 if it is to be entered again."""
        self._dropped.clear()
        if self._native.number == MOST_NOTED:
            self._take_notes()
        known = len(self._blocks) + len(self._plain_blocks) + len(self._odd) + len(self._unguarded)
        if known + self._copies > MOST_BLOCKS or self.is_full():
            self.pending = FORGET
            return 0
        space, frames = self._trap.code_id, self.pages.frames
        page, last = address // PAGE_SIZE, (address + (size or 1) - 1) // PAGE_SIZE
        frame = last_frame = frames.get((space, page))
        if last != page:
            last_frame = frames.get((space, last))
        if frame is None or last_frame is None:
            unicorn_abi.flush_tlb(self._mmu.uc)  # so that we are told
            self._mmu.state.epoch += 1
            self._closed = 0
            self.open()
            return 0
        key = address, frame * PAGE_SIZE + address % PAGE_SIZE, size, space >> MODE_SHIFT
        instructions = self._plain_blocks.get(key)
        if instructions is not None:
            self._known.tell(space << 32 | size, address, instructions)
            return 1
        again = self._known_again(key) if self._blocks else None
        return self._look_through(key, frame, last_frame) if again is None else again

    def _known_again(self, key: _Key) -> int | None:
        """A block that has been looked through before; None if there is none."""
        address, paddr, size, mode = key
        block = self._blocks.get(key) or self._blocks.get((address, paddr, size, _PIECE + mode))
        if block is None:
            return self._piece_of_another_mode(key)
        if block.copy is not None and block.copy != self.pages.read(paddr, block.last_frame, len(block.copy)):
            if self._blocks.get(key) is block:
                self._drop(key)
                return None
            self._drop((address, paddr, size, _PIECE + mode))
            self.pending = RETRANSLATE  # a piece of what was there before
            return 0
        if block.patch is not None:
            self.pending = block.patch
            return 0
        return self._make_known(block, key) or None

    def _piece_of_another_mode(self, key: _Key) -> int | None:
        """The engine has cut a block as another mode has it: this one may have the same piece, with what is done before
        it here; else the block is translated again.  None if there is none."""
        address, paddr, size, mode = key
        pieces = (self._blocks.get((address, paddr, size, _PIECE + each)) for each in range(_MODES))
        other = next((block for block in pieces if block is not None), None)
        if other is None:
            return None
        code = self.pages.read(paddr, other.last_frame, other.length)
        block = Block(address, other.length, other.instructions, other.last_frame, other.copy and code)
        listed = self._listed(address, code, mode, self._table(mode))
        if listed:
            self._treat(block, listed, code, paddr, other.last_frame)
            self.pending = None
        if not listed or not block.is_cut_as(other):
            self._forget_hit(block)
            self.pending = RETRANSLATE
            return 0
        self._keep((address, paddr, size, _PIECE + mode), block, paddr // PAGE_SIZE, other.last_frame)
        return self._known_again(key)

    def _look_through(self, key: _Key, frame: int, last_frame: int) -> int:
        address, paddr, size, mode = key
        table = self._table(mode)
        if mode != self._native.mode:
            self._take_notes()
            self._native.mode, self._native.listing = mode, table
        if frame == last_frame:
            found = self._look(self._mmu.ram.host + paddr, size, table)
        else:
            buffer = ctypes.create_string_buffer(self.pages.read(paddr, last_frame, size), size)
            found = self._look(ctypes.addressof(buffer), size, table)
        if found & ENDS_INSIDE and key not in self._odd:  # a piece of which nothing is known
            self._odd.add(key)
            self.pending = RETRANSLATE
            return 0
        instructions, has_code = found & _NUMBER, self._mmu.has_code
        last = last_frame * PAGE_SIZE + (paddr + size - 1) % PAGE_SIZE
        if size > 1 and self._mmu.ram.view[last] in STRINGS:
            instructions |= self._repeating(address, instructions, self.pages.read(paddr, last_frame, size))
        volatile = has_code[frame] == WRITABLE or has_code[last_frame] == WRITABLE
        special = found >> 63 or (self._watch is not None and self._watch.has_place_in(address, size))
        if not (volatile or special):
            self._plain_blocks[key] = instructions
            self._note_frames(key, frame, last_frame)
            self._known.tell(self._trap.code_id << 32 | size, address, instructions)
            return 1
        code = self.pages.read(paddr, last_frame, size)
        block = Block(address, size, instructions, last_frame, code if volatile else None)
        if special and (listed := self._listed(address, code, mode, table)):
            if volatile or key in self._unguarded or not self._may_guard(block, listed, code, mode):
                self._treat(block, listed, code, paddr, last_frame)
        if self.pending is not None:
            if isinstance(self.pending, Patch):
                self._keep((address, paddr, block.size, _PIECE + mode), block, frame, last_frame)
                whole = Block(address, size, block.instructions, last_frame, block.copy)
                whole.patch = self.pending
                self._keep(key, whole, frame, last_frame)
            return 0
        self._keep(key, block, frame, last_frame)
        return self._make_known(block, key) or self._look_through(key, frame, last_frame)

    def _table(self, mode: int) -> int:
        """The host address of the opcode table of a mode."""
        if mode not in self._tables:
            self._tables[mode] = table = with_listed(mode)
            if self._watch is not None:
                self._watch.list_marks(table)
        return self._tables[mode].address

    def _repeating(self, address: int, instructions: int, code: bytes) -> int:
        """The bits for a block that ends with a string instruction, if that has REP."""
        if 0xF3 not in code[-5:] and 0xF2 not in code[-5:]:
            return 0
        only = instructions == 1 and self._mmu.instruction_at(address) & Kind.REPEATS
        return ENDS_REPEATING | (REPEATS if only else 0)

    def _listed(self, address: int, code: bytes, mode: int, table: int) -> list[Listed]:
        """The listed instructions of a block."""
        if self.hits is None:
            from emu.instructions.hits import Hits  # most programs have none
            from emu.instructions.view import CpuView

            view = CpuView(self._mmu, self._registers, self._fpu, self.set_mode)
            self.hits = Hits(view, self.say_once)
        listed = self.hits.find(address, code, mode, table)
        return listed if self._watch is None else self._watch.add(listed, address, code)

    def _may_guard(self, block: Block, listed: list[Listed], code: bytes, mode: int) -> bool:
        """Whether nothing is listed but aligned operands, which the code may guard itself."""
        if self.guard is None or not all(each.aligned for each in listed):
            return False
        caught = mode == Mode.CATCHES_FAULTS
        if not caught:
            also = self._listed(block.address, code, Mode.CATCHES_FAULTS, self._table(Mode.CATCHES_FAULTS))
            caught = all(each.aligned for each in also)
        block.guards = guards_of([each.offset for each in listed], caught=caught)
        return True

    def _treat(self, block: Block, listed: list[Listed], code: bytes, paddr: int, last_frame: int) -> None:
        """Do what is to be done with the first listed instruction of a block, or cut the block before it."""
        assert self.hits is not None
        if listed[0].offset == 0:
            block.hit = self.hits.make(listed[0])
        first, offset, skipped = listed[0], 0, 0
        if first.offset:
            offset = first.offset
        elif first.executed:
            skipped = first.instruction.length
        elif first.ends and first.instruction.length < len(code):
            offset = first.instruction.length
        elif len(listed) > 1:
            offset = listed[1].offset
        if offset or skipped:
            begins = paddr + offset
            if begins // PAGE_SIZE != paddr // PAGE_SIZE:
                begins = last_frame * PAGE_SIZE + begins % PAGE_SIZE
            self.pending = self.cuts.cut(block, offset, skipped, begins) or self.pending
            block.before = self.cuts.instructions(code, offset) if offset else 1

    def _keep(self, key: _Key, block: Block, frame: int, last_frame: int) -> None:
        self._drop(key)
        self._blocks[key] = block
        self._copies += block.copy is not None
        self._note_frames(key, frame, last_frame)

    def _note_frames(self, key: _Key, frame: int, last_frame: int) -> None:
        self._of_frame[frame][key] = None
        if last_frame != frame:
            self._of_frame[last_frame][key] = None

    def patch(self, address: int, patch: Patch) -> None:
        """Put the jump of a cut where it goes.

        A fault of the block before may have taken the page that both are in (memory is short): then everything is
        forgotten, and the next fetch faults.  The engine must not fetch here: it could not say that it fails.
        """
        if not self._mmu.reaches(address, Access.FETCH) or ctypes.string_at(patch.host, len(patch.old)) != patch.old:
            self.forget()
            return
        self.cuts.apply(patch)

    def _make_known(self, block: Block, key: _Key) -> int:
        """Tell the native hook; 0 if the block's code does not guard its operands as it should."""
        code = 0
        if block.copy is not None:
            if block.keeps is None:  # once: the hook may know the block in other address spaces too
                block.keeps = self._copy_to_compare(block, block.copy, key[1])
            code = ctypes.addressof(block.keeps[1])
        goes_on = 0 if block.goes_on is None else block.goes_on + 1 | (STOPS if block.stops else 0)
        hit = 0 if block.hit is None else ctypes.addressof(block.hit)
        guards = 0 if block.guards is None else ctypes.addressof(block.guards)
        special = SPECIAL if goes_on or hit or code or guards else 0
        known = self._known.tell(
            self._trap.code_id << 32 | block.size | special, block.address, block.instructions, block.before, goes_on,
            hit, code, guards,
        )  # fmt: skip
        if not guards or self.guard is None or self.guard(known):
            return 1
        self._unguarded.add(key)
        self._drop(key)
        return 0

    def _copy_to_compare(self, block: Block, code: bytes, paddr: int) -> tuple[Any, CodeCopy]:
        here, host = min(len(code), PAGE_SIZE - paddr % PAGE_SIZE), self._mmu.ram.host
        copy = ctypes.create_string_buffer(code, len(code))
        end = host + block.last_frame * PAGE_SIZE
        return copy, CodeCopy(ctypes.addressof(copy), host + paddr, here, end, len(code) - here)
