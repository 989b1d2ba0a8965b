"""Cases of paging: entries and controls, not yet in any memory; the runner of a case decides where its tables lie."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypedDict

from mmu import CR0, CR4, EFER, Access
from mmu.entries import PS, RW, US, XD, A, D, P, page_bytes, reserved_bits
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE

#: The page that is accessed: another index at every level, never those of the code that makes the access.  Bits 29:21
#: are 1, because a 1G page must show the same target as the others; the offset is that of the target in its page.
OFFSET = 0xE50
VADDR = 9 << 39 | 0x155 << 30 | 1 << 21 | 0x123 << 12 | OFFSET
VADDR_5_LEVELS = 0x20 << 48 | VADDR
UPPER_VADDR = 0xFFFF << 48 | 0x1AA << 39 | 0x155 << 30 | 1 << 21 | 0x123 << 12 | OFFSET
DESCRIPTOR = 16  # behind the target lies a descriptor, for the accesses that read one
#: Everything is allowed, and nothing is left to set: an entry that takes no part in the question.
OPEN = int(P | RW | US | A)
PKEY_1 = 1 << 59
SIZE = {1: "4K", 2: "2M", 3: "1G"}


@dataclass(frozen=True)
class Features:
    """What a processor can do."""

    maxphyaddr: int = 48
    nx: bool = True
    pages_1g: bool = True
    smep: bool = True
    smap: bool = True
    pku: bool = True
    la57: bool = True
    amd: bool = False


@dataclass(frozen=True)
class Case:
    """One access.  ``entries`` by level, from the top down to the leaf, without the addresses of tables and page."""

    entries: dict[int, int]
    access: Access
    cpl: int = 3
    vaddr: int = VADDR
    cr0: int = CR0_LONG_MODE
    cr4: int = CR4_LONG_MODE
    efer: int = EFER_LONG_MODE
    ac: bool = False
    pkru: int = 0
    implicit: bool = False  # a descriptor is read: a supervisor access at any CPL

    def __str__(self) -> str:
        entries = " ".join(f"{level}:{entry:#x}" for level, entry in self.entries.items())
        controls = f"cr0={self.cr0:#x} cr4={self.cr4:#x} efer={self.efer:#x} ac={self.ac:d} pkru={self.pkru:#x}"
        how = "implicit " if self.implicit else ""
        return f"{how}{self.access.name} of {self.vaddr:#x} at CPL {self.cpl}, {controls}, entries {entries}"


def path(leaf_level: int, leaf: int, levels: int = 4, **upper: int) -> dict[int, int]:
    """Entries by level: ``leaf``, whose PS is set where it has one, below open ones, which ``l4=`` … replace."""
    entries = {level: upper.get(f"l{level}", OPEN) for level in range(levels, leaf_level, -1)}
    return entries | {leaf_level: leaf | (int(PS) if leaf_level > 1 else 0)}


def combinations(*bits: int) -> list[int]:
    """Every OR of some of these bits."""
    return [sum(chosen) for chosen in product(*((0, int(bit)) for bit in bits))]


class Controls(TypedDict):
    """The registers that decide, as :class:`Case` has them."""

    cr0: int
    cr4: int
    efer: int
    ac: bool
    pkru: int


def controls(features: Features) -> Iterator[Controls]:
    """Every legal combination of CR0.WP, EFER.NXE, CR4.SMEP, CR4.SMAP with RFLAGS.AC, and CR4.PKE with PKRU."""
    smaps = [(0, False)] + ([(int(CR4.SMAP), False), (int(CR4.SMAP), True)] if features.smap else [])
    keys = [(0, 0)] + ([(int(CR4.PKE), 0b1100 & rights << 2) for rights in range(4)] if features.pku else [])
    for wp, nxe, smep, (smap, ac), (pke, pkru) in product(
        (0, int(CR0.WP)),
        (0, int(EFER.NXE)) if features.nx else (0,),
        (0, int(CR4.SMEP)) if features.smep else (0,),
        smaps,
        keys,
    ):
        yield {
            "cr0": CR0_LONG_MODE & ~CR0.WP | wp,
            "efer": EFER_LONG_MODE & ~EFER.NXE | nxe,
            "cr4": CR4_LONG_MODE | smep | smap | pke,
            "ac": ac,
            "pkru": pkru,
        }


def sizes(features: Features) -> tuple[int, ...]:
    """The levels at which a leaf may lie."""
    return (1, 2, 3) if features.pages_1g else (1, 2)


class Matrix:
    """Leaf P RW US XD A D and key × directory P RW US XD × controls × access, for one page size and privilege."""

    def __init__(self, features: Features, level: int, cpl: int) -> None:
        self._level, self._cpl = level, cpl
        leaves = combinations(P, RW, US, XD, A, D, *((PKEY_1,) if features.pku else ()))
        directories = [bits | int(A) for bits in combinations(P, RW, US, XD)]
        self._axes = (list(controls(features)), list(Access), leaves, directories)

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self._axes)

    def __getitem__(self, index: int) -> Case:
        settings, accesses, leaves, directories = self._axes
        index, directory = divmod(index, len(directories))
        index, leaf = divmod(index, len(leaves))
        index, access = divmod(index, len(accesses))
        entries = path(self._level, leaves[leaf], **{f"l{self._level + 1}": directories[directory]})
        return Case(entries, accesses[access], self._cpl, **settings[index])


def _not_address(level: int, leaf: bool, features: Features) -> Iterable[int]:
    """The bits of an entry that say nothing about where it leads."""
    low = page_bytes(level).bit_length() - 1 if leaf else 12
    return [*range(low), *range(features.maxphyaddr, 64)]


def single_bits(features: Features) -> Iterator[Case]:
    """Every bit that is not part of the address, set or cleared, alone in every entry: reserved, ignored or meant."""
    for levels, size in product((4, 5) if features.la57 else (4,), sizes(features)):
        vaddr, la57 = (VADDR_5_LEVELS, int(CR4.LA57)) if levels == 5 else (VADDR, 0)
        entries = path(size, OPEN, levels)
        for level, entry in entries.items():
            for bit in _not_address(level, level == size, features):
                if bit == 7 and level > 1 and level in sizes(features):
                    continue  # PS makes it another tree; where it cannot be, it is reserved
                for nxe, cpl, access in product((0, int(EFER.NXE)) if features.nx else (0,), (0, 3), Access):
                    changed = entries | {level: entry ^ 1 << bit}
                    efer = EFER_LONG_MODE & ~EFER.NXE | nxe
                    yield Case(changed, access, cpl, vaddr, cr4=CR4_LONG_MODE | la57, efer=efer)


def addresses(features: Features) -> Iterator[Case]:
    """Both canonical halves, and addresses between them."""
    for levels in (4, 5) if features.la57 else (4,):
        top = 9 * levels + 11  # the sign bit
        cr4 = CR4_LONG_MODE | (int(CR4.LA57) if levels == 5 else 0)
        hole = [1 << bit for bit in range(top, 64)] + [(1 << 64) - (1 << bit + 1) for bit in range(top, 63)]
        canonical = [VADDR, UPPER_VADDR] if levels == 4 else [VADDR_5_LEVELS, UPPER_VADDR & ~(1 << 55)]
        wrong = [address | canonical[0] for address in hole if address >> top not in (0, (1 << 64 - top) - 1)]
        for vaddr, cpl, access in product(canonical + wrong, (0, 3), Access):
            yield Case(path(1, OPEN, levels), access, cpl, vaddr, cr4=cr4)


def implicit_accesses(features: Features) -> Iterator[Case]:
    """Reads of a descriptor: leaf P RW US XD A D and key × controls × privilege."""
    leaves = combinations(P, RW, US, XD, A, D, *((PKEY_1,) if features.pku else ()))
    for level, settings, cpl, leaf in product(sizes(features), list(controls(features)), (0, 3), leaves):
        yield Case(path(level, leaf), Access.READ, cpl, VADDR + DESCRIPTOR, implicit=True, **settings)


def random_cases(features: Features, seed: str) -> Iterator[Case]:
    """Endless cases: everything that the format allows at every level, with some errors."""
    rng = random.Random(seed)
    settings = list(controls(features))
    while True:
        levels = rng.choice((4, 5)) if features.la57 else 4
        size = rng.choice(sizes(features))
        chosen = rng.choice(settings)
        entries = {}
        for level in range(levels, size - 1, -1):
            entry = rng.getrandbits(64) & 0x7FF0_0000_0000_0F78  # PWT PCD A D G AVL PKEY and what is ignored
            for bit, chance in ((0, 0.97), (1, 0.8), (2, 0.8), (63, 0.1)):  # P RW US XD
                entry |= (rng.random() < chance) << bit
            if level == size > 1:
                entry |= int(PS) | rng.getrandbits(1) << 12  # PAT
            if rng.random() < 0.04:
                must_be_0 = reserved_bits(level, level == size, features.maxphyaddr, pages_1g=features.pages_1g)
                bits = [bit for bit in range(64) if must_be_0 >> bit & 1]
                entry |= 1 << rng.choice(bits) if bits else 0
            entries[level] = entry
        vaddr, la57 = (VADDR_5_LEVELS, int(CR4.LA57)) if levels == 5 else (VADDR, 0)
        cr4 = chosen["cr4"] | la57
        pkru = rng.getrandbits(32) if cr4 & CR4.PKE else 0
        cpl, access = rng.choice((0, 3)), rng.choice(list(Access))
        yield Case(entries, access, cpl, vaddr, **chosen | {"cr4": cr4, "pkru": pkru})
