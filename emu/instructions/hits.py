"""Listed instructions in the blocks of code: the record that the native hook has of each, and what is done for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.engine.records import NO_REGISTER, Hit, HitKind
from emu.instructions.catalogue import Catalogue
from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import Mode
from emu.instructions.raised import GP, Raised
from emu.instructions.row import Action, Aligned, Check, CheckNative, Execute, ExecuteNative, Notice, Refuse, Row
from emu.instructions.view import CpuView, Unresolved
from mmu.objectcode import load

if TYPE_CHECKING:
    from emu.instructions.executed.engine import Engine

_HOOK = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 4)


class Listed:
    """A listed instruction of a block, ``offset`` bytes behind its beginning."""

    def __init__(
        self, offset: int, instruction: Instruction, row: Row | None, told: Callable[[Instruction], None] | None = None
    ) -> None:
        """``row``: the one that lists it; ``told``: who is told before it runs (:mod:`emu.instructions.watch`).  One of
        them at least is there."""
        self.offset, self.instruction, self.row, self.told = offset, instruction, row, told

    @property
    def action(self) -> Action | None:
        """What is done with it."""
        return None if self.row is None else self.row.action

    @property
    def executed(self) -> bool:
        """Whether the engine does not execute it."""
        return isinstance(self.action, Execute | ExecuteNative) and not isinstance(self.action, CheckNative)

    @property
    def aligned(self) -> bool:
        """Whether nothing is wrong with it but that a misaligned operand raises no #GP."""
        return isinstance(self.action, Aligned) and self.told is None

    @property
    def ends(self) -> bool:
        """Whether a piece ends behind it."""
        return isinstance(self.action, Check | CheckNative) and self.action.ends


class Hits:
    """All listed instructions that are known."""

    def __init__(self, view: CpuView, say_once: Callable[[str], None]) -> None:
        self._view, self._say_once = view, say_once
        self._library = load("emu.instructions.scan")
        self._catalogue = Catalogue()
        self._record: Engine | None = None
        self._pointer = view.mmu.guard.pointer(_HOOK, self._on_hit, failed=1)
        self._telling = view.mmu.guard.pointer(_HOOK, self._on_watched, failed=1)
        #: By the host address of the Hit.
        self._known: dict[int, tuple[Instruction, Action | None]] = {}
        self._told: dict[int, Callable[[Instruction], None]] = {}
        #: Why an instruction was refused, and which.
        self.refusal: tuple[Raised | Unresolved, Instruction] | None = None

    def find(self, address: int, code: bytes, mode: int, table: int) -> list[Listed]:
        """The listed instructions of a block; ``table`` is the opcode table of the mode."""
        find_listed, measure = self._library["find_listed"], self._library["measure"]
        end = len(code)
        buffer = ctypes.create_string_buffer(code, end)
        at, listed, maps = ctypes.addressof(buffer), list[Listed](), set[int]()
        offset = find_listed(at, 0, end, table)
        while offset < end:
            instruction = Instruction(address + offset, code[offset:], measure(at + offset, end - offset, table))
            row = self._catalogue.find(instruction, mode)
            if row is not None and isinstance(row.action, Notice):
                maps.add(instruction.opcode_map)
                if len(maps) > 1 and not mode & Mode.UNMASKED and not any(each.ends for each in listed):
                    self._say_once(row.action.message)
            elif row is not None:
                listed.append(Listed(offset, instruction, row))
                if isinstance(row.action, Refuse):
                    break  # what follows is no code of this block
            offset = find_listed(at, offset + instruction.length, end, table)
        return listed

    def make(self, listed: Listed) -> Hit:
        """What the native hook needs."""
        instruction, action = listed.instruction, listed.action
        hit = Hit(kind=HitKind.CALL, function=self._pointer, base=NO_REGISTER, index_register=NO_REGISTER)
        if isinstance(action, Aligned):
            hit.kind, hit.mask = HitKind.ALIGNED, action.bytes - 1
        elif isinstance(action, ExecuteNative):
            hit.function, hit.number = load(action.module)[action.entry].address, action.number(instruction)
            hit.otherwise = 0 if action.otherwise is None else self._pointer
            hit.engine = self._engine()
        if isinstance(action, Aligned | ExecuteNative) and instruction.has_modrm and instruction.is_memory:
            memory = instruction.memory
            hit.base, hit.index_register, hit.scale = memory.base, memory.index_register, memory.scale
            hit.displacement, hit.bits = memory.displacement & memory.bits, memory.bits
            hit.segment = self._view.segments[memory.segment] if memory.segment else 0
        if listed.told is not None:
            self._tell_before(hit, action)
            self._told[ctypes.addressof(hit)] = listed.told
        self._known[ctypes.addressof(hit)] = instruction, action
        return hit

    def _tell_before(self, hit: Hit, action: Action | None) -> None:
        """Call who wants to be told first, and then what is called otherwise."""
        native = isinstance(action, ExecuteNative) and action.otherwise is None
        hit.kind, hit.otherwise = HitKind.CALL, hit.function if native else 0 if action is None else self._pointer
        hit.function = self._telling

    def _engine(self) -> int:
        """The host address of the record that native code has of the engine."""
        if self._record is None:
            from emu.instructions.executed.build import engine_record  # few programs need one

            self._record = engine_record(self._view.uc, self._view.mmu.ram)
        return ctypes.addressof(self._record)

    def forget(self, hit: Hit) -> None:
        """The code is no longer there."""
        self._known.pop(ctypes.addressof(hit), None)
        self._told.pop(ctypes.addressof(hit), None)

    def _on_watched(self, _uc: int, at: int, _address: int) -> int:
        """Before an instruction runs of which somebody wants to be told; 1 if more is to be done with it."""
        instruction, action = self._known[at]
        self._told[at](instruction)
        return int(action is not None)

    def _on_hit(self, _uc: int, at: int, _address: int) -> int:
        """Before a listed instruction runs; 1 to refuse it."""
        instruction, action = self._known[at]
        function: Callable[[CpuView, Instruction], Any] | None = None
        try:
            match action:
                case Check() | Execute():
                    function = action.function
                case ExecuteNative():
                    function = action.otherwise
                case Refuse():
                    raise Raised(action.vector, action.error_code(instruction), trap=action.trap)
                case Aligned() if self._view.effective_address(instruction) % action.bytes:
                    raise Raised(GP)
            if function is not None:
                function(self._view, instruction)
        except (Raised, Unresolved) as refusal:
            self.refusal = refusal, instruction
            return 1
        return 0
