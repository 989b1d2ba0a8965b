"""Which processes a picture draws with all their tables, and which together in one row, so that hundreds have room."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from emu.trace.pt.tables import PageTablesSnapshot, children

#: So many processes are drawn with all their tables.
FULL = 12


class _Look(NamedTuple):
    """What a picture would show of a process."""

    name: str
    #: Its own tables by level, and the tables of others that it links, each with the level and index of its entry.
    own: tuple[int, ...]
    links: frozenset[tuple[int, int, int]]


class Row(NamedTuple):
    """Address spaces that stand in one place: one, or several in which the same tables of others are linked."""

    spaces: tuple[int, ...]
    #: Whether all tables are drawn; of several never.
    full: bool
    #: The one drawn with all tables that all of these look like, if there is such a one.
    like: int | None = None


def rows_of(snapshot: PageTablesSnapshot, owner: Callable[[int], int], chosen: Collection[int] = ()) -> list[Row]:
    """The rows of a picture, in the order of their first address spaces.

    Up to FULL processes, each has its own.  Of more, the first of those that look alike is drawn, up to FULL of these,
    and the others are together.  Where there are ``chosen`` ones, these are drawn, and all others are together.
    ``owner`` says in which address space a table stands.
    """
    processes = [number for number, space in enumerate(snapshot.spaces) if not space.is_region]
    if not chosen and len(processes) <= FULL:
        return [Row((number,), True) for number in range(len(snapshot.spaces))]
    looks = {number: _look(snapshot, owner, number) for number in processes}
    drawn: dict[_Look, int] = {}
    for number in chosen or processes:
        if number in looks and (chosen or len(drawn) < FULL):
            drawn.setdefault(looks[number], number)
    full = set(chosen) or set(drawn.values())
    together: dict[object, list[int]] = {}
    for number in processes:
        if number not in full:
            look = looks[number]
            together.setdefault(look if look in drawn else frozenset(at for _, _, at in look.links), []).append(number)
    rows = [Row((number,), True) for number in range(len(snapshot.spaces)) if number in full or number not in looks]
    rows += [Row(tuple(group), False, drawn.get(looks[group[0]])) for group in together.values()]
    return sorted(rows, key=lambda row: row.spaces[0])


def _look(snapshot: PageTablesSnapshot, owner: Callable[[int], int], number: int) -> _Look:
    space, own, links = snapshot.spaces[number], [0] * snapshot.levels, set()
    for at in own_tables(snapshot, owner, number):
        table = snapshot.tables[at]
        own[table.level - 1] += 1
        for index, child in children(table.level, table.entries):
            if child in snapshot.tables and owner(child) != number:
                links.add((table.level, index, child))
    return _Look(space.name, tuple(own), frozenset(links))


def own_tables(snapshot: PageTablesSnapshot, owner: Callable[[int], int], number: int) -> list[int]:
    """The tables that stand in an address space, its top table first."""
    found, seen = [], set()
    todo = [snapshot.spaces[number].pgd]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        found.append(at)
        table = snapshot.tables[at]
        todo += [
            child
            for _, child in children(table.level, table.entries)
            if child in snapshot.tables and owner(child) == number
        ]
    return found
