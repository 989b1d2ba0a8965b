"""Linking: the object code that the compiler makes of a module becomes one image, which runs wherever it is loaded."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_x64 as RELOCATIONS
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Symbol, SymbolTableSection

from mmu.codecache import Image

#: All that position-independent code needs to reach itself: a distance (System V ABI, AMD64 supplement, 4.4.1).
_DISTANCES = {RELOCATIONS["R_X86_64_PC32"], RELOCATIONS["R_X86_64_PLT32"]}
_UNWIND = "SHT_AMD64_UNWIND"  # nobody unwinds our hooks


def link(object_file: bytes, symbols: Mapping[str, str]) -> Image:
    """The image of a relocatable ELF file, and where in it each of the symbols is, by the names that they are given.

    RuntimeError if the code would need data to write to, or anything outside of itself.
    """
    elf = ELFFile(io.BytesIO(object_file))
    code, starts = bytearray(), {}
    for index, section in enumerate(elf.iter_sections()):
        if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC or not section["sh_size"] or section["sh_type"] == _UNWIND:
            continue
        if section["sh_flags"] & SH_FLAGS.SHF_WRITE or section["sh_type"] == "SHT_NOBITS":
            raise RuntimeError(f"compiled functions cannot keep data ({section.name})")
        code += bytes(-len(code) % max(section["sh_addralign"], 1))
        starts[index] = len(code)
        code += section.data()
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] in starts:
            _relocate(code, section, _table(elf, section["sh_link"]), starts)
    places = {s.name: _place(s, starts) for s in _symbols(elf) if s["st_shndx"] in starts}
    return Image({name: places[symbol] for name, symbol in symbols.items()}, bytes(code))


def _relocate(
    code: bytearray, relocations: RelocationSection, symbols: SymbolTableSection, starts: Mapping[int, int]
) -> None:
    base = starts[relocations["sh_info"]]
    for relocation in relocations.iter_relocations():
        target = symbols.get_symbol(relocation["r_info_sym"])
        if relocation["r_info_type"] not in _DISTANCES or target["st_shndx"] not in starts:
            kind = relocation["r_info_type"]
            raise RuntimeError(f"compiled functions cannot reach {target.name!r} (relocation of type {kind})")
        at = base + relocation["r_offset"]
        struct.pack_into("<i", code, at, _place(target, starts) + relocation["r_addend"] - at)


def _table(elf: ELFFile, index: int) -> SymbolTableSection:
    table = elf.get_section(index)
    assert isinstance(table, SymbolTableSection)
    return table


def _symbols(elf: ELFFile) -> Iterator[Symbol]:
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            yield from section.iter_symbols()


def _place(symbol: Symbol, starts: Mapping[int, int]) -> int:
    return int(starts[symbol["st_shndx"]] + symbol["st_value"])
