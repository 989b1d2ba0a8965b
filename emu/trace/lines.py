"""The MMU's events as lines of JSON.  A traced run spends most of its time here: about 2 µs an event."""

from __future__ import annotations

from mmu.events import EventKind, Events
from mmu.registers import Access

_ACCESS = tuple(access.name.lower() for access in Access)
_RIGHTS = tuple("".join(c if n >> i & 1 else "-" for i, c in enumerate("rwx")) for n in range(8))
_TOP_LEVEL = 4

_WHO = '{"seq":%d,"clock":%d,"pid":%d,"event":'
_FILL = _WHO + '"fill","access":"%s","vaddr":"%#x","paddr":"%#x","level":%d,"rights":"%s"}'
_FAULT = _WHO + '"fault","access":"%s","vaddr":"%#x","level":%d,"error_code":%d}'
_ACCESSED_DIRTY = (
    _WHO + '"accessed_dirty","access":"%s","vaddr":"%#x","level":%d,"entry_paddr":"%#x","before":"%#x","after":"%#x"}'
)
_FLUSH = _WHO + '"flush","vaddr":"%#x","length":%d}'
_FLUSH_ALL = _WHO + '"flush","all":true}'
_CR3_LOAD = _WHO + '"cr3_load","before":"%#x","after":"%#x"}'


def _walk_template(last_level: int, end: str) -> str:
    """A walk that read the entries from the top level to ``last_level``."""
    entries = ",".join(f'"{level}":"%#x"' for level in range(_TOP_LEVEL, last_level - 1, -1))
    start = '"walk","access":"%s","vaddr":"%#x","cpl":%d,"cr3":"%#x",'
    return _WHO + start + f'"level":{last_level},"entries":{{{entries}}},{end}}}'


_LEVELS = range(_TOP_LEVEL + 1)
_WALK = tuple(_walk_template(level, '"paddr":"%#x","rights":"%s"') for level in _LEVELS)
_FAILED_WALK = tuple(_walk_template(level, '"error_code":%d') for level in _LEVELS)


def format_events(events: Events, seq: int) -> list[str]:
    """A line for each event, numbered from ``seq`` on."""
    lines = []
    columns = [events[name].tolist() for name in ("kind", "clock", "asid", "access", "level", "cpl", "error_code")]
    columns += [events[name].tolist() for name in ("cr3", "vaddr", "paddr", "rights", "old", "new", "length")]
    columns += [events["entries"][:, level - 1].tolist() for level in (4, 3, 2, 1)]
    fill, walk, fault = int(EventKind.FILL), int(EventKind.WALK), int(EventKind.FAULT)
    accessed_dirty, flush, cr3_load = int(EventKind.ACCESSED_DIRTY), int(EventKind.FLUSH), int(EventKind.CR3_LOAD)
    for (
        kind, clock, pid, access, level, cpl, error_code, cr3, vaddr, paddr, rights, old, new, length, *entries
    ) in zip(*columns, strict=True):  # fmt: skip
        who = (seq, clock, pid)
        if kind == walk:
            read = entries[: _TOP_LEVEL + 1 - level]
            if rights:
                line = _WALK[level] % (*who, _ACCESS[access], vaddr, cpl, cr3, *read, paddr, _RIGHTS[rights])
            else:
                line = _FAILED_WALK[level] % (*who, _ACCESS[access], vaddr, cpl, cr3, *read, error_code)
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
