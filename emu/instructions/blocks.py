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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.hooks import BLOCK_BYTES, SPECIAL, TABLE_ENTRIES, CodeCopy, KnownBlock, TrapState
from emu.instructions.listed import with_listed
from emu.instructions.opcodes import lengths
from mmu import Mmu, unicorn_abi
from mmu.instruction import Kind
from mmu.memory import PAGE_SIZE
from mmu.objectcode import load
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView, MmuState

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.fpu import Fpu
    from emu.hooks import Hit
    from emu.instructions.hits import Hits, Listed

_HOOK = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 4)
_WRITABLE = 2  # in Mmu.has_code: the engine sees writes, and we do not
_LONGEST_JUMP = 8
#: The mode under which a piece is known: it is the same in each.
_PIECE = -1
#: When this much is known, it is forgotten.
_MOST = 1 << 18


_Key = tuple[int, int, int, int]


class Patch:
    """How a piece is made of a block: ``new`` stands for ``old`` at a host address."""

    def __init__(self, host: int, old: bytes, new: bytes) -> None:
        self.host, self.old, self.new = host, old, new


class Steps:
    """At a page's end there is no room for a jump: the engine is to go there instruction by instruction."""

    def __init__(self, until: int) -> None:
        self.until = until


class Block:
    """What is known of a block, or of a piece that has been cut off one."""

    def __init__(self, address: int, size: int, instructions: int, copy: bytes | None) -> None:
        """``copy``: all the code that this was made of, if its frame can be written unseen."""
        self.address, self.size, self.instructions, self.copy = address, size, instructions, copy
        self.before = 0
        self.goes_on: int | None = None
        self.stops = self.repeats = False
        self.hit: Hit | None = None
        #: It is to be cut.
        self.patch: Patch | None = None
        self.keeps: tuple[Any, ...] = ()


