"""One entry of a TLB array, for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmu.array_record import SMASHED, Held
from mmu.array_tags import COALESCED, GLOBAL_TAG, context_of, level_of, vaddr_of
from mmu.entries import RW, XD, D, page_bytes
from mmu.shown import ShownInHex


@dataclass(frozen=True, repr=False)
class CachedTranslation(ShownInHex):
    """One entry of an array: the page, its size in bytes, whose it is, and the frame it stands for.

    ``writable`` and ``executable`` are the AND and the OR over the entries of every level, whatever the registers say.
    ``smashed``: it is a piece of a larger page; ``coalesced``: it is several pages of 4K, and the size is that of all.
    """

    _hexadecimal: ClassVar[frozenset[str]] = frozenset(("vaddr", "page_size", "paddr"))

    vaddr: int
    page_size: int
    pcid: int | None  # None: global
    paddr: int
    dirty: bool
    smashed: bool
    coalesced: bool
    writable: bool
    executable: bool


def described(tag: int, held: Held, coalesce: int) -> CachedTranslation:
    """The entry with this tag; of the array, how many pages of 4K may be one."""
    context, coalesced = context_of(tag), bool(tag & COALESCED)
    return CachedTranslation(
        vaddr=vaddr_of(tag),
        page_size=page_bytes(level_of(tag)) * (coalesce if coalesced else 1),
        pcid=None if context == GLOBAL_TAG else context,
        paddr=held.frame & ~0xFFF,
        dirty=bool(held.leaf & D),
        smashed=bool(held.frame & SMASHED),
        coalesced=coalesced,
        writable=bool(held.every & RW),
        executable=not held.any_xd & XD,
    )
