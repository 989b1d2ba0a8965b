"""The loops that are measured, as x86-64 machine code that runs the same at any privilege, mapped or not.

Addresses are equal to physical addresses everywhere, so that one piece of code serves an engine without paging too.
"""

from __future__ import annotations

import struct

#: Where bare engines have the code, the first page of data, and the tables.
CODE = 0x10_0000
DATA = 0x400_0000
TABLES = 0x20_0000

#: Instructions of one turn of :func:`compute`.
COMPUTE_INSTRUCTIONS = 14


def compute(data: int, turns: int) -> bytes:
    """``turns`` turns of arithmetic, two loads and two stores, on three neighbouring pages from ``data``."""
    body = bytes.fromhex(
        "488b03"  # mov rax, [rbx]
        "4801c8"  # add rax, rcx
        "4869c095e9d15b"  # imul rax, rax, 0x5bd1e995
        "4931c0"  # xor r8, rax
        "4c894308"  # mov [rbx+8], r8
        "4c8b8b00100000"  # mov r9, [rbx+0x1000]
        "4d01c1"  # add r9, r8
        "4c898b00200000"  # mov [rbx+0x2000], r9
        "4f8d1441"  # lea r10, [r9+r8*2]
        "49c1ea03"  # shr r10, 3
        "4c01d7"  # add rdi, r10
        "4883f655"  # xor rsi, 0x55
        "48ffc9"  # dec rcx
    )
    return _load("bb", data) + _load("b9", turns) + body + _jump_back(len(body))


def branches(numbers: int) -> bytes:
    """How many steps each number from ``numbers`` down to 1 takes to 1, by 3n+1 and n/2: no branch can be foreseen."""
    body = bytes.fromhex(
        "4889c8"  # mov rax, rcx
        "a801"  # 1: test al, 1
        "7407"  # jz 2f
        "488d444001"  # lea rax, [rax+rax*2+1]
        "eb03"  # jmp 3f
        "48d1e8"  # 2: shr rax, 1
        "48ffc2"  # 3: inc rdx
        "4883f801"  # cmp rax, 1
        "75e9"  # jne 1b
        "48ffc9"  # dec rcx
    )
    return _load("b9", numbers) + body + _jump_back(len(body))


def doubles(data: int, turns: int) -> bytes:
    """``turns`` products of two numbers in memory, added up in memory."""
    body = bytes.fromhex(
        "f20f1003"  # movsd xmm0, [rbx]
        "f20f594308"  # mulsd xmm0, [rbx+8]
        "f20f58c8"  # addsd xmm1, xmm0
        "f20f114b10"  # movsd [rbx+16], xmm1
        "48ffc9"  # dec rcx
    )
    return _load("bb", data) + _load("b9", turns) + body + _jump_back(len(body))


def copies(data: int, turns: int) -> bytes:
    """``turns`` times 2 KiB, 16 bytes at a time, as the C library does it: loads from 8 bytes behind ``data``, which
    need not be aligned, and stores to the next page, which are."""
    inner = bytes.fromhex(
        "0f1006"  # movups xmm0, [rsi]
        "0f104e10"  # movups xmm1, [rsi+16]
        "0f105620"  # movups xmm2, [rsi+32]
        "0f105e30"  # movups xmm3, [rsi+48]
        "0f2907"  # movaps [rdi], xmm0
        "0f294f10"  # movaps [rdi+16], xmm1
        "0f295720"  # movaps [rdi+32], xmm2
        "0f295f30"  # movaps [rdi+48], xmm3
        "4883c640"  # add rsi, 64
        "4883c740"  # add rdi, 64
        "48ffca"  # dec rdx
    )
    outer = _load("be", data + 8) + _load("bf", data + 0x1000) + _load("ba", 32) + inner + _jump_back(len(inner))
    outer += bytes.fromhex("48ffc9")  # dec rcx
    return _load("b9", turns) + outer + _jump_back(len(outer))


def touch(data: int, pages: int, stride: int, passes: int, *, store: bool = False) -> bytes:
    """``passes`` times one load from (or store to) each of ``pages`` addresses, ``stride`` bytes apart."""
    inner = bytes.fromhex("488903" if store else "488b03")  # mov [rbx], rax; mov rax, [rbx]
    inner += bytes.fromhex("4801f348ffc9")  # add rbx, rsi; dec rcx
    inner += _jump_back(len(inner))
    outer = _load("bb", data) + _load("b9", pages) + inner + bytes.fromhex("48ffca")  # ...; dec rdx
    return _load("be", stride) + _load("ba", passes) + outer + _jump_back(len(outer))


def chase(data: int, turns: int) -> bytes:
    """``turns`` loads, each of the address that the one before has loaded, from ``data`` on."""
    body = bytes.fromhex("488b1b48ffc9")  # mov rbx, [rbx]; dec rcx
    return _load("bb", data) + _load("b9", turns) + body + _jump_back(len(body))


def count_down(turns: int) -> bytes:
    """``turns`` turns of a loop that is a single block."""
    body = bytes.fromhex("48ffc9")  # dec rcx
    return _load("b9", turns) + body + _jump_back(len(body))


def _load(opcode: str, value: int) -> bytes:
    """mov r32, value (bb: EBX, b9: ECX, be: ESI, bf: EDI, ba: EDX); the upper half becomes 0."""
    return bytes.fromhex(opcode) + struct.pack("<I", value)


def _jump_back(distance: int) -> bytes:
    """jnz to ``distance`` bytes before it."""
    return b"\x0f\x85" + struct.pack("<i", -distance - 6)


def program(code: bytes, address: int, data: int, data_bytes: int) -> bytes:
    """A static ELF file that runs the code at ``address`` and exits; ``data_bytes`` of zeros lie at ``data``."""
    code += bytes.fromhex("b83c00000031ff0f05")  # mov eax, 60 (exit); xor edi, edi; syscall
    headers = 64 + 2 * 56
    identification = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    entry = address + headers
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    size = headers + len(code)
    text = struct.pack("<IIQQQQQQ", 1, 5, 0, address, address, size, size, 0x1000)
    bss = struct.pack("<IIQQQQQQ", 1, 6, 0, data, data, 0, data_bytes, 0x1000)
    return identification + header + text + bss + code