class Blocks:
    """What is known, and what is done with listed instructions."""

    def __init__(self, mmu: Mmu, trap: TrapState, registers: Any, fpu: Fpu) -> None:
        self._mmu, self._trap, self._registers, self._fpu = mmu, trap, registers, fpu
        self._library = load("emu.instructions.scan")
        self._find_listed, self._measure, self._count = (
            self._library[name] for name in ("find_listed", "measure", "count")
        )
        self._plain = lengths()
        #: By mode.
        self._tables: dict[int, npt.NDArray[np.uint16]] = {}
        #: By address, physical address, size and mode; pieces under the mode _PIECE.
        self._blocks: dict[_Key, Block] = {}
        self._of_frame: dict[int, list[_Key]] = {}
        #: By code_id and page.
        self._frames: dict[tuple[int, int], int] = {}
        #: Made when the first one is seen.
        self.hits: Hits | None = None
        #: Hits that may be in use: an instruction that is executed can write to its own page.
        self._dropped: list[Hit] = []
        self.pending: Patch | Steps | None = None
        #: Makes a new ``code_id`` for the address space that runs.
        self.renew: Callable[[], int] | None = None
        self._table = np.zeros(TABLE_ENTRIES * BLOCK_BYTES, dtype=np.uint8)
        self._views = np.zeros(CODE_VIEWS * CODE_VIEW_BYTES, dtype=np.uint8)
        self._install()

    def _install(self) -> None:
        mmu, trap, pointer = self._mmu, self._trap, self._mmu.guard.pointer
        trap.table = self._table.ctypes.data
        trap.new_block = pointer(_HOOK, self._new_block)
        trap.fetched = ctypes.addressof(mmu.state) + MmuState.fetched.offset  # type: ignore[attr-defined]
        mmu.state.code_view = ctypes.addressof(trap) + TrapState.code_id.offset  # type: ignore[attr-defined]
        mmu.state.on_code_view = pointer(_HOOK, self._page_seen)
        mmu.state.code_views = self._views.ctypes.data
        mmu.on_code_dropped = self._code_dropped

    # -- where code is -----------------------------------------------------------------------------------------------

    def _page_seen(self, vaddr: int, frame: int, written: int) -> int:
        """Code of this page is about to be translated, or its frame can be written unseen from now on."""
        if written:
            self._code_dropped(frame)
            return 0
        space, page = self._trap.code_id, vaddr // PAGE_SIZE
        if self._frames.get((space, page), frame) != frame and self.renew is not None:
            self._trap.code_id = space = self.renew()
        if len(self._frames) > _MOST:
            self.forget()
        self._frames[space, page] = frame
        number = (page + space * 37) % CODE_VIEWS
        view = CodeView.from_address(self._views.ctypes.data + number * CODE_VIEW_BYTES)
        view.page, view.space, view.frame = page + 1, space, frame
        return 0

    def forget(self) -> None:
        """Nothing is known."""
        self._frames.clear()
        self._blocks.clear()
        self._of_frame.clear()
        self._views.fill(0)
        self._table.fill(0)
        engine: Any = self._mmu.uc
        engine.ctl_flush_tb()  # the pieces

    def _code_dropped(self, frame: int) -> None:
        for key in self._of_frame.pop(frame, ()):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        block = self._blocks.pop(key, None)
        if block is None:
            return
        known = self._slot(block.address)
        if known.address == block.address:
            known.address = known.key = 0
        if block.hit is not None:
            assert self.hits is not None
            self.hits.forget(block.hit)
            self._dropped.append(block.hit)

    def _slot(self, address: int) -> KnownBlock:
        number = (address ^ (address >> 15)) & (TABLE_ENTRIES - 1)
        return KnownBlock.from_address(self._table.ctypes.data + number * BLOCK_BYTES)

    # -- looking through ---------------------------------------------------------------------------------------------

    def _new_block(self, _uc: int, address: int, size: int) -> int:
        """A block runs for the first time, or has been forgotten; 0 if it is to be entered again."""
        self._dropped.clear()
        space = self._trap.code_id
        page, last = address // PAGE_SIZE, (address + max(size, 1) - 1) // PAGE_SIZE
        frame, last_frame = self._frames.get((space, page)), self._frames.get((space, last))
        if frame is None or last_frame is None:
            unicorn_abi.flush_tlb(self._mmu.uc)  # so that we are told
            self._mmu.state.epoch += 1
            return 0
        paddr = frame * PAGE_SIZE + address % PAGE_SIZE
        volatile = _WRITABLE in (self._mmu.has_code[frame], self._mmu.has_code[last_frame])
        mode = space >> 30
        key = address, paddr, size, mode
        for known in (key, (address, paddr, size, _PIECE)):
            block = self._blocks.get(known)
            if block is None:
                continue
            if block.copy is not None and block.copy != self._code(paddr, last_frame, len(block.copy)):
                self._drop(known)
                if known is not key:  # a piece of what was there before
                    self.pending = Patch(0, b"", b"")
                    return 0
            elif block.patch is not None:
                self.pending = block.patch
                return 0
            else:
                self._make_known(block, paddr, last_frame)
                return 1
        return self._look_through(key, frame, last_frame, volatile)

    def _code(self, paddr: int, last_frame: int, length: int) -> bytes:
        """So many bytes of code, of which the last ones may lie in another frame."""
        ram = self._mmu.ram
        here = min(length, PAGE_SIZE - paddr % PAGE_SIZE)
        code = ram.read(paddr, here)
        return code + ram.read(last_frame * PAGE_SIZE, length - here) if here < length else code

    def _look_through(self, key: _Key, frame: int, last_frame: int, volatile: bool) -> int:
        address, paddr, size, mode = key
        code = self._code(paddr, last_frame, size)
        listed = self._listed(address, code, mode)
        engine: Any = self._mmu.uc
        _, instructions, _ = engine.ctl_request_cache(address)
        block = Block(address, size, instructions, code if volatile else None)
        block.repeats = instructions == 1 and bool(self._mmu.instruction_at(address) & Kind.REPEATS)
        if listed and listed[0].offset == 0:
            assert self.hits is not None
            block.hit = self.hits.make(listed[0])
        cut = next((each for each in listed if each.offset or each.executed), None)
        if cut is not None:
            begins = paddr + cut.offset
            if begins // PAGE_SIZE != frame:
                begins = last_frame * PAGE_SIZE + begins % PAGE_SIZE
            self._cut(block, cut, begins)
        if self.pending is not None:
            if isinstance(self.pending, Patch):
                self._keep((address, paddr, block.size, _PIECE), block, frame, last_frame)
                whole = Block(address, size, instructions, block.copy)
                whole.patch = self.pending
                self._keep(key, whole, frame, last_frame)
            return 0
        self._keep(key, block, frame, last_frame)
        self._make_known(block, paddr, last_frame)
        return 1

    def _listed(self, address: int, code: bytes, mode: int) -> list[Listed]:
        """The listed instructions of a block."""
        table = self._tables.get(mode)
        if table is None:
            table = self._tables[mode] = with_listed(mode)
        buffer = ctypes.create_string_buffer(code, len(code))
        if self._find_listed(ctypes.addressof(buffer), 0, len(code), table.ctypes.data) >= len(code):
            return []
        if self.hits is None:
            from emu.instructions.hits import Hits  # most programs have none
            from emu.instructions.view import CpuView

            self.hits = Hits(CpuView(self._mmu, self._registers, self._fpu))
        return self.hits.find(address, code, mode, table.ctypes.data)

    def _keep(self, key: _Key, block: Block, frame: int, last_frame: int) -> None:
        self._drop(key)
        self._blocks[key] = block
        for each in {frame, last_frame}:
            self._of_frame.setdefault(each, []).append(key)

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _cut(self, block: Block, cut: Listed, begins: int) -> None:
        """Have the engine translate the code before this instruction, or a jump that stands for it; ``begins`` is its
        physical address.
        """
        offset, length = cut.offset, cut.instruction.length
        room = PAGE_SIZE - begins % PAGE_SIZE
        ends = self._ends(begins, room)
        jump = next((n for n in range(2, min(room, _LONGEST_JUMP) + 1) if n not in ends), None)
        if jump is None and offset:
            self.pending = Steps(block.address + offset)
            return
        code = self._mmu.ram.host + begins - offset
        block.before = self._count(code, 0, offset, self._plain.ctypes.data) if offset else 1
        block.goes_on = block.address + (offset or length)
        if jump is None:
            block.stops = True
            return
        block.size = offset + jump
        distance = (0 if offset else length) - jump
        new = b"\x2e" * (jump - 2) + b"\xeb" + distance.to_bytes(1, "little", signed=True)
        self.pending = Patch(self._mmu.ram.host + begins, self._mmu.ram.read(begins, jump), new)

    def _ends(self, begins: int, room: int) -> set[int]:
        """Where instructions end, from the first one on."""
        at, ends = 0, set()
        while at < min(room, _LONGEST_JUMP):
            found = self._measure(self._mmu.ram.host + begins + at, room - at, self._plain.ctypes.data)
            if found == 0:
                break
            at += found & 0xFF
            ends.add(at)
        return ends

    def patch(self, patch: Patch) -> None:
        """Put the jump where it goes, and forget the block, before which the engine has stopped."""
        unicorn_abi.forget_block(self._mmu.uc)
        ctypes.memmove(patch.host, patch.new, len(patch.new))
        trap = self._trap
        trap.patched_at, trap.patched = patch.host, len(patch.new)
        trap.patched_old = int.from_bytes(patch.old, "little")

    def unpatch(self) -> None:
        """Put the guest's code back: the piece did not begin."""
        trap = self._trap
        if trap.patched:
            old = trap.patched_old.to_bytes(8, "little")[: trap.patched]
            ctypes.memmove(trap.patched_at, old, trap.patched)
            trap.patched = 0

    def _make_known(self, block: Block, paddr: int, last_frame: int) -> None:
        """Tell the native hook."""
        known = self._slot(block.address)
        known.address, known.instructions, known.before = block.address, block.instructions, block.before
        known.goes_on = 0 if block.goes_on is None else block.goes_on + 1
        known.hit = 0 if block.hit is None else ctypes.addressof(block.hit)
        known.stops, known.repeats = block.stops, block.repeats
        known.code = 0
        if block.copy is not None:
            here = min(len(block.copy), PAGE_SIZE - paddr % PAGE_SIZE)
            copy = ctypes.create_string_buffer(block.copy, len(block.copy))
            host = self._mmu.ram.host
            record = CodeCopy(
                ctypes.addressof(copy), host + paddr, here, host + last_frame * PAGE_SIZE, len(block.copy) - here
            )
            block.keeps = copy, record
            known.code = ctypes.addressof(record)
        special = SPECIAL if known.goes_on or known.hit or known.code else 0
        known.key = self._trap.code_id << 32 | block.size | special
