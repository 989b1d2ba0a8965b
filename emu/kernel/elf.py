"""Reading the headers of an ELF program (the fields themselves are pyelftools' business)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, Protocol

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot

_HEADER_BYTES = 64
_MAX_PHDRS = 128


class Image(Protocol):
    """Something that bytes can be read from by position."""

    def pread(self, count: int, pos: int) -> bytes:
        """At most ``count`` bytes."""


class NotExecutable(LinuxError):
    """ENOEXEC, with the reason in words (``detail``)."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ENOEXEC, reason)


@dataclass(frozen=True)
class Segment:
    """One PT_LOAD."""

    vaddr: int
    memsz: int
    offset: int
    filesz: int
    prot: Prot


@dataclass(frozen=True)
class ElfProgram:
    """What the loader needs of an ELF file."""

    position_independent: bool
    entry: int
    phdr_vaddr: int
    phnum: int
    segments: tuple[Segment, ...]
    interpreter: str | None
    executable_stack: bool

    @property
    def low(self) -> int:
        """The lowest address, page-aligned."""
        return min(s.vaddr for s in self.segments) & -4096

    @property
    def high(self) -> int:
        """The end of the last segment."""
        return max(s.vaddr + s.memsz for s in self.segments)


def read_elf(image: Image, size: int) -> ElfProgram:
    """Parse and check the headers of a file of ``size`` bytes.  :class:`NotExecutable` says what is wrong with it."""
    head = image.pread(_HEADER_BYTES, 0)
    if head[:4] != b"\x7fELF":
        raise NotExecutable("not an ELF file")
    if len(head) < _HEADER_BYTES:
        raise NotExecutable("truncated ELF header")
    if head[4] != 2:
        raise NotExecutable("a 32-bit ELF file; only 64-bit x86-64 programs can run")
    if head[5] != 1:
        raise NotExecutable("a big-endian ELF file")
    header, program_headers = _parse(image, head)
    if header.e_machine != "EM_X86_64":
        raise NotExecutable(f"an ELF file for another machine ({header.e_machine}); only x86-64 programs can run")
    if header.e_type not in ("ET_EXEC", "ET_DYN"):
        raise NotExecutable(f"an ELF file that is no program ({header.e_type})")
    return _program(image, size, header, program_headers)


def _parse(image: Image, head: bytes) -> tuple[Any, list[Any]]:
    from io import BytesIO

    from elftools.common.exceptions import ELFParseError
    from elftools.common.utils import struct_parse
    from elftools.elf.structs import ELFStructs

    structs = ELFStructs(little_endian=True, elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs()
    try:
        header = struct_parse(structs.Elf_Ehdr, BytesIO(head))
        if header.e_phentsize != 56 or not 0 < header.e_phnum <= _MAX_PHDRS:
            raise NotExecutable("an ELF file without usable program headers")
        table = image.pread(56 * header.e_phnum, header.e_phoff) if header.e_phoff < 1 << 62 else b""
        if len(table) < 56 * header.e_phnum:
            raise NotExecutable("truncated: the program headers lie beyond the end of the file")
        stream = BytesIO(table)
        return header, [struct_parse(structs.Elf_Phdr, stream, 56 * n) for n in range(header.e_phnum)]
    except ELFParseError as error:
        raise NotExecutable(f"a damaged ELF file ({error})") from None


def _program(image: Image, size: int, header: Any, program_headers: list[Any]) -> ElfProgram:
    segments: list[Segment] = []
    interpreter = None
    executable_stack = False
    phdr = 0
    for ph in program_headers:
        if ph.p_type == "PT_LOAD" and ph.p_memsz:
            segments.append(_segment(ph, size))
            if ph.p_offset <= header.e_phoff < ph.p_offset + ph.p_filesz:
                phdr = header.e_phoff - ph.p_offset + ph.p_vaddr
        elif ph.p_type == "PT_INTERP":
            name = image.pread(min(ph.p_filesz, 4096), ph.p_offset)
            if len(name) < ph.p_filesz or not name.endswith(b"\0"):
                raise NotExecutable("truncated: the name of the interpreter lies beyond the end of the file")
            interpreter = name[:-1].decode("utf-8", "surrogateescape")
        elif ph.p_type == "PT_GNU_STACK":
            executable_stack = bool(ph.p_flags & 1)
        elif ph.p_type == "PT_PHDR":
            phdr = ph.p_vaddr
    if not segments:
        raise NotExecutable("an ELF file with nothing to load")
    return ElfProgram(
        header.e_type == "ET_DYN", header.e_entry, phdr, header.e_phnum, tuple(segments), interpreter, executable_stack
    )


def _segment(ph: Any, size: int) -> Segment:
    if ph.p_filesz > ph.p_memsz or (ph.p_vaddr - ph.p_offset) % 4096 or ph.p_vaddr + ph.p_memsz >= 1 << 47:
        raise NotExecutable(f"a damaged ELF file: a segment at {ph.p_vaddr:#x} makes no sense")
    if ph.p_offset + ph.p_filesz > size:
        raise NotExecutable("truncated: a segment lies beyond the end of the file")
    flags = ph.p_flags
    prot = (Prot.READ if flags & 4 else Prot.NONE) | (Prot.WRITE if flags & 2 else Prot.NONE)
    prot |= Prot.EXEC if flags & 1 else Prot.NONE
    return Segment(ph.p_vaddr, ph.p_memsz, ph.p_offset, ph.p_filesz, prot)
