"""The page tables that a trace tells of, at the moment at which most was shared: from the entries that walks read, and
those that links and unlinks wrote.

A walk says what the entry at each level held, an entry says where the next table is.  What no walk has read the trace
does not know: tables of pages that nobody touched, and what was freed since its entry was read, unless a later entry
says that something else is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emu.mm.pagetable import ADDRESS, LEVEL_OF, P
from emu.trace.pictures.rows import Rows
from emu.trace.pt.tables import PageTablesSnapshot, Space, Table
from mmu.entries import PS
from mmu.registers import CR4, CR4_LONG_MODE, Registers

#: What of an entry says where it leads.
_KEPT = np.uint64(ADDRESS | P | int(PS))
#: A page's number has at most so many bits (57 of the address, with five levels).
_PAGE_SHIFT, _NUMBER_BITS = 12, 45


class Change(NamedTuple):
    """An entry as it is from event ``seq`` on; ``prefix`` is the number of what it translates, in units of its span.

    ``leads`` is the part of it that says where it leads.
    """

    seq: int
    space: int
    level: int
    prefix: int
    leads: int


class HostLink(NamedTuple):
    """An entry of a region's own tables that points at the shared table, of this level."""

    region: str
    entry_paddr: int
    entry: int
    level: int


class Knowledge:
    """Collects what is known of the tables, event by event."""

    def __init__(self, levels: int) -> None:
        self._levels = levels
        #: The bits of an address that the tables translate.
        self._translated = (1 << (_PAGE_SHIFT + 9 * levels)) - 1
        #: (process, CR3) by number.
        self._spaces: dict[tuple[int, int], int] = {}
        self._last: dict[tuple[int, int, int], int] = {}
        self._changes: list[Change] = []
        #: By process: from which event on it runs in the space of which number.
        self._runs: dict[int, list[tuple[int, int]]] = {}
        #: The last exit of a thread of a process.
        self._exits: dict[int, int] = {}
        #: (event, 1 for a link and -1 for an unlink, process).
        self._links: list[tuple[int, int, int]] = []
        self._hosts: dict[tuple[str, int], tuple[int, HostLink]] = {}
        self._shared: set[int] = set()

    def add(self, rows: Rows) -> None:
        """What a batch tells."""
        walks = rows.of("walk")
        changes: list[Change] = []
        if len(walks):
            spaces = self._space_numbers(rows, walks)
            for level in range(1, self._levels + 1):
                changes += self._entries(rows, walks, spaces, level)
        for kind, count in (("link", 1), ("unlink", -1)):
            for at, fields in rows.fields(kind):
                self._links.append((int(rows["seq"][at]), count, int(rows["pid"][at])))
                changes += self._linked(rows, at, fields)
        for at, _ in rows.fields("exit"):
            self._exits[int(rows["pid"][at])] = int(rows["seq"][at])
        self._changes += sorted(changes)

    def _space_numbers(self, rows: Rows, walks: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
        """The space of each walk: the process and its CR3, without the bits that are none of the address."""
        pids, tops = rows["pid"][walks], rows["cr3"][walks] & np.uint64(ADDRESS)
        seqs = rows["seq"][walks]
        packed = pids.astype(np.uint64) << np.uint64(40) | tops >> np.uint64(_PAGE_SHIFT)
        turns = np.flatnonzero(np.concatenate([[True], packed[1:] != packed[:-1]]))
        numbers = np.zeros(len(turns), np.uint64)
        for turn, at in enumerate(turns.tolist()):
            space = (int(pids[at]), int(tops[at]))
            number = numbers[turn] = self._spaces.setdefault(space, len(self._spaces))
            runs = self._runs.setdefault(space[0], [])
            if not runs or runs[-1][1] != number:
                runs.append((int(seqs[at]), int(number)))
        return np.repeat(numbers, np.diff([*turns.tolist(), len(walks)]))

    def _entries(
        self, rows: Rows, walks: npt.NDArray[np.intp], spaces: npt.NDArray[np.uint64], level: int
    ) -> Iterable[Change]:
        """The entries of a level that are other than they were when they were read before."""
        read = rows.has(f"entry_{level}")[walks]
        here, numbers = walks[read], spaces[read]
        if not len(here):
            return []
        entries = rows[f"entry_{level}"][here] & _KEPT
        entries[(entries & np.uint64(P)) == 0] = 0
        if level - 1 in LEVEL_OF.values():
            shared = rows["shared_level"][here] == level - 1
            self._shared.update((np.unique(entries[shared]) & np.uint64(ADDRESS)).tolist())
        prefixes = (rows["vaddr"][here] & np.uint64(self._translated)) >> np.uint64(_PAGE_SHIFT + 9 * (level - 1))
        keys = numbers << np.uint64(_NUMBER_BITS) | prefixes
        order = np.argsort(keys, kind="stable")
        keys, entries, seqs = keys[order], entries[order], rows["seq"][here][order]
        other = np.concatenate([[True], (keys[1:] != keys[:-1]) | (entries[1:] != entries[:-1])])
        found = []
        low = (1 << _NUMBER_BITS) - 1
        for key, entry, seq in zip(keys[other].tolist(), entries[other].tolist(), seqs[other].tolist(), strict=True):
            found += self._changed(Change(seq, key >> _NUMBER_BITS, level, key & low, entry))
        return found

    def _changed(self, change: Change) -> list[Change]:
        key = change[1:4]
        if self._last.get(key) == change.leads:
            return []
        self._last[key] = change.leads
        return [change]

    def _linked(self, rows: Rows, at: int, fields: dict[str, Any]) -> list[Change]:
        """A link or unlink wrote an entry one level above the shared table."""
        level, after, seq = LEVEL_OF[fields["level"]], fields["after"], int(rows["seq"][at])
        if after & P:
            self._shared.add(after & ADDRESS)
        if fields["host_entry_paddr"] is not None and after & P:
            found = HostLink(fields["region"], fields["host_entry_paddr"], fields["host_entry"], level)
            self._hosts.setdefault((found.region, found.entry_paddr), (seq, found))
        number = self._space_at(int(rows["pid"][at]), seq)
        if number is None:
            return []
        prefix = (fields["vaddr"] & self._translated) >> (_PAGE_SHIFT + 9 * level)
        leads = after & int(_KEPT) if after & P else 0
        self._last[number, level + 1, prefix] = leads
        return [Change(seq, number, level + 1, prefix, leads)]

    # -- the moment ------------------------------------------------------------------------------------------------

    def moment(self, last: int) -> int:
        """The last event before less is shared than the most that ever was; where nothing is, before fewer processes
        live; at most event ``last``.
        """
        ends = {pid: seq for pid, seq in self._exits.items() if pid in self._runs}
        steps = [
            (min(seq, ends.get(pid, seq)) if step < 0 else seq, step)  # who ends unlinks after that
            for seq, step, pid in self._links
        ] or [*((runs[0][0], 1) for runs in self._runs.values()), *((seq, -1) for seq in ends.values())]
        most = now = 0
        found = last
        for seq, step in sorted(steps):
            if step < 0 and now == most:
                found = seq - 1
            now += step
            if step > 0 and now >= most:
                most, found = now, last
        return found

    def _space_at(self, pid: int, seq: int) -> int | None:
        """Where a process runs when an event happens."""
        return next((number for since, number in reversed(self._runs.get(pid, [])) if since <= seq), None)

    def snapshot(self, last: int, names: dict[int, str], **about: Any) -> PageTablesSnapshot:
        """The tables at event ``last``; ``about`` goes to the snapshot, ``names`` are those of processes."""
        living = [pid for pid in self._runs if self._exits.get(pid, last + 1) > last]
        running = {pid: number for pid in living if (number := self._space_at(pid, last)) is not None}
        tops = {number: top for (_, top), number in self._spaces.items()}
        users: dict[int, list[int]] = {}
        for pid, number in sorted(running.items()):
            users.setdefault(tops[number], []).append(pid)
        builder = _Builder(self._levels, self._shared, {number: tops[number] for number in running.values()})
        builder.add(change for change in self._changes if change.seq <= last)
        spaces = [Space(names.get(pids[0], "") or "?", tuple(pids), top) for top, pids in users.items()]
        for seq, host in self._hosts.values():
            top = host.entry_paddr & ~0xFFF
            if seq <= last and (host.entry & ADDRESS) in builder.tables and builder.put(host, top):
                spaces.append(Space(f"region {host.region}", (), top))
        cr4 = CR4_LONG_MODE | (CR4.LA57 if self._levels == 5 else 0)
        return PageTablesSnapshot(
            spaces=tuple({space.pgd: space for space in spaces}.values()),
            tables=builder.reached([space.pgd for space in spaces]),
            registers=Registers(cr3=0, cr4=cr4),
            **about,
        )


class _Builder:
    """Puts entries where they are, from the top down."""

    def __init__(self, levels: int, shared: set[int], tops: dict[int, int]) -> None:
        self._levels, self._shared = levels, shared
        self._tops = tops
        self.tables: dict[int, Table] = {}
        for top in tops.values():
            self._table(top, levels)

    def _table(self, at: int, level: int) -> Table:
        found = self.tables.get(at)
        if found is None:
            found = self.tables[at] = Table(level, np.zeros(512, np.uint64))
        return found

    def add(self, changes: Iterable[Change]) -> None:
        """The entries, the oldest first."""
        levels: dict[int, dict[tuple[int, int], Change]] = {level: {} for level in range(1, self._levels + 1)}
        for change in changes:
            if change.space in self._tops:
                levels[change.level].pop((change.space, change.prefix), None)
                levels[change.level][change.space, change.prefix] = change
        at = {(space, 0): top for space, top in self._tops.items()}
        for level in range(self._levels, 0, -1):
            at = self._level(level, levels[level].values(), at)

    def _level(
        self, level: int, changes: Iterable[Change], at: dict[tuple[int, int], int]
    ) -> dict[tuple[int, int], int]:
        """Write the entries of a level into their tables; gives the tables of the next one, by what they translate."""
        below: dict[tuple[int, int], int] = {}
        holder: dict[int, tuple[int, int]] = {}
        written: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for change in changes:
            table, index = at.get((change.space, change.prefix >> 9)), change.prefix & 511
            if table is None:
                continue
            self.tables[table].entries[index] = change.leads
            for key in written.get((table, index), ()):
                below.pop(key, None)
            if not change.leads & P or level == 1 or (level < 4 and change.leads & int(PS)):
                continue
            child, key = change.leads & ADDRESS, (change.space, change.prefix)
            before = holder.get(child)
            if before not in (None, (table, index)) and child not in self._shared:
                self._forget(before, written, below)  # that entry was read before the table was freed
            holder[child] = table, index
            known = self.tables.get(child)
            if known is not None and known.level != level - 1:
                self.tables[table].entries[index] = 0
                continue
            self._table(child, level - 1)
            below[key] = child
            written.setdefault((table, index), []).append(key)
        return self._everybody(below, at, level)

    def _forget(
        self, place: tuple[int, int] | None, written: dict[tuple[int, int], list[tuple[int, int]]],
        below: dict[tuple[int, int], int],
    ) -> None:  # fmt: skip
        if place is not None:
            self.tables[place[0]].entries[place[1]] = 0
            for key in written.pop(place, ()):
                below.pop(key, None)

    def _everybody(
        self, below: dict[tuple[int, int], int], at: dict[tuple[int, int], int], level: int
    ) -> dict[tuple[int, int], int]:
        """Who shares a table reaches what is below it, though another one may have walked there."""
        sharers: dict[int, list[tuple[int, int]]] = {}
        for key, table in at.items():
            sharers.setdefault(table, []).append(key)
        for table, keys in sharers.items():
            if len(keys) < 2:
                continue
            entries = self.tables[table].entries
            for index in np.flatnonzero(entries).tolist():
                leads = int(entries[index])
                if level > 1 and not (level < 4 and leads & int(PS)):
                    for space, prefix in keys:
                        below[space, prefix << 9 | index] = leads & ADDRESS
        return below

    def put(self, host: HostLink, top: int) -> bool:
        """The region's entry, if nothing else is known to be there."""
        known = self.tables.get(top)
        if known is not None and known.level != host.level + 1:
            return False
        self._table(top, host.level + 1).entries[(host.entry_paddr & 0xFFF) >> 3] = host.entry & int(_KEPT)
        return True

    def reached(self, tops: Iterable[int]) -> dict[int, Table]:
        """The tables to which the spaces lead."""
        found: dict[int, Table] = {}
        todo = [*tops]
        while todo:
            at = todo.pop()
            if at in found:
                continue
            table = found[at] = self.tables[at]
            if table.level > 1:
                leading = table.entries[(table.entries & np.uint64(int(PS))) == 0] if table.level < 4 else table.entries
                todo += [
                    child for child in (leading[leading != 0] & np.uint64(ADDRESS)).tolist() if child in self.tables
                ]
        return dict(sorted(found.items()))
