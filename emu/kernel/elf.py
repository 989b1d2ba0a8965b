"""Reading the headers of an ELF program (elf(5); System V ABI, chapters 4 and 5).

They are read with struct, because pyelftools takes as long to import as a small program takes to run.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import NamedTuple, Protocol

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm.address_space import page_align
from emu.mm.image import Piece, are_apart
from mmu.memory import PAGE_SIZE

_HEADER_BYTES = 64
_MAX_PHDRS = 128
#: Programs of which headers are remembered.
_MOST_KNOWN = 256
_EM_X86_64 = 62
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_INTERP, _PT_GNU_STACK = 1, 3, 0x6474E551
_PF_X, _PF_W, _PF_R = 1, 2, 4
#: Elf64_Ehdr behind e_ident: e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
#: e_phnum, e_shentsize, e_shnum, e_shstrndx.
_EHDR = Struct("<16xHHIQQQIHHHHHH")
_PHDR = Struct("<IIQQQQQQ")


class _ProgramHeader(NamedTuple):
    """Elf64_Phdr."""

    p_type: int
    p_flags: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_align: int


class Image(Protocol):
    """A source of bytes that are read by position."""

    def pread(self, count: int, pos: int) -> bytes:
        """At most ``count`` bytes."""


#: What is wrong with a file of no known format.
NO_FORMAT = "neither an ELF file nor a script that begins with #!"


class NotExecutable(LinuxError):
    """ENOEXEC, with the reason in words (``detail``)."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ENOEXEC, reason)


class Segment(NamedTuple):
    """One PT_LOAD."""

    vaddr: int
    memsz: int
    offset: int
    filesz: int
    prot: Prot


class Extent(NamedTuple):
    """From where to where."""

    start: int
    end: int


class ElfProgram(NamedTuple):
    """What the loader needs of an ELF file."""

    position_independent: bool
    entry: int
    phdr_vaddr: int
    phnum: int
    segments: tuple[Segment, ...]
    interpreter: str | None
    executable_stack: bool
    #: The largest alignment that a segment asks for.
    alignment: int
    #: From the lowest address, page-aligned, to the end of the last segment.
    whole: Extent
    #: Where code and data are (load_elf_binary); the last segment begins the data, whatever there is in it.
    code: Extent
    data: Extent
    #: Its mappings, and what is zeroed behind the file in the last pages of those that can be written (address and
    #: number of bytes); none where a segment covers a part of another.
    pieces: tuple[Piece, ...]
    cleared: tuple[tuple[int, int], ...]


class Headers(NamedTuple):
    """What is read of a file: what says that it is an ELF file, its program headers, and how long it is."""

    head: bytes
    table: bytes
    size: int


class KnownPrograms:
    """What has been found out of headers, of programs without an interpreter: many run again and again."""

    def __init__(self) -> None:
        self._programs: dict[Headers, ElfProgram] = {}

    def find(self, headers: Headers) -> ElfProgram | None:
        """The program with these headers."""
        return self._programs.get(headers)

    def add(self, headers: Headers, program: ElfProgram) -> None:
        """Remember it."""
        if len(self._programs) >= _MOST_KNOWN:
            self._programs.clear()
        self._programs[headers] = program


def read_elf(image: Image, size: int, known: KnownPrograms, begins: bytes | None = None) -> ElfProgram:
    """Parse and check the headers of a file of ``size`` bytes, which ``begins`` so, if that is known.
    :class:`NotExecutable` says what is wrong with it.
    """
    head = image.pread(_HEADER_BYTES, 0) if begins is None else begins[:_HEADER_BYTES]
    if head[:4] != b"\x7fELF":
        raise NotExecutable(NO_FORMAT)
    if len(head) < _HEADER_BYTES:
        raise NotExecutable("truncated ELF header")
    if head[4] != 2:
        raise NotExecutable("a 32-bit ELF file; only 64-bit x86-64 programs can run")
    if head[5] != 1:
        raise NotExecutable("a big-endian ELF file")
    e_type, e_machine, _, e_entry, e_phoff, _, _, _, e_phentsize, e_phnum, *_ = _EHDR.unpack(head)
    if e_phentsize != _PHDR.size or not 0 < e_phnum <= _MAX_PHDRS:
        raise NotExecutable("an ELF file without usable program headers")
    table = image.pread(_PHDR.size * e_phnum, e_phoff) if e_phoff < 1 << 62 else b""
    if len(table) < _PHDR.size * e_phnum:
        raise NotExecutable("truncated: the program headers lie beyond the end of the file")
    read = Headers(head, table, size)
    if (found := known.find(read)) is not None:
        return found
    if e_machine != _EM_X86_64:
        machine = _name_of("ENUM_E_MACHINE", e_machine)
        raise NotExecutable(f"an ELF file for another machine ({machine}); only x86-64 programs can run")
    if e_type not in (_ET_EXEC, _ET_DYN):
        raise NotExecutable(f"an ELF file that is not a program ({_name_of('ENUM_E_TYPE', e_type)})")
    headers = [_ProgramHeader(*fields) for fields in _PHDR.iter_unpack(table)]
    program = _program(image, size, e_type == _ET_DYN, e_entry, e_phoff, headers)
    if program.interpreter is None:  # whose name is read
        known.add(read, program)
    return program


