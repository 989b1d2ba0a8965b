"""A little assembler: ELF files whose code makes the system calls that it is told, without a compiler."""

from __future__ import annotations

import struct

#: Where the file lies in memory, all of it with all rights.
BASE = 0x400000
_EHDR_BYTES, _PHDR_BYTES = 64, 56
ENTRY = BASE + _EHDR_BYTES + _PHDR_BYTES
#: rdi, rsi, rdx, r10, r8, r9: mov r64, imm64.
_LOADS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
_SYSCALL = b"\x0f\x05"
_MASK = (1 << 64) - 1


class Code:
    """Machine code from :data:`ENTRY` on."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def here(self) -> int:
        """The address of what comes next."""
        return ENTRY + len(self._bytes)

    def raw(self, data: bytes) -> int:
        """Bytes; returns their address."""
        at = self.here
        self._bytes += data
        return at

    def align(self, to: int) -> None:
        """Go on at a multiple."""
        self._bytes += bytes(-self.here % to)

    def call(self, number: int, *arguments: int) -> None:
        """A system call."""
        for load, value in zip(_LOADS, arguments, strict=False):
            self.raw(load + struct.pack("<Q", value & _MASK))
        self.raw(b"\xb8" + struct.pack("<I", number & 0xFFFFFFFF) + _SYSCALL)

    def stack(self, address: int) -> None:
        """mov rsp, imm64."""
        self.raw(b"\x48\xbc" + struct.pack("<Q", address & _MASK))

    def jump(self, condition: bytes = b"\xe9") -> int:
        """A jump (jmp rel32, or another one) to where :meth:`land` says; returns what to tell that."""
        self.raw(condition + bytes(4))
        return len(self._bytes)

    def land(self, jump: int) -> None:
        """The jump comes here."""
        self._bytes[jump - 4 : jump] = struct.pack("<i", len(self._bytes) - jump)

    def fork(self) -> int:
        """The child goes on behind it, the parent where the jump lands."""
        self.call(57)
        return self.jump(b"\x85\xc0\x0f\x85")  # test eax, eax; jnz rel32

    def data(self, *words: int) -> int:
        """64-bit words in the midst of the code, and a jump over them; returns their address."""
        jump = self.jump()
        at = self.raw(struct.pack(f"<{len(words)}Q", *(word & _MASK for word in words)))
        self.land(jump)
        return at

    def reap(self, jump: int) -> None:
        """The parent comes here: it gives the child a millisecond (a million instructions), ends it, and waits."""
        self.land(jump)
        self.raw(b"\x41\x89\xc4")  # mov r12d, eax
        self.call(35, self.data(0, 1_000_000), 0)
        self.raw(b"\x44\x89\xe7\xbe\x09\0\0\0\xb8\x3e\0\0\0" + _SYSCALL)  # kill(r12d, 9)
        self.call(61, -1, 0, 0, 0)

    def elf(self) -> bytes:
        """An ELF file with one segment."""
        size = _EHDR_BYTES + _PHDR_BYTES + len(self._bytes)
        header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
            "<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, _EHDR_BYTES, 0, 0, _EHDR_BYTES, _PHDR_BYTES, 1, 0, 0, 0
        )  # fmt: skip
        segment = struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size + 0x10000, 4096)
        return header + segment + bytes(self._bytes)
