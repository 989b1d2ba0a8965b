"""A file of page tables: JSON, which `unimmu pt --save` writes and any program can read (docs/page-tables.md).

    {"unimmu_page_tables": 1, "command": [...], "moment": "...", "instructions": N, "memory_bytes": N,
     "registers": {"cr0": "0x...", "cr4": "0x...", "efer": "0x...", "pat": "0x...", "pkru": "0x...",
                   "maxphyaddr": N, "pages_1g": true, "upper_g_reserved": false},
     "address_spaces": [{"name": "...", "pids": [N], "cr3": "0x...", "kept_tables": N,
                         "mappings": [["0xSTART", "0xEND", "rw-p", "NAME"], ...]}, ...],
     "tables": {"0xADDRESS": {"level": N, "entries": [[INDEX, "0xVALUE"], [INDEX, "0xVALUE", COUNT], ...]}, ...}}

Of a dump of a machine each address space has "cpus": [N] too, the vCPUs that had it loaded, and tables may be missing.

Numbers of 64 bits are strings in hexadecimal, since many readers of JSON have no such numbers.  Entries that are 0 are
left out.  With COUNT, so many entries follow each other, each larger than the one before by the bytes that one maps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from emu.mm.pagetable import P, span
from emu.trace.pt.tables import Entries, Mapped, PageTablesSnapshot, Space, Table, children
from mmu.memory import MAX_BYTES, PAGE_SIZE
from mmu.record import replace
from mmu.registers import Registers

VERSION = 1
_MARK = "unimmu_page_tables"
_HEX_REGISTERS = ("cr0", "cr4", "efer", "pat", "pkru")
_PLAIN_REGISTERS = ("maxphyaddr", "pages_1g", "upper_g_reserved")


class BadSnapshot(ValueError):
    """A file does not hold page tables as they are described here; the message says where."""


# -- writing -----------------------------------------------------------------------------------------------------------


def to_json(snapshot: PageTablesSnapshot) -> str:
    """The file's text, a line an address space and a line a table."""
    registers: dict[str, Any] = {name: hex(getattr(snapshot.registers, name)) for name in _HEX_REGISTERS}
    registers |= {name: getattr(snapshot.registers, name) for name in _PLAIN_REGISTERS}
    head = {
        _MARK: VERSION, "command": snapshot.command, "moment": snapshot.moment, "instructions": snapshot.instructions,
        "memory_bytes": snapshot.memory_bytes, "registers": registers,
    }  # fmt: skip
    spaces = ",\n".join(json.dumps(_space(space)) for space in snapshot.spaces)
    tables = ",\n".join(
        f'"{at:#x}": {json.dumps({"level": table.level, "entries": list(_runs(table))})}'
        for at, table in snapshot.tables.items()
    )
    return f'{json.dumps(head)[:-1]},\n"address_spaces": [\n{spaces}\n],\n"tables": {{\n{tables}\n}}}}\n'


def _space(space: Space) -> dict[str, Any]:
    loaded: dict[str, Any] = {} if space.cpus is None else {"cpus": space.cpus}
    return loaded | {
        "name": space.name, "pids": space.pids, "cr3": hex(space.pgd), "kept_tables": space.kept,
        "mappings": [[hex(m.start), hex(m.end), m.rights, m.name] for m in space.mappings],
    }  # fmt: skip


def _runs(table: Table) -> Iterator[list[Any]]:
    """The entries that are not 0; those that map pages one behind the other together."""
    step, first, last, count = span(table.level), -1, 0, 0
    for index in np.flatnonzero(table.entries).tolist():
        value = int(table.entries[index])
        if count and index == first + count and value == last + step and value & P:
            last, count = value, count + 1
            continue
        if count:
            yield _run(first, last - (count - 1) * step, count)
        first, last, count = index, value, 1
    if count:
        yield _run(first, last - (count - 1) * step, count)


def _run(first: int, value: int, count: int) -> list[Any]:
    return [first, hex(value), count] if count > 1 else [first, hex(value)]


# -- reading -----------------------------------------------------------------------------------------------------------


