"""Memory operands of 16 bytes that must be aligned (SDM vol. 2, 2.4, exception types 1, 2 and 4)."""

from __future__ import annotations

from emu.instructions.row import Aligned, Row, opcodes

_WRONG = "a misaligned operand raises no #GP"
_TEST = "tests/instructions/test_instructions_refused.py"

# Packed SSE instructions by the last byte of their opcode 0F xx.
_PS = (0x14, 0x15, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0xC2, 0xC6)
_PD = (0x14, 0x15, 0x51, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0xC2, 0xC6)
_INTEGER = (
    *range(0x60, 0x6E), 0x70, 0x74, 0x75, 0x76, *range(0xD1, 0xD6), 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF,
    *range(0xE0, 0xE6), *range(0xE8, 0xF0), *range(0xF1, 0xF7), *range(0xF8, 0xFF),
)  # fmt: skip
_0F38 = (
    *range(0x0C), 0x10, 0x14, 0x15, 0x17, 0x1C, 0x1D, 0x1E, 0x28, 0x29, 0x2A, 0x2B, *range(0x37, 0x42),
    *range(0xDB, 0xE0),
)  # fmt: skip
_0F3A = (0x08, 0x09, 0x0C, 0x0D, 0x0E, 0x0F, 0x40, 0x41, 0x42, 0x44, 0xDF)


def _sse(prefix: str, escape: str, numbers: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix} {escape} {number:02X} m" for number in numbers)


ROWS = (
    Row(
        "movaps, movapd, movdqa, movntps, movntpd, movntdq, movntdqa",
        opcodes(
            "NP 0F 28 m", "NP 0F 29 m", "66 0F 28 m", "66 0F 29 m", "66 0F 6F m", "66 0F 7F m", "NP 0F 2B m",
            "66 0F 2B m", "66 0F E7 m",
        ),
        _WRONG, Aligned(16), _TEST,
    ),
    Row(
        "packed single-precision arithmetic, logic and shuffles",
        opcodes(*_sse("NP", "0F", _PS), "NP 0F 5B m", "66 0F 5B m", "F3 0F 5B m"),
        _WRONG, Aligned(16), _TEST,
    ),
    Row(
        "packed double-precision arithmetic, logic and shuffles",
        opcodes(
            *_sse("66", "0F", _PD), *_sse("66", "0F", (0x2C, 0x2D, 0x5A, 0x7C, 0x7D, 0xD0, 0xE6)),
            *_sse("F2", "0F", (0x7C, 0x7D, 0xD0, 0xE6)), "F3 0F 12 m", "F3 0F 16 m",
        ),
        _WRONG, Aligned(16), _TEST,
    ),
    Row(
        "packed integer arithmetic, logic, shifts and shuffles",
        opcodes(*_sse("66", "0F", _INTEGER), "F2 0F 70 m", "F3 0F 70 m"),
        _WRONG, Aligned(16), _TEST,
    ),
    Row(
        "SSSE3, SSE4.1, SSE4.2 and AES on 16 bytes",
        opcodes(*_sse("66", "0F 38", _0F38), *_sse("66", "0F 3A", _0F3A)),
        _WRONG, Aligned(16), _TEST,
    ),
)  # fmt: skip
