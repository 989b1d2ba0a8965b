"""A row of the table of instructions that the engine is not left alone with: which they are, and what is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import ESCAPES, Follows, Mode

if TYPE_CHECKING:
    from emu.instructions.view import CpuView

_PREFIXES = {"NP": 0, "66": 0x66, "F2": 0xF2, "F3": 0xF3}
Function = Callable[["CpuView", Instruction], None]


def _zero(instruction: Instruction) -> int:
    return 0


class Check:
    """Called before the engine executes the instruction; may raise :class:`Raised`.

    ``ends``: what follows begins a piece of its own, as it may have to be looked through anew.
    """

    def __init__(self, function: Function, *, ends: bool = False) -> None:
        self.function, self.ends = function, ends


class Refuse:
    """The instruction raises an exception, always; see :class:`Raised`."""

    def __init__(self, vector: int, error_code: Callable[[Instruction], int] = _zero, *, trap: bool = False) -> None:
        self.vector, self.error_code, self.trap = vector, error_code, trap


class Aligned:
    """#GP(0) unless the memory operand is a multiple of so many bytes, and then the engine executes it.  Native."""

    def __init__(self, bytes: int) -> None:
        self.bytes = bytes


class Execute:
    """Executes the instruction in place of the engine, all but the change of RIP; may raise :class:`Raised`.

    A function that raises has changed nothing.
    """

    def __init__(self, function: Function) -> None:
        self.function = function


class ExecuteNative:
    """The same by native code: an entry point ``call(uc, hit, address)`` of a module, where ``hit.engine`` is an
    :class:`emu.instructions.executed.engine.Engine`, and ``hit.number`` what ``number`` says.  It does what can always
    be done, and answers 0; where it answers anything else, ``otherwise`` is called.
    """

    def __init__(
        self,
        module: str,
        entry: str,
        number: Callable[[Instruction], int] = _zero,
        otherwise: Function | None = None,
    ) -> None:
        self.module, self.entry, self.number, self.otherwise = module, entry, number, otherwise


class CheckNative(ExecuteNative):
    """The same before the engine executes the instruction; ``ends`` as for :class:`Check`."""

    def __init__(
        self,
        module: str,
        entry: str,
        number: Callable[[Instruction], int] = _zero,
        otherwise: Function | None = None,
        *,
        ends: bool = False,
    ) -> None:
        super().__init__(module, entry, number, otherwise)
        self.ends = ends


Action = Check | Refuse | Aligned | Execute | ExecuteNative


class Opcode:
    """Instructions as the SDM writes them: ``NP 0F 28 m``, ``66 0F 3A 60 r``, ``D9 F1``, ``0F AE /7 m``, ``CD``.

    First a mandatory prefix, if one is meant (NP: none of 66, F2 and F3); then the opcode; then the reg field of ModRM;
    then ``m`` or ``r`` if only a memory operand or only a register is meant.  Of an x87 instruction without operand the
    ModRM byte is the second one.  ValueError for what is none.
    """

    def __init__(self, text: str) -> None:
        words = text.split()
        self.memory = {"m": True, "r": False}.get(words[-1]) if len(words) > 1 else None
        if self.memory is not None:
            words.pop()
        self.digit = int(words.pop()[1:]) if words[-1].startswith("/") else None
        self.prefix = _PREFIXES[words.pop(0)] if words[0] in _PREFIXES and len(words) > 1 else None
        code = bytes.fromhex("".join(words))
        self.opcode_map = next(n for n in (3, 2, 1, 0) if code.startswith(ESCAPES[n]))
        self.opcode, *rest = code[len(ESCAPES[self.opcode_map]) :]
        if len(rest) > 1 or (rest and not 0xD8 <= self.opcode <= 0xDF):
            raise ValueError(f"{text!r} is no opcode")
        self.modrm = rest[0] if rest else None

    @property
    def follows(self) -> int:
        """The forms in which the opcode is listed."""
        memory = Follows.LISTED_MEMORY if self.memory is not False and self.modrm is None else 0
        return memory | (Follows.LISTED_REGISTER if self.memory is not True else 0)

    def matches(self, instruction: Instruction) -> bool:
        """Whether this is one."""
        return (
            self.opcode == instruction.opcode
            and self.opcode_map == instruction.opcode_map
            and (self.prefix is None or self.prefix == instruction.mandatory)
            and (self.digit is None or self.digit == instruction.digit)
            and (self.modrm is None or self.modrm == instruction.modrm)
            and (self.memory is None or self.memory == instruction.is_memory)
        )


class Row:
    """Some instructions, what the engine does wrong with them, what is done, and the test that shows it.

    ``only`` is a further condition.  A row for ``locked`` instructions has no opcodes, and is asked for each one with
    LOCK.
    """

    def __init__(
        self,
        name: str,
        opcodes: tuple[Opcode, ...],
        wrong: str,
        action: Action,
        test: str,
        *,
        only: Callable[[Instruction], bool] = lambda instruction: True,
        locked: bool = False,
        mode: Mode = Mode.ALWAYS,
    ) -> None:
        self.name, self.opcodes, self.wrong, self.action, self.test = name, opcodes, wrong, action, test
        self.only, self.locked, self.mode = only, locked, mode

    def counts(self, mode: int) -> bool:
        """Whether it counts in a mode."""
        return not self.mode or self.mode & mode != 0

    def matches(self, instruction: Instruction) -> bool:
        """Whether the instruction is one of them."""
        if self.locked:
            return instruction.locked and self.only(instruction)
        return any(opcode.matches(instruction) for opcode in self.opcodes) and self.only(instruction)


def opcodes(*texts: str) -> tuple[Opcode, ...]:
    """Opcodes as :class:`Opcode` has them."""
    return tuple(Opcode(text) for text in texts)
