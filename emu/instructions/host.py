"""The host's own processor executes one floating-point instruction, with the guest's registers.

What an exception that is not masked looks like, and whether one is raised at all, only a processor can say: the engine
keeps no exception flags.  The instruction runs with every exception masked, its operand in memory replaced by a copy.
"""

from __future__ import annotations

import ctypes
import mmap
import struct

from emu.engine.fpu import FXSAVE_BYTES
from emu.instructions.instruction import Instruction

#: In the bytes of the FXSAVE image that are for software: RFLAGS, before and after; behind it RAX.
FLAGS_AT = 464
_PAGE = 4096
#: push rbx; mov rbx, rdx; fxsave [rbx]; fxrstor [rdi]; push [rdi+464]; popfq; mov rax, [rdi+472]
_BEFORE = bytes.fromhex("53 4889d3 0fae03 0fae0f ffb7d0010000 9d 488b87d8010000")
#: pushfq; pop [rdi+464]; mov [rdi+472], rax; fxsave [rdi]; fxrstor [rbx]; cld; pop rbx; ret
_AFTER = bytes.fromhex("9c 8f87d0010000 488987d8010000 0fae07 0fae0b fc 5b c3")
_RSI, _RAX = 6, 0


class Host:
    """Executes instructions; each is made once."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(self._address)
        room = ctypes.create_string_buffer(2 * FXSAVE_BYTES + 256 + 16)
        base = ctypes.addressof(room) + 15 & -16
        self._room, self._image, self._own, self._operand = room, base, base + FXSAVE_BYTES, base + 2 * FXSAVE_BYTES

    def execute(
        self, instruction: Instruction, image: bytes, flags: int, rax: int, operand: bytes, *, general: str = ""
    ) -> tuple[bytes, int, int, bytes]:
        """The FXSAVE image, RFLAGS, RAX and the memory operand behind it.

        ``image`` masks every exception.  ``general`` names the operand that is a general register, for which RAX
        stands: "reg" or "rm".
        """
        code = _BEFORE + _moved(instruction, general) + _AFTER
        self._memory[: len(code)] = code
        given = bytearray(image)
        struct.pack_into("<QQ", given, FLAGS_AT, flags, rax)
        ctypes.memmove(self._image, bytes(given), FXSAVE_BYTES)
        ctypes.memmove(self._operand, operand, len(operand))
        self._call(self._image, self._operand, self._own)
        got = ctypes.string_at(self._image, FXSAVE_BYTES)
        new_flags, new_rax = struct.unpack_from("<QQ", got, FLAGS_AT)
        return got, new_flags, new_rax, ctypes.string_at(self._operand, len(operand))


def _moved(instruction: Instruction, general: str) -> bytes:
    """The instruction with its memory operand at [RSI], and with RAX as its general register."""
    prefixes = bytes(byte for byte in instruction.legacy if byte in (0x66, 0xF2, 0xF3))
    rex, modrm = instruction.rex, instruction.modrm
    escapes_and_opcode = instruction.code[len(instruction.legacy) + (rex != 0) : instruction.opcode_at + 1]
    behind = instruction.code[instruction.operands_end :]
    if instruction.is_memory:
        modrm, rex = modrm & 0x38 | _RSI, rex & ~3
    elif general == "rm":
        modrm, rex = modrm & 0xF8 | _RAX, rex & ~1
    if general == "reg":
        modrm, rex = modrm & 0xC7 | _RAX << 3, rex & ~4
    return prefixes + (bytes([rex]) if rex else b"") + escapes_and_opcode + bytes([modrm]) + behind