def from_json(text: str | bytes) -> PageTablesSnapshot:
    """What :func:`to_json` has written.  :class:`BadSnapshot` for anything else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSnapshot(f"it is not JSON: {error}") from None
    if not isinstance(document, dict) or _MARK not in document:
        _bad(f'it holds no page tables: there is no "{_MARK}"')
    if document[_MARK] != VERSION:
        _bad(f"its format is {document[_MARK]!r}, and this unimmu reads {VERSION}")
    memory = _number(document, "memory_bytes", MAX_BYTES)
    registers = _registers(_part(document, "registers", dict))
    spaces = tuple(_read_space(space) for space in _part(document, "address_spaces", list))
    tables = dict(_read_table(at, table) for at, table in _part(document, "tables", dict).items())
    if any(space.cpus is not None for space in spaces):
        registers = replace(registers, cpl=0)
    else:
        _check_whole(spaces, tables, memory)
    check_levels(spaces, tables, registers.levels)
    return PageTablesSnapshot(
        command=tuple(_words(document, "command")),
        moment=_part(document, "moment", str),
        instructions=_number(document, "instructions"),
        memory_bytes=memory,
        registers=registers,
        spaces=spaces,
        tables=tables,
    )


def _bad(why: str) -> NoReturn:
    raise BadSnapshot(why)


def _part(of: Any, name: str, kind: type) -> Any:
    if not isinstance(of, dict) or not isinstance(of.get(name), kind):
        _bad(f'"{name}" is missing, or is not what it should be')
    return of[name]


def _number(of: Any, name: str, most: int = 1 << 63) -> int:
    value = _part(of, name, int)
    if isinstance(value, bool) or not 0 <= value <= most:
        _bad(f'"{name}" is {value}, which cannot be')
    return int(value)


def _words(of: Any, name: str) -> list[str]:
    words = _part(of, name, list)
    if not all(isinstance(word, str) for word in words):
        _bad(f'"{name}" holds something that is no text')
    return list(words)


def _hex(text: Any, what: str) -> int:
    try:
        value = int(text, 16) if isinstance(text, str) else -1
    except ValueError:
        value = -1
    if value < 0 or value >> 64:
        _bad(f"{what}: {text!r} is no number of 64 bits in hexadecimal")
    return value


def _registers(given: dict[str, Any]) -> Registers:
    values: dict[str, Any] = {name: _hex(given.get(name), f"register {name}") for name in _HEX_REGISTERS}
    values["maxphyaddr"] = _number(given, "maxphyaddr")
    values |= {name: _part(given, name, bool) for name in _PLAIN_REGISTERS[1:]}
    try:
        return Registers(cr3=0, **values)
    except ValueError as error:
        _bad(f"the registers cannot be: {error}")


def _read_space(given: Any) -> Space:
    name = _part(given, "name", str)
    pids = _part(given, "pids", list)
    if not all(type(pid) is int and pid > 0 for pid in pids):
        _bad(f"address space {name!r}: a process number is no positive number")
    mappings: list[Mapped] = []
    for row in _part(given, "mappings", list):
        if not isinstance(row, list) or len(row) != 4 or not all(isinstance(cell, str) for cell in row):
            _bad(f"address space {name!r}: a mapping is not [start, end, rights, name]")
        start, end = (_hex(cell, f"address space {name!r}") for cell in row[:2])
        if start >= end:
            _bad(f"address space {name!r}: the mapping at {start:#x} ends before it begins")
        if mappings and start < mappings[-1].end:
            _bad(f"address space {name!r}: the mapping at {start:#x} begins before the one ahead of it ends")
        mappings.append(Mapped(start, end, row[2], row[3]))
    pgd = _hex(given.get("cr3"), f"address space {name!r}: cr3")
    cpus = _part(given, "cpus", list) if "cpus" in given else None
    if cpus is not None and not all(type(cpu) is int and cpu >= 0 for cpu in cpus):
        _bad(f"address space {name!r}: a vCPU has no such number")
    loaded = None if cpus is None else tuple(cpus)
    return Space(name, tuple(pids), pgd, _number(given, "kept_tables"), tuple(mappings), loaded)


def _read_table(where: str, given: Any) -> tuple[int, Table]:
    at, level = _hex(where, "a table"), _number(given, "level", 5)
    if at % PAGE_SIZE or not level:
        _bad(f"the table at {at:#x} does not begin at a multiple of {PAGE_SIZE}, or has no level")
    entries: Entries = np.zeros(512, dtype=np.uint64)
    for run in _part(given, "entries", list):
        if not isinstance(run, list) or len(run) not in (2, 3):
            _bad(f"the table at {at:#x}: an entry is not [index, value] or [index, value, count]")
        first, count, value = run[0], run[2] if len(run) == 3 else 1, _hex(run[1], f"the table at {at:#x}")
        if type(first) is not int or type(count) is not int or not 0 <= first < first + count <= 512:
            _bad(f"the table at {at:#x}: there are no {count!r} entries from {first!r} on")
        if (value + (count - 1) * span(level)) >> 64:
            _bad(f"the table at {at:#x}: entry {first + count - 1} has more than 64 bits")
        if entries[first : first + count].any():
            _bad(f"the table at {at:#x}: entry {first} stands there twice")
        entries[first : first + count] = np.uint64(value) + np.arange(count, dtype=np.uint64) * np.uint64(span(level))
    return at, Table(level, entries)


def _pointers(spaces: tuple[Space, ...], tables: Mapping[int, Table], levels: int) -> Iterator[tuple[int, int, str]]:
    """(table, level, what leads to it) of each CR3, and of each entry of a table that points at one."""
    yield from ((space.pgd, levels, f"CR3 of {space.name!r}") for space in spaces)
    for at, table in tables.items():
        for index, child in children(table.level, table.entries):
            yield child, table.level - 1, f"entry {index} of the table at {at:#x}"


def _check_whole(spaces: tuple[Space, ...], tables: Mapping[int, Table], memory: int) -> None:
    """Every table that something points at must be there; a process is in one address space."""
    pids = [pid for space in spaces for pid in space.pids]
    if len(pids) > len(set(pids)):
        _bad("a process is in two address spaces")
    for child, _, who in _pointers(spaces, tables, 0):
        if child + PAGE_SIZE > memory:
            if who.startswith("CR3"):
                _bad(f"{who} leads to {child:#x}, outside memory of {memory:#x} bytes")
        elif child not in tables:
            _bad(f"{who} leads to {child:#x}, and there is no such table")


def check_levels(spaces: tuple[Space, ...], tables: Mapping[int, Table], levels: int) -> None:
    """:class:`BadSnapshot` unless every table is reached at one level, and each CR3 leads to one that is there: then
    nobody who follows them goes in a circle."""
    for child, level, who in _pointers(spaces, tables, levels):
        if child in tables:
            if (other := tables[child].level) != level:
                _bad(f"{who} leads to {child:#x} as to a table of level {level}, and that has level {other}")
        elif who.startswith("CR3"):
            _bad(f"{who} leads to {child:#x}, and there is no such table")
