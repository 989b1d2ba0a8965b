"""Addresses that are not canonical: a branch to one is #GP(0) at the branch, where the engine goes there first; on the
stack one is #SS(0).
"""

from __future__ import annotations

from typing import Any

from emu.instructions.instruction import Instruction

_RSP = 4
_RET, _RET_IMM, _GROUP_5, _CALL, _JMP, _JMP_SHORT = 0xC3, 0xC2, 0xFF, 0xE8, 0xE9, 0xEB
_CALL_INDIRECT, _JMP_INDIRECT = 2, 4
_POP = 0x8F
_ON_STACK = (*range(0x50, 0x60), 0x68, 0x6A, 0x9C, 0x9D, 0xC2, 0xC3, 0xC8, 0xC9, 0xE8)
_ON_STACK_0F = (0xA0, 0xA1, 0xA8, 0xA9)
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


def is_branch(instruction: Instruction) -> bool:
    """Whether it may lead anywhere but to what follows."""
    if instruction.opcode_map == 1:
        return instruction.opcode & 0xF0 == 0x80
    if instruction.opcode_map:
        return False
    opcode = instruction.opcode
    if opcode == _GROUP_5:
        return instruction.digit in (_CALL_INDIRECT, _JMP_INDIRECT)
    return opcode in (_RET, _RET_IMM, _CALL, _JMP, _JMP_SHORT) or opcode & 0xF0 == 0x70 or 0xE0 <= opcode <= 0xE3


def undo(instruction: Instruction, registers: Any) -> None:
    """Undo what it has done to RSP (the general registers by number)."""
    opcode = instruction.opcode
    if opcode == _CALL or (opcode == _GROUP_5 and instruction.digit == _CALL_INDIRECT):
        registers[_RSP] = registers[_RSP] + 8 & _ALL_ONES
    elif opcode in (_RET, _RET_IMM):
        popped = 8 + (int.from_bytes(instruction.code[-2:], "little") if opcode == _RET_IMM else 0)
        registers[_RSP] = registers[_RSP] - popped & _ALL_ONES


def uses_stack(instruction: Instruction, vaddr: int, rsp: int) -> bool:
    """Whether an access to this address, which is not canonical, is one by SS: PUSH, POP, CALL and their like, or with
    an address that is based on RSP or RBP (SDM vol. 1, 3.7.4)."""
    opcode = instruction.opcode
    if instruction.opcode_map == 0 and opcode in _ON_STACK:
        return True
    if instruction.opcode_map == 1 and opcode in _ON_STACK_0F:
        return True
    if not instruction.has_modrm or not instruction.is_memory:
        return instruction.opcode_map == 0 and opcode == _GROUP_5  # PUSH and CALL of a register
    if instruction.memory.on_stack:
        return True
    pushes = instruction.opcode_map == 0 and (opcode == _POP or (opcode == _GROUP_5 and instruction.digit in (2, 6)))
    return pushes and vaddr - rsp + 16 & _ALL_ONES < 32
