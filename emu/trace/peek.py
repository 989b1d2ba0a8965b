"""Reading a process's memory without touching it: no fault, no accessed bit, so that looking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.pagetable import ADDRESS, P
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace


def peek(mm: AddressSpace, address: int, length: int) -> bytes:
    """What the process would read at ``address``: ``length`` bytes, or fewer if the rest cannot be read."""
    parts = []
    end = min(address + length, mm.task_size)
    while address < end:
        offset = address & (PAGE_SIZE - 1)
        step = min(PAGE_SIZE - offset, end - address)
        piece = _peek_page(mm, address, offset, step)
        if piece is None:
            break
        parts.append(piece)
        address += step
    return b"".join(parts)


def _peek_page(mm: AddressSpace, address: int, offset: int, length: int) -> bytes | None:
    pte = mm.tables.pte(address)
    if pte & P:
        return mm.frames.read((pte & ADDRESS) >> PAGE_SHIFT, offset, length)
    vma = mm.vmas.find(address)
    if pte or vma is None or not vma.prot:
        return None
    frame = vma.ops.frame_to_read(vma, address)
    if not frame:
        return None if frame is None else bytes(length)
    return mm.frames.read(frame, offset, length)


def peek_string(mm: AddressSpace, address: int, limit: int) -> bytes | None:
    """The NUL-terminated string at ``address``, cut at ``limit`` bytes; None if it cannot be read."""
    got = b""
    while len(got) < limit:
        step = min(PAGE_SIZE - (address & (PAGE_SIZE - 1)), limit - len(got))
        piece = peek(mm, address, step)
        got += piece
        at = got.find(0)
        if at >= 0:
            return got[:at]
        if len(piece) < step:
            return None
        address += step
    return got
