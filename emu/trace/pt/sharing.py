"""Who shares which tables, and what tables take in all: read from the entries alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from emu.trace.pt.tables import PageTablesSnapshot, Space, address_of, children
from mmu.memory import PAGE_SIZE


@dataclass(frozen=True)
class Link:
    """How address spaces, mostly one, come to a shared table: the entry that points at it, and the first address behind
    it.
    """

    spaces: frozenset[int]
    entry_paddr: int
    vaddr: int


@dataclass(frozen=True)
class SharedTable:
    """A table that several address spaces come to, each by an entry of its own."""

    paddr: int
    level: int
    tables: int  # with all that are below it
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Sharing:
    """All that is shared.

    ``spaces_of`` has the numbers of the address spaces that reach a table; ``apart`` is how many tables each address
    space would have by itself.
    """

    spaces_of: Mapping[int, frozenset[int]]
    roots: tuple[SharedTable, ...]
    apart: tuple[int, ...]

    @property
    def shared(self) -> frozenset[int]:
        """Every table that more than one address space reaches."""
        return frozenset(table for table, spaces in self.spaces_of.items() if len(spaces) > 1)


def find_sharing(snapshot: PageTablesSnapshot) -> Sharing:
    """Follow the entries of every address space, table by table; no table is looked at twice."""
    below = {at: list(children(table.level, table.entries)) for at, table in snapshot.tables.items()}
    spaces_of: dict[int, frozenset[int]] = {}
    for number, space in enumerate(snapshot.spaces):
        spaces_of[space.pgd] = spaces_of.get(space.pgd, frozenset()) | {number}
    by_level = sorted(snapshot.tables, key=lambda at: -snapshot.tables[at].level)
    for at in by_level:
        mine = spaces_of.get(at, frozenset())
        for _, child in below[at]:
            others = spaces_of.get(child)
            spaces_of[child] = mine if others is None or others is mine else others | mine
    sizes: dict[int, int] = {}
    for at in reversed(by_level):
        sizes[at] = 1 + sum(sizes.get(child, 0) for _, child in below[at])
    reached = {at: spaces for at, spaces in spaces_of.items() if at in snapshot.tables}
    return Sharing(
        spaces_of=reached,
        roots=tuple(_roots(snapshot, reached, below, sizes)),
        apart=tuple(sizes[space.pgd] + space.kept for space in snapshot.spaces),
    )


def _roots(
    snapshot: PageTablesSnapshot,
    spaces_of: Mapping[int, frozenset[int]],
    below: Mapping[int, list[tuple[int, int]]],
    sizes: Mapping[int, int],
) -> list[SharedTable]:
    """The shared tables that are reached from tables which fewer share."""
    links: dict[int, list[Link]] = {}
    bases = {space.pgd: 0 for space in snapshot.spaces}
    for at in sorted(bases.keys() | spaces_of.keys(), key=lambda at: (-snapshot.tables[at].level, at)):
        for index, child in below[at]:
            low = address_of(index, snapshot.tables[at].level, bases[at])
            bases.setdefault(child, low)
            if len(spaces_of.get(child, ())) > len(spaces_of[at]):
                links.setdefault(child, []).append(Link(spaces_of[at], at + 8 * index, low))
    return [
        SharedTable(at, snapshot.tables[at].level, sizes[at], tuple(sorted(found, key=lambda link: min(link.spaces))))
        for at, found in links.items()
    ]


@dataclass(frozen=True)
class Account:
    """Bytes of tables of one address space: those that only it reaches, those that others reach too, and what it would
    have without sharing.
    """

    title: str
    own: int
    shared: int
    apart: int


@dataclass(frozen=True)
class Accounts:
    """Of every address space, and in all; a region's own tables count where they are, and are not needed apart."""

    rows: tuple[Account, ...]
    as_they_are: int
    apart: int


def accounts(snapshot: PageTablesSnapshot, sharing: Sharing) -> Accounts:
    """What the tables take, and what they would take if every process had its own."""
    own, shared = [0] * len(snapshot.spaces), [0] * len(snapshot.spaces)
    for spaces, tables in Counter(sharing.spaces_of.values()).items():
        for number in spaces:
            counted = own if len(spaces) == 1 else shared
            counted[number] += tables
    rows = tuple(
        Account(
            space.title, (own[i] + space.kept) * PAGE_SIZE, shared[i] * PAGE_SIZE,
            0 if space.is_region else sharing.apart[i] * PAGE_SIZE,
        )
        for i, space in enumerate(snapshot.spaces)
    )  # fmt: skip
    kept = sum(space.kept for space in snapshot.spaces)
    return Accounts(rows, (len(snapshot.tables) + kept) * PAGE_SIZE, sum(row.apart for row in rows))


def who(snapshot: PageTablesSnapshot, numbers: frozenset[int]) -> str:
    """Address spaces in words: processes by their numbers, then the others by their names."""
    spaces: list[Space] = [snapshot.spaces[number] for number in sorted(numbers)]
    pids = sorted(pid for space in spaces for pid in space.pids)
    names = [space.title for space in spaces if not space.pids]
    words = [f"{'process' if len(pids) == 1 else 'processes'} {spelled(pids)}"] if pids else []
    return " and ".join([*words, *names])


def spelled(pids: list[int]) -> str:
    """Numbers, with those that follow each other as a range: ``100-107, 110``."""
    runs: list[list[int]] = []
    for pid in pids:
        if runs and pid == runs[-1][-1] + 1:
            runs[-1].append(pid)
        else:
            runs.append([pid])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
