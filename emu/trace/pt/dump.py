"""Page tables in a dump of a whole machine's memory: which vCPUs there were, and what their CR3 led to.

Nothing is believed of the dump but physical memory and the control registers: tables are followed from each CR3 down.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from emu.trace.pt.file import BadSnapshot
from emu.trace.pt.sharing import spelled
from emu.trace.pt.tables import Entries, PageTablesSnapshot, Space, Table, children
from mmu.memory import MAX_BYTES, PAGE_SHIFT
from mmu.registers import CR0, CR4, CR4_LONG_MODE, Registers

#: QEMU's note of a vCPU (target/i386/arch_dump.c, QEMUCPUState): version, size; then at these offsets CR0 to CR4.
_QEMU_OWNER, _QEMU_VERSION, _QEMU_BYTES, _CR_AT = b"QEMU", 1, 440, 392
#: What the kernel says of itself (kernel/vmcore_info.c).
_VMCOREINFO, _LEVEL_5 = b"VMCOREINFO", b"NUMBER(pgtable_l5_enabled)=1"
#: More than all notes of 4096 vCPUs have.
MOST_NOTES = 8 << 20
_ADDRESS = 0x000F_FFFF_FFFF_F000
#: CR4 as far as it decides what these tables mean; SMEP, SMAP and keys take rights away that depend on the mode.
_CR4_KEPT = CR4.PGE | CR4.LA57 | CR4.PSE


class Vcpu(NamedTuple):
    """The control registers of a vCPU."""

    number: int
    cr0: int
    cr3: int
    cr4: int

    @property
    def pages(self) -> bool:
        """Whether it pages with entries of 64 bits."""
        return bool(self.cr0 & CR0.PG and self.cr4 & CR4.PAE)


class Notes(NamedTuple):
    """What the notes of a dump say."""

    vcpus: tuple[Vcpu, ...]
    five_levels: bool


class Dump(ABC):
    """A file that holds physical memory; to be closed."""

    notes: Notes
    #: The end of the memory that it has.
    memory_bytes: int
    #: Whether it was made by virtual addresses, which leaves pages out.
    by_virtual: bool = False

    @abstractmethod
    def page(self, frame: int) -> bytes | None:
        """The 4 KiB of a frame; None if they are not in the file.  :class:`BadSnapshot` where the file is damaged."""

    @abstractmethod
    def close(self) -> None:
        """No page is asked for any more."""


def notes_in(data: bytes) -> Notes:
    """The notes of a segment, or of a kdump file, one after the other.  :class:`BadSnapshot` if they are cut off."""
    vcpus: list[Vcpu] = []
    five_levels = False
    for owner, kind, described in _notes(data):
        if owner == _QEMU_OWNER and kind == 0:
            version, size = struct.unpack_from("<II", described) if len(described) >= 8 else (0, 0)
            if version != _QEMU_VERSION or size != len(described) or size < _QEMU_BYTES:
                raise BadSnapshot(f"QEMU's note of vCPU {len(vcpus)} has version {version} and {len(described)} bytes")
            cr0, _, _, cr3, cr4 = struct.unpack_from("<5Q", described, _CR_AT)
            vcpus.append(Vcpu(len(vcpus), cr0, cr3, cr4))
        elif owner == _VMCOREINFO:
            five_levels = _LEVEL_5 in described.splitlines()
    return Notes(tuple(vcpus), five_levels)


def _notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(owner, type, what it says) of each note; each part is padded to 4 bytes (gABI, Note Section)."""
    at = 0
    while at + 12 <= len(data):
        owner_size, size, kind = struct.unpack_from("<III", data, at)
        begin = at + 12 + -(-owner_size // 4) * 4
        if begin + size > len(data):
            raise BadSnapshot("its notes are cut off")
        yield data[at + 12 : at + 12 + owner_size].rstrip(b"\0"), kind, data[begin : begin + size]
        at = begin + -(-size // 4) * 4


def tables_of(dump: Dump, name: str, roots: Sequence[int] = ()) -> PageTablesSnapshot:
    """The page tables that the CR3 of each vCPU leads to, and those below ``roots``, physical addresses.

    :class:`BadSnapshot` if there is no CR3, or one is not in the dump.
    """
    paging = [vcpu for vcpu in dump.notes.vcpus if vcpu.pages]
    if not paging and not roots:
        found = "no vCPU's registers" if not dump.notes.vcpus else "no vCPU that pages with entries of 64 bits"
        raise BadSnapshot(f"there is {found} in it; --cr3 says where the top table is")
    if len({vcpu.cr4 & CR4.LA57 for vcpu in paging}) > 1:
        raise BadSnapshot("its vCPUs differ in CR4.LA57")
    loaded: dict[int, list[int]] = {}
    for vcpu in paging:
        loaded.setdefault(vcpu.cr3 & _ADDRESS, []).append(vcpu.number)
    spaces = [
        Space(f"vCPU{'s' * (len(vcpus) > 1)} {spelled(vcpus)}", (), root, cpus=tuple(vcpus))
        for root, vcpus in loaded.items()
    ]
    spaces += [Space(f"CR3 {root:#x}", (), root, cpus=()) for root in dict.fromkeys(roots) if root not in loaded]
    registers = _registers(paging[0] if paging else None, five_levels=dump.notes.five_levels)
    tables: dict[int, Table] = {}
    for space in spaces:
        if dump.page(space.pgd >> PAGE_SHIFT) is None:
            why = ", which was made with -p and so leaves memory out: dump it without" if dump.by_virtual else ""
            raise BadSnapshot(f"{space.name}: its top table at {space.pgd:#x} is not in the dump{why}")
        _follow(dump, space.pgd, registers.levels, tables)
    return PageTablesSnapshot(
        command=(name,), moment="as they were dumped", instructions=0, memory_bytes=min(dump.memory_bytes, MAX_BYTES),
        registers=registers, spaces=tuple(spaces), tables=tables,
    )  # fmt: skip


def _registers(vcpu: Vcpu | None, *, five_levels: bool) -> Registers:
    """Those of the supervisor, with WP as it was; EFER, MAXPHYADDR and PKRU are not in a dump."""
    cr0 = CR0.PE | CR0.PG | CR0.WP
    cr4 = CR4_LONG_MODE | CR4.PGE | (CR4.LA57 if five_levels else 0)
    if vcpu is not None:
        cr0, cr4 = CR0.PE | CR0.PG | (vcpu.cr0 & CR0.WP), CR4_LONG_MODE | (vcpu.cr4 & _CR4_KEPT)
    return Registers(cr3=0, cr0=int(cr0), cr4=int(cr4), cpl=0, maxphyaddr=52)


def _follow(dump: Dump, root: int, levels: int, tables: dict[int, Table]) -> None:
    """Copy each table that a top table leads to.

    One that is reached at several levels, as in a circle, has the highest of these, from which all the others are
    followed too; so no table is looked at more than once a level.
    """
    todo = [(root, levels)]
    while todo:
        at, level = todo.pop()
        known = tables.get(at)
        if known is not None and known.level >= level:
            continue
        entries = known.entries if known is not None else _entries(dump.page(at >> PAGE_SHIFT))
        if entries is None:
            continue
        tables[at] = Table(level, entries)
        todo += [(child, level - 1) for _, child in children(level, entries)]


def _entries(page: bytes | None) -> Entries | None:
    if page is None:
        return None
    return np.frombuffer(page, "<u8").astype(np.uint64, copy=True)
