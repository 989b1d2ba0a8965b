"""ELF files whose sections of symbols and names say what cannot be: each is refused or read, within bounds."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from emu.trace.functions import find_function
from emu.trace.region import NoRegion
from emu.trace.stat.symbols import Elf, SymbolsError
from tests.trace.symbols import write_elf

_SHT_NOBITS, _SHF_COMPRESSED = 8, 0x800
_SYMTAB = 2
#: Where in a section's header these are.
_TYPE, _FLAGS, _SIZE = (4, "<I"), (8, "<Q"), (32, "<Q")


def damaged(path: Path, section: int, *changes: tuple[tuple[int, str], int]) -> Path:
    """An ELF file with a section's header changed."""
    data = bytearray(write_elf(path, {"f": (0x1000, 0x100), "g": (0x1100, 0x100)}).read_bytes())
    (headers,) = struct.unpack_from("<Q", data, 40)
    for (at, form), value in changes:
        struct.pack_into(form, data, headers + section * 64 + at, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [1 << 36, (1 << 64) - 1])
def test_a_table_that_is_not_in_the_file_has_nothing(tmp_path: Path, size: int) -> None:
    path = damaged(tmp_path / "elf", _SYMTAB, (_TYPE, _SHT_NOBITS), (_SIZE, size))
    with pytest.raises(NoRegion, match="is stripped: it has no symbols"):
        find_function(str(path), path.read_bytes(), "f")
    assert Elf(path).stripped


def test_a_table_that_is_packed_is_damaged(tmp_path: Path) -> None:
    path = damaged(tmp_path / "elf", _SYMTAB, (_FLAGS, _SHF_COMPRESSED))
    data = bytearray(path.read_bytes())
    (headers,) = struct.unpack_from("<Q", data, 40)
    (offset,) = struct.unpack_from("<Q", data, headers + _SYMTAB * 64 + 24)
    struct.pack_into("<IIQQ", data, offset, 1, 0, 48, 1)  # ELFCOMPRESS_ZLIB, of what is none
    path.write_bytes(data)
    with pytest.raises(NoRegion, match="or a damaged one"):
        find_function(str(path), path.read_bytes(), "f")
    with pytest.raises(SymbolsError, match="or a damaged one"):
        Elf(path)


def test_names_without_an_end_are_not_gone_through_again_and_again(tmp_path: Path) -> None:
    """The names of these 100,000 symbols would have five gigabytes."""
    path = write_elf(tmp_path / "elf", {"A" * 100_000: (0x1000, 0x100)})
    data = bytearray(path.read_bytes())
    (headers,) = struct.unpack_from("<Q", data, 40)
    many = 100_000
    struct.pack_into("<QQ", data, headers + _SYMTAB * 64 + 24, len(data), many * 24)
    data += b"".join(struct.pack("<IBBHQQ", 1 + number, 0x12, 0, 1, 0x1000, 1) for number in range(many))
    path.write_bytes(data)
    with pytest.raises(NoRegion, match="elf has no function AAAAB; it has AAAA"):
        find_function(str(path), bytes(data), "AAAAB")
    assert len(Elf(path).name(0)) == 1 << 14
