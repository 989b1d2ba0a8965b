"""Small ELF files that have symbols, made without a compiler."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

_FUNC = 0x12  # STB_GLOBAL, STT_FUNC
ET_EXEC, ET_DYN = 2, 3


def write_elf(
    path: Path, functions: Mapping[str, tuple[int, int]], *, type: int = ET_EXEC, entry: int = 0, info: int = _FUNC
) -> Path:
    """An ELF file whose symbols are these functions: by name where each begins, and its size."""
    names, symbols = b"\0", bytes(24)
    for name, (value, size) in functions.items():
        symbols += struct.pack("<IBBHQQ", len(names), info, 0, 1, value, size)
        names += name.encode() + b"\0"
    titles = b"\0.text\0.symtab\0.strtab\0"
    at = 64 + 56
    end = max((value + size for value, size in functions.values()), default=0) + 0x1000
    sections = [bytes(64), struct.pack("<IIQQQQIIQQ", 1, 1, 6, 0, at, 0, 0, 0, 1, 0)]
    body = symbols + names + titles
    sections.append(struct.pack("<IIQQQQIIQQ", 7, 2, 0, 0, at, len(symbols), 3, 1, 8, 24))
    sections.append(struct.pack("<IIQQQQIIQQ", 15, 3, 0, 0, at + len(symbols), len(names), 0, 0, 1, 0))
    sections.append(struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(symbols + names), len(titles), 0, 0, 1, 0))
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", type, 62, 1, entry, 64, at + len(body), 0, 64, 56, 1, 64, 5, 4)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, end, 4096)
    path.write_bytes(header + load + body + b"".join(sections))
    return path
