"""The audit of TLBs: no vCPU holds a translation that the tables do not confirm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.mm.pagetable import ADDRESS, RW, XD, D, P, span
from mmu.entries import ENTRY_NAME, PS

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.tlbflush import Flushed
    from mmu.cached_translation import CachedTranslation
    from mmu.model import TlbModel


@dataclass(frozen=True)
class _Walk:
    """The walk of an address: the level and value of the last entry read, and the rights of all entries."""

    level: int
    entry: int
    writable: bool
    executable: bool


def check_tlbs(kernel: Kernel) -> Iterator[str]:
    """Check each vCPU's modelled TLB against the tables of the address space that the vCPU has loaded.

    A TLB may know less than the tables (rights that were added, A and D that it has not seen set), never more.
    """
    mmu, flusher = kernel.cpu.mmu, kernel.flusher
    for cpu, model in enumerate(mmu.tlbs):
        mm = flusher.loaded_on(cpu)
        if mm is not None:
            for what in (*_translations(model, mm), *_structures(model, mm)):
                yield f"CPU {cpu} ({mm.name}) {what}"


def _walk(mm: Flushed, vaddr: int, to_level: int) -> _Walk:
    q, level, slot = mm.frames.ram.qwords, mm.tables.levels, mm.tables.pgd_paddr >> 3
    writable = executable = True
    while True:
        entry = q[slot + (vaddr // span(level) & 511)]
        writable &= bool(entry & RW)
        executable &= not entry & XD
        if not entry & P or level == to_level or (entry & PS and level > 1):
            return _Walk(level, entry, writable, executable)
        slot = (entry & ADDRESS) >> 3
        level -= 1


def _translations(model: TlbModel, mm: Flushed) -> Iterator[str]:
    for array, entries in model.contents().items():
        for held in entries:
            size = span(1) if held.coalesced else held.page_size
            for offset in range(0, held.page_size, size):
                yield from _page(mm, array, held, size, offset)


def _page(mm: Flushed, array: str, held: CachedTranslation, held_size: int, offset: int) -> Iterator[str]:
    """What is wrong with a page of a translation, of which coalesced pages have several."""
    vaddr, held_at = held.vaddr + offset, held.paddr + offset
    walk = _walk(mm, vaddr, 1)
    size = span(walk.level)
    where = f"holds {vaddr:#x} at {held_at:#x} in {array}"
    paddr = (walk.entry & ADDRESS & -size) | (vaddr & (size - 1))
    if not walk.entry & P:
        yield f"{where}, but the tables map nothing there"
    elif paddr != held_at or held_size > size:
        yield f"{where}, but the tables say {paddr:#x}"
    else:
        beyond = [
            name
            for name, has, may in (
                ("writable", held.writable, walk.writable),
                ("executable", held.executable, walk.executable),
                ("dirty", held.dirty, walk.entry & D),
            )
            if has and not may
        ]
        if beyond:
            yield f"{where} as {' and '.join(beyond)}, which the tables do not allow"


def _structures(model: TlbModel, mm: Flushed) -> Iterator[str]:
    for level, rows in model.structure_contents().items():
        for _, number, table in rows:
            vaddr = number * span(level)
            walk = _walk(mm, vaddr, level)
            if not walk.entry & P or walk.level != level or walk.entry & ADDRESS != table:
                says = f"{walk.entry & ADDRESS:#x}" if walk.entry & P else "nothing"
                yield f"holds the {ENTRY_NAME[level]} of {vaddr:#x}: table {table:#x}, but the tables say {says}"
