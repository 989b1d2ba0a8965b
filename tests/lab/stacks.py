"""Streams by chance, and what they come to, slowly."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from emu.lab.batch import FIELDS, Batch, Controls

#: Where addresses are from: both halves, so that no arithmetic of signed numbers or doubles would do.
BASES = (0, 0x7FFF_FFE0_0000, 0xFFFF_8000_0000_0000, 0xFFFF_FFFF_FFE0_0000)


def by_chance(seed: int, count: int, pages: int, spaces: int = 3) -> Batch:
    """Accesses to few pages again and again, with neighbours, both halves, two sizes, all kinds and two vCPUs.  The
    PCID is the address space's number."""
    chance = random.Random(seed)
    known = [
        (chance.choice(BASES) + chance.randrange(512) * 4096, chance.randrange(spaces), chance.choice((12, 12, 12, 21)))
        for _ in range(pages)
    ]
    rows = []
    for _ in range(count):
        vaddr, space, shift = known[int(chance.paretovariate(0.7)) % pages]
        rows.append((vaddr + chance.randrange(4096), chance.randrange(3), space, chance.randrange(2), shift))
    vaddr_, kind, space_, vcpu, shift_ = ([row[i] for row in rows] for i in range(5))
    return Batch.of(vaddr=vaddr_, kind=kind, space=space_, pcid=space_, vcpu=vcpu, shift=shift_)


def piece(batch: Batch, chosen: Any, controls: Controls | None = None) -> Batch:
    """Some accesses of a batch: a slice, or an array of truths or numbers."""
    return Batch.of(controls, **{name: getattr(batch, name)[chosen] for name in FIELDS})


class Page(NamedTuple):
    """A page as the oracles know it."""

    number: int
    shift: int
    space: int


def pages_of(batch: Batch, least_shift: int = 12) -> list[Page]:
    """The page of each access."""
    return [
        Page(vaddr >> max(shift, least_shift), max(shift, least_shift), space)
        for vaddr, shift, space in zip(batch.vaddr.tolist(), batch.shift.tolist(), batch.space.tolist(), strict=True)
    ]


class SlowTlb:
    """A fully associative LRU TLB of one size, as a list with the page used last at its end."""

    def __init__(self, entries: int) -> None:
        self.entries, self.held, self.misses = entries, list[Page](), 0

    def access(self, page: Page) -> bool:
        """Whether it hits."""
        hit = page in self.held
        if hit:
            self.held.remove(page)
        else:
            self.misses += 1
            if len(self.held) == self.entries:
                self.held[:1] = []
        if self.entries:
            self.held.append(page)
        return hit
