"""The MMU's events as lines of JSON.  A traced run spends most of its time here: about 2 µs an event."""

from __future__ import annotations

from collections.abc import Sequence

from mmu.events import EventKind, Events
from mmu.registers import Access

_ACCESS = tuple(access.name.lower() for access in Access)
_RIGHTS = tuple("".join(c if n >> i & 1 else "-" for i, c in enumerate("rwx")) for n in range(8))
_MAX_LEVELS = 5

_WHO = '{"seq":%d,"clock":%d,"pid":%d,"event":'
_FILL = _WHO + '"fill","access":"%s","vaddr":"%#x","paddr":"%#x","level":%d,"rights":"%s"}'
_FAULT = _WHO + '"fault","access":"%s","vaddr":"%#x","level":%d,"error_code":%d}'
_ACCESSED_DIRTY = (
    _WHO + '"accessed_dirty","access":"%s","vaddr":"%#x","level":%d,"entry_paddr":"%#x","before":"%#x","after":"%#x"}'
)
_ACCESS_HIT = _WHO + '"access","access":"%s","vaddr":"%#x","tlb_level":%d,"paddr":"%#x"}'
_ACCESS_WALK = _WHO + '"access","access":"%s","vaddr":"%#x","tlb_level":null}'
_FLUSH = _WHO + '"flush","vaddr":"%#x","length":%d}'
_FLUSH_ALL = _WHO + '"flush","all":true}'
_CR3_LOAD = _WHO + '"cr3_load","before":"%#x","after":"%#x"}'


def _walk_template(first: int, last: int, cached: bool, end: str) -> str:
    """A walk that read the entries of the levels from ``first`` down to ``last``; ``cached``: not from the top."""
    entries = ",".join(f'"{level}":"%#x"' for level in range(first, last - 1, -1))
    start = '"walk","access":"%s","vaddr":"%#x","cpl":%d,"cr3":"%#x",'
    behind = f'"cached_level":{first + 1},' if cached else ""
    return _WHO + start + behind + f'"level":{last},"entries":{{{entries}}},{end}}}'


def _walk_templates(end: str) -> dict[tuple[int, int, bool], str]:
    """By first level, last level, and whether the entry above the first came from a paging-structure cache."""
    pairs = [(first, last) for first in range(1, _MAX_LEVELS + 1) for last in range(1, first + 1)]
    return {(*pair, cached): _walk_template(*pair, cached, end) for pair in pairs for cached in (False, True)}


_WALK = _walk_templates('"paddr":"%#x","rights":"%s"')
_FAILED_WALK = _walk_templates('"error_code":%d')


def _levels_read(entries: Sequence[int], last: int) -> int:
    """The level at which a walk began: every entry before the last is present, so not 0.

    ``entries``: level 5 first.
    """
    level = _MAX_LEVELS
    for entry in entries:
        if entry or level == last:
            return level
        level -= 1
    return last


def format_events(events: Events, seq: int, levels: int = 4, *, cpus: int = 1) -> list[str]:
    """A line for each event, numbered from ``seq`` on; the tables have ``levels`` levels.

    Of several vCPUs each line says which one it was.
    """
    lines = _format(events, seq, levels)
    if cpus == 1:
        return lines
    return [
        line.replace('"event":', f'"cpu":{cpu},"event":', 1)
        for cpu, line in zip(events["cpu"].tolist(), lines, strict=True)
    ]


def _format(events: Events, seq: int, levels: int) -> list[str]:
    lines = []
    columns = [events[name].tolist() for name in ("kind", "clock", "asid", "access", "level", "cpl", "error_code")]
    columns += [events[name].tolist() for name in ("cr3", "vaddr", "paddr", "rights", "old", "new", "length")]
    columns += [events["entries"][:, level - 1].tolist() for level in range(_MAX_LEVELS, 0, -1)]
    fill, walk, fault = int(EventKind.FILL), int(EventKind.WALK), int(EventKind.FAULT)
    accessed_dirty, flush, cr3_load = int(EventKind.ACCESSED_DIRTY), int(EventKind.FLUSH), int(EventKind.CR3_LOAD)
    one_access = int(EventKind.ACCESS)
    for (
        kind, clock, pid, access, level, cpl, error_code, cr3, vaddr, paddr, rights, old, new, length, *entries
    ) in zip(*columns, strict=True):  # fmt: skip
        who = (seq, clock, pid)
        if kind == walk:
            first = _levels_read(entries, level)
            read = entries[_MAX_LEVELS - first : _MAX_LEVELS + 1 - level]
            shape = (first, level, first != levels)
            if rights:
                line = _WALK[shape] % (*who, _ACCESS[access], vaddr, cpl, cr3, *read, paddr, _RIGHTS[rights])
            else:
                line = _FAILED_WALK[shape] % (*who, _ACCESS[access], vaddr, cpl, cr3, *read, error_code)
        elif kind == one_access:
            if level:
                line = _ACCESS_HIT % (*who, _ACCESS[access], vaddr, level, paddr)
            else:
                line = _ACCESS_WALK % (*who, _ACCESS[access], vaddr)
        elif kind == fill:
            line = _FILL % (*who, _ACCESS[access], vaddr, paddr, level, _RIGHTS[rights])
        elif kind == fault:
            line = _FAULT % (*who, _ACCESS[access], vaddr, level, error_code)
        elif kind == accessed_dirty:
            line = _ACCESSED_DIRTY % (*who, _ACCESS[access], vaddr, level, paddr, old, new)
        elif kind == flush:
            line = _FLUSH % (*who, vaddr, length) if length else _FLUSH_ALL % who
        elif kind == cr3_load:
            line = _CR3_LOAD % (*who, old, new)
        else:
            raise ValueError(f"format_events: there is no event kind {kind}")
        lines.append(line)
        seq += 1
    return lines
