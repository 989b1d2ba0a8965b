"""Every legal combination of the inputs that decide one access (the bits of the leaf entry, the bits of an entry above
it, and the controls), and the outcome of each by the manual (SDM vol. 3, 4.5 to 4.8), for all entries at once.

A *forest* holds all entries of one shape in memory, each combination at an address of its own; a *setting* is
everything else: registers and access.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu import CR0, CR4, EFER, Access, PhysicalMemory, Registers
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE
from mmu.state import Status

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

MAXPHYADDR = 40  # the only one that Unicorn knows
RAM_BYTES = 16 << 30
P, RW, US, A, D, PS, XD = 1, 2, 4, 1 << 5, 1 << 6, 1 << 7, 1 << 63
KEY = 9
#: The tables are within [TABLES, 16 MiB); the code that an engine runs lies below, the pages above.
TABLES = 0x20_0000
CODE_PDPT, CODE_PADDR = 0x10_0000, 0x11_0000
#: Where a supervisor and a user run code, in every forest (index 0 of the top table).
CODE = {0: 0x40_0000, 3: 0x40_1000}
#: The cases of one top table, which take the upper half of the tables below.
CHUNK, FIRST = 256, 256
OFFSET = 0x128
#: Pages of each size: where the first lies, and how many frames are used in turn.
PAGES = {1: (0x1000_0000, 1024), 2: (0x2000_0000, 200), 3: (0x4000_0000, 15)}


# ---- entries


@dataclass(frozen=True)
class Shape:
    """``levels`` 4 or 5; the levels of the two entries that vary."""

    levels: int
    directory: int
    leaf: int

    def __str__(self) -> str:
        return f"{self.levels} levels, {self.directory} over {self.leaf}"


SHAPES = [Shape(4, 2, 1), Shape(4, 3, 2), Shape(4, 4, 3)]
FAR_SHAPES = [Shape(4, 3, 1), Shape(4, 4, 1), Shape(4, 4, 2)]
LA57_SHAPES = [Shape(5, leaf + 1, leaf) for leaf in (1, 2, 3)] + [Shape(5, 5, leaf) for leaf in (1, 2, 3)]


def union(*bits: int) -> Iterator[int]:
    """Every subset of these bits."""
    for chosen in product(*((0, bit) for bit in bits)):
        yield sum(chosen)


def leaf_entries(level: int) -> list[int]:
    """All of P RW US XD A D, a reserved bit of each kind, and two protection keys; without an address."""
    size = PS if level > 1 else 0
    kinds = [1 << 45] + ([1 << 13] if level > 1 else [])
    entries = [P | size | rest | key << 59 for rest in union(RW, US, XD, A, D) for key in (0, KEY)]
    entries += [P | size | reserved | rest | KEY << 59 for reserved in kinds for rest in union(RW, US, XD, A, D)]
    # of an entry that is not present nothing else is looked at
    return entries + [0, RW | US, XD | 1 << 45 | size, (1 << 64) - 2]


def directory_entries(level: int) -> list[int]:
    """All of P RW US XD A, and each kind of reserved bit; without an address."""
    kinds = [1 << 51] + ([PS] if level >= 4 else [])
    entries = [P | rest for rest in union(RW, US, XD, A)]
    entries += [P | reserved | rest for reserved in kinds for rest in union(RW, US, XD, A)]
    return entries + [0, (1 << 64) - 2]


class Forest:
    """All pairs of one shape; ``directory`` and ``leaf`` are the two entries of each case, ``vaddrs`` its address."""

    def __init__(self, ram: PhysicalMemory, shape: Shape) -> None:
        self.ram, self.shape = ram, shape
        pairs = list(product(directory_entries(shape.directory), leaf_entries(shape.leaf)))
        self.size = len(pairs)
        self.vaddrs: Words = np.zeros(self.size, dtype=np.uint64)
        self.directory, self.leaf = (np.array(column, dtype=np.uint64) for column in zip(*pairs, strict=True))
        self.directory_at, self.leaf_at = (np.zeros(self.size, dtype=np.int64) for _ in range(2))
        #: (CR3, first case, end) of each top table
        self.chunks: list[tuple[int, int, int]] = []
        self._next_table = TABLES
        self._write_code_tables()
        for start in range(0, self.size, CHUNK):
            self._plant(start, min(start + CHUNK, self.size))
        assert self._next_table <= 16 << 20
        self._words = ram.words[TABLES >> 3 : self._next_table >> 3]
        self.pristine = self._words.copy()

    def _write_code_tables(self) -> None:
        """PDPT, PD and PT for two pages of code, for a supervisor and for a user; and a PML4 for five levels."""
        write = self.ram.write_u64
        for table in range(2):
            write(CODE_PDPT + 0x1000 * table + (0 if table == 0 else 8 * 2), CODE_PDPT + 0x1000 * (table + 1) | A | 7)
        write(CODE_PDPT + 0x2000, CODE_PADDR | A | D | P)
        write(CODE_PDPT + 0x2008, CODE_PADDR | A | P | US)
        write(CODE_PDPT + 0x3000, CODE_PDPT | A | 7)

    def _plant(self, start: int, end: int) -> None:
        """A top table, and one for each level below; entries above the directory and below it are open."""
        shape, words = self.shape, self.ram.words
        levels = range(shape.levels, shape.leaf - 1, -1)
        tables = {level: self._next_table + 0x1000 * n for n, level in enumerate(levels)}
        self._next_table += 0x1000 * len(tables)
        top = tables[shape.levels]
        self.chunks.append((top, start, end))
        words[top >> 3] = (CODE_PDPT if shape.levels == 4 else CODE_PDPT + 0x3000) | A | 7
        slots = np.arange(FIRST, FIRST + end - start)
        vaddrs = np.full(end - start, OFFSET, dtype=np.uint64)
        for level in range(shape.levels, 0, -1):
            shift = np.uint64(12 + 9 * (level - 1))
            index = slots if level <= shape.directory else np.ones_like(slots)
            vaddrs |= index.astype(np.uint64) << shift
            if level in tables:
                at = (tables[level] >> 3) + index
                words[at] = self._entries(level, tables, start, end)
                if level == shape.directory:
                    self.directory_at[start:end] = at - (TABLES >> 3)
                elif level == shape.leaf:
                    self.leaf_at[start:end] = at - (TABLES >> 3)
        bits = 48 if shape.levels == 4 else 57
        negative = vaddrs >> np.uint64(bits - 1) == 1
        vaddrs[negative] |= np.uint64((1 << 64) - (1 << bits))
        self.vaddrs[start:end] = vaddrs

    def _entries(self, level: int, tables: dict[int, int], start: int, end: int) -> Words:
        if level == self.shape.leaf:
            first, frames = PAGES[level]
            page_bytes = 1 << (12 + 9 * (level - 1))
            pages = first + np.arange(start, end) % frames * page_bytes
            self.leaf[start:end] |= np.where(self.leaf[start:end] & np.uint64(P), pages.astype(np.uint64), 0)
            return self.leaf[start:end]
        if level == self.shape.directory:
            entries = self.directory[start:end]
            entries |= np.where(entries & np.uint64(P), np.uint64(tables[level - 1]), 0).astype(np.uint64)
            return entries
        return np.full(end - start, tables[level - 1] | A | 7, dtype=np.uint64)

    def restore(self) -> None:
        """Undo what walks did to the tables."""
        self._words[:] = self.pristine

    def tables(self) -> Words:
        """The tables as they are now."""
        return self._words


# ---- settings


@dataclass(frozen=True)
class Setting:
    """Registers (CR3 apart) and an access."""

    registers: Registers
    access: Access


def key_bits(rights: int) -> int:
    """A PKRU or PKRS that gives KEY these two bits (AD, WD), and key 0 the two others."""
    return rights << 2 * KEY | (rights ^ 3)


def settings(
    *,
    levels: int = 4,
    wp: tuple[bool, ...] = (False, True),
    nxe: tuple[bool, ...] = (False, True),
    smep: tuple[bool, ...] = (False, True),
    pkru: tuple[int | None, ...] = (None, 0, 1, 2, 3),
    pkrs: tuple[int | None, ...] = (None,),
    implicit: tuple[bool, ...] = (False,),
) -> Iterator[Setting]:
    """Every combination of the controls, SMAP (off, on, on with AC), privilege and access; None: a feature is off."""
    la57 = CR4.LA57 if levels == 5 else 0
    for w, n, e, (smap, ac), user, supervisor, i in product(
        wp, nxe, smep, ((False, False), (True, False), (True, True)), pkru, pkrs, implicit
    ):
        cr4 = CR4_LONG_MODE | la57 | CR4.SMEP * e | CR4.SMAP * smap
        cr4 |= CR4.PKE * (user is not None) | CR4.PKS * (supervisor is not None)
        for cpl, access in product((0, 3), Access):
            yield Setting(
                Registers(
                    cr3=0,
                    cr0=CR0_LONG_MODE if w else CR0_LONG_MODE & ~CR0.WP,
                    cr4=cr4,
                    efer=EFER_LONG_MODE if n else EFER_LONG_MODE & ~EFER.NXE,
                    cpl=cpl,
                    ac=ac,
                    pkru=0 if user is None else key_bits(user),
                    pkrs=0 if supervisor is None else key_bits(supervisor),
                    maxphyaddr=MAXPHYADDR,
                    implicit=i,
                ),
                access,
            )


# ---- what the manual says


@dataclass(frozen=True)
class Expected:
    """For each case: a Status, the address, the error code, the level of the entry that decided; and the tables."""

    status: npt.NDArray[np.int64]
    paddr: Words
    error_code: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    tables: Words

    def differences(self, outcomes: npt.NDArray[np.void], tables: Words) -> list[str]:
        """The differences from the expected result, in words (empty if there are none)."""
        found: dict[str, Any] = {name: getattr(self, name) for name in ("status", "paddr", "error_code", "level")}
        wrong = [f"{name} of cases {np.flatnonzero(outcomes[name] != value)[:5]}" for name, value in found.items()
                 if (outcomes[name] != value).any()]  # fmt: skip
        if not np.array_equal(tables, self.tables):
            wrong.append(f"the table words {np.flatnonzero(tables != self.tables)[:5]}")
        return wrong


def has(entries: Words, bits: int) -> Flags:
    return (entries & np.uint64(bits)).astype(bool)


class Manual:
    """The rules, applied to all cases of a forest."""

    def __init__(self, forest: Forest) -> None:
        self.forest, shape = forest, forest.shape
        directory, leaf = forest.directory, forest.leaf
        high = (1 << 52) - (1 << MAXPHYADDR)
        low = {1: 0, 2: 0xFF << 13, 3: 0x1_FFFF << 13}[shape.leaf]
        self.missing = (~has(directory, P), ~has(leaf, P))
        self.reserved = (has(directory, high | (PS if shape.directory >= 4 else 0)), has(leaf, high | low))
        self.has_xd = (has(directory, XD), has(leaf, XD))
        self.user_address = has(directory & leaf, US)
        self.writable = has(directory & leaf, RW)
        self.no_execute = self.has_xd[0] | self.has_xd[1]
        self.key = ((leaf >> np.uint64(59)) & np.uint64(15)).astype(np.int64)
        offset = np.uint64((1 << (12 + 9 * (shape.leaf - 1))) - 1)
        address = np.uint64((1 << 52) - 1) & ~(offset | np.uint64(0xFFF))
        self.paddr = (leaf & address) | (forest.vaddrs & offset)

    def _allowed_by_mode(self, registers: Registers, access: Access, user: bool) -> Flags:
        """4.6.1."""
        nxe = bool(registers.efer & EFER.NXE)
        if user:
            denied = {Access.READ: ~self.user_address, Access.WRITE: ~self.user_address | ~self.writable}
            return ~denied[access] if access in denied else self.user_address & ~(self.no_execute & nxe)
        if access == Access.FETCH:
            return ~(self.no_execute & nxe) & ~(self.user_address & bool(registers.cr4 & CR4.SMEP))
        smap = bool(registers.cr4 & CR4.SMAP) and not (registers.ac and not registers.implicit)
        allowed = ~(self.user_address & smap)
        if access == Access.WRITE and registers.cr0 & CR0.WP:
            allowed &= self.writable
        return allowed

    def _denied_by_key(self, registers: Registers, access: Access, user: bool) -> Flags:
        """4.6.2."""
        denied = np.zeros(self.forest.size, dtype=bool)
        if access == Access.FETCH:
            return denied
        wp = bool(registers.cr0 & CR0.WP)
        for enabled, register, pages, write_disable in (
            (registers.cr4 & CR4.PKE, registers.pkru, self.user_address, wp or user),
            (registers.cr4 & CR4.PKS, registers.pkrs, ~self.user_address, wp),
        ):
            if not enabled:
                continue
            bits = register >> 2 * self.key
            no_access = bits & 1 == 1
            if access == Access.WRITE and write_disable:
                no_access |= bits & 2 == 2
            denied |= pages & no_access
        return denied

    def expect(self, setting: Setting) -> Expected:
        """Faults in the order of the walk: at each level not present, then reserved; at the end the rights of all."""
        registers, access, forest = setting.registers, setting.access, self.forest
        nxe = bool(registers.efer & EFER.NXE)
        user = registers.cpl == 3 and not (registers.implicit and access != Access.FETCH)
        base = (access == Access.WRITE) * 2 | user * 4
        base |= (access == Access.FETCH and (nxe or bool(registers.cr4 & CR4.SMEP))) * 16
        reserved = [bits | xd if not nxe else bits for bits, xd in zip(self.reserved, self.has_xd, strict=True)]
        key = self._denied_by_key(registers, access, user)
        mode = ~self._allowed_by_mode(registers, access, user)
        conditions = [self.missing[0], reserved[0], self.missing[1], reserved[1], key, mode]
        error_code = np.select(conditions, [base, base | 9, base, base | 9, base | 0x21, base | 1], 0)
        faults = np.logical_or.reduce(conditions)
        at_directory = self.missing[0] | reserved[0]
        tables = forest.pristine.copy()
        done = ~faults
        tables[forest.directory_at[done]] |= np.uint64(A)
        tables[forest.leaf_at[done]] |= np.uint64(A | (D if access == Access.WRITE else 0))
        return Expected(
            status=np.where(faults, Status.PAGE_FAULT, Status.OK),
            paddr=np.where(faults, np.uint64(0), self.paddr),
            error_code=error_code,
            level=np.where(at_directory, forest.shape.directory, forest.shape.leaf),
            tables=tables,
        )


def sample(rng: random.Random, manual: Manual, count: int) -> list[int]:
    """Some cases; half of them in which nothing is missing or reserved, as these are few in a matrix of all."""
    every = range(manual.forest.size)
    good = np.flatnonzero(~np.logical_or.reduce([*manual.missing, *manual.reserved])).tolist()
    chosen = {rng.choice(every) for _ in range(count // 2)} | {rng.choice(good) for _ in range(count - count // 2)}
    return sorted(chosen)