def _name_of(enumeration: str, value: int) -> str:
    """The name of a value as pyelftools has it, or the number."""
    from elftools.elf import enums

    names: dict[str, object] = getattr(enums, enumeration)
    return next((name for name, known in names.items() if known == value), str(value))


def _program(
    image: Image, size: int, position_independent: bool, entry: int, phoff: int, program_headers: list[_ProgramHeader]
) -> ElfProgram:
    segments: list[Segment] = []
    interpreter = None
    executable_stack = False
    phdr, alignment = 0, 1
    for ph in program_headers:
        if ph.p_type == _PT_LOAD and ph.p_memsz:
            segments.append(_segment(ph, size))
            if not ph.p_align & (ph.p_align - 1):
                alignment = max(alignment, ph.p_align)
            if ph.p_offset <= phoff < ph.p_offset + ph.p_filesz:
                phdr = phoff - ph.p_offset + ph.p_vaddr
        elif ph.p_type == _PT_INTERP:
            name = image.pread(min(ph.p_filesz, 4096), ph.p_offset)
            if len(name) < ph.p_filesz or not name.endswith(b"\0"):
                raise NotExecutable("truncated: the name of the interpreter lies beyond the end of the file")
            interpreter = name[:-1].decode("utf-8", "surrogateescape")
        elif ph.p_type == _PT_GNU_STACK:
            executable_stack = bool(ph.p_flags & _PF_X)
    if not segments:
        raise NotExecutable("an ELF file with nothing to load")
    code = [segment for segment in segments if segment.prot & Prot.EXEC]
    return ElfProgram(
        position_independent,
        entry,
        phdr,
        len(program_headers),
        tuple(segments),
        interpreter,
        executable_stack,
        alignment,
        Extent(min(s.vaddr for s in segments) & -4096, max(s.vaddr + s.memsz for s in segments)),
        Extent(min((s.vaddr for s in code), default=0), max((s.vaddr + s.filesz for s in code), default=0)),
        Extent(max(s.vaddr for s in segments), max(s.vaddr + s.filesz for s in segments)),
        *_pieces(segments),
    )


def _pieces(segments: list[Segment]) -> tuple[tuple[Piece, ...], tuple[tuple[int, int], ...]]:
    """The ``pieces`` and ``cleared`` of an :class:`ElfProgram`."""
    pieces, cleared = list[Piece](), list[tuple[int, int]]()
    for vaddr, memsz, offset, filesz, prot in segments:
        start, file_end = vaddr & -PAGE_SIZE, vaddr + filesz
        if filesz:
            stop = page_align(file_end)
            pieces.append(Piece(start, stop, prot, (offset - (vaddr - start)) // PAGE_SIZE))
            start = stop
            if memsz > filesz and prot & Prot.WRITE and file_end < stop:
                cleared.append((file_end, stop - file_end))
        if (stop := page_align(vaddr + memsz)) > start:
            pieces.append(Piece(start, stop, prot, None))
    return (tuple(pieces), tuple(cleared)) if are_apart(pieces) else ((), ())


def _segment(ph: _ProgramHeader, size: int) -> Segment:
    if ph.p_filesz > ph.p_memsz or (ph.p_vaddr - ph.p_offset) % 4096 or ph.p_vaddr + ph.p_memsz >= 1 << 47:
        raise NotExecutable(f"a damaged ELF file: a segment at {ph.p_vaddr:#x} makes no sense")
    if ph.p_offset + ph.p_filesz > size:
        raise NotExecutable("truncated: a segment lies beyond the end of the file")
    flags = ph.p_flags
    prot = (Prot.READ if flags & _PF_R else Prot.NONE) | (Prot.WRITE if flags & _PF_W else Prot.NONE)
    prot |= Prot.EXEC if flags & _PF_X else Prot.NONE
    return Segment(ph.p_vaddr, ph.p_memsz, ph.p_offset, ph.p_filesz, prot)
