"""A trace as text: a line an event, and below a walk the entries that it read, in words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any

from emu.mm.pagetable import LEVEL_OF
from emu.trace.reader import TraceReader
from mmu.entries import ENTRY_NAME, PAGE_SIZE_NAME, decode, describe
from mmu.faults import ErrorCode

Event = dict[str, Any]

_INDENT = " " * 45
_ADDRESS = ((1 << 52) - 1) & -4096
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def view(reader: TraceReader, kinds: Collection[str] = (), pids: Collection[int] = ()) -> Iterator[str]:
    """The lines of the text; ``kinds`` and ``pids`` choose events (empty: all)."""
    header = reader.header
    several = header.get("cpus", 1) > 1
    machine = [f"{size(header['memory_bytes'])} of memory", f"seed {header['seed']}", f"unimmu {header['unimmu']}"]
    if several:
        machine.insert(0, f"{header['cpus']} CPUs")
    if header.get("tlb", "off") != "off":
        machine.insert(-1, f"TLB {header['tlb']}")
    yield f"{' '.join(map(str, header['command']))}   ({', '.join(machine)})"
    yield f"{'SEQ':>9} {'INSTRUCTIONS':>13} {'CPU ' if several else ''}{'PID':>5}  EVENT"
    for event in reader:
        kind = event["event"]
        if (not kinds or kind in kinds) and (not pids or event.get("pid") in pids):
            try:
                lines = describe_event(event)
                who = f"{_on(event, several)}{event.get('pid', ''):>5}"
                yield f"{event['seq']:9} {event['clock']:13,} {who}  {kind:15}{lines[0]}"
                yield from (_INDENT + line for line in lines[1:])
            except (KeyError, IndexError, TypeError, ValueError):
                raise reader.damaged() from None


def describe_event(event: Event) -> list[str]:
    """One event of a trace in words: a line, and perhaps more below it."""
    return _TEXTS.get(event["event"], _anything)(event)


def _on(event: Event, several: bool) -> str:
    return f"{event['cpu']:3} " if several else ""


def size(count: int) -> str:
    """A number of bytes in the largest unit that leaves a whole number."""
    unit = 0
    while count and count % 1024 == 0 and unit < len(_UNITS) - 1:
        count >>= 10
        unit += 1
    return f"{count} {_UNITS[unit]}"


def _number(text: str) -> int:
    return int(text, 16)


@functools.lru_cache(maxsize=1 << 14)  # the upper levels of most walks are the same
def _in_words(level: int, value: int) -> str:
    return f"{value:#x}  {describe(level, value)}"


def _entry(address: int, value: int, level: int) -> str:
    return f"[{address:#x}] = {_in_words(level, value)}"


def _fill(e: Event) -> list[str]:
    return [f"{e['access']} {e['vaddr']} -> {e['paddr']} in a {PAGE_SIZE_NAME[e['level']]} page, {e['rights']}"]


def _walk(e: Event) -> list[str]:
    """The header line, and each entry with the physical address it was read from."""
    if "paddr" in e:
        end = f"{e['paddr']}, {e['rights']}"
    else:
        end = f"page fault ({ErrorCode(e['error_code']).describe()})"
    start, table = f"CR3 {e['cr3']}", _number(e["cr3"]) & _ADDRESS
    if "cached_level" in e:
        start, table = f"a cached {ENTRY_NAME[e['cached_level']]}", -1  # where its table is was not recorded
    lines = [f"{e['access']} {e['vaddr']} through {start} -> {end}"]
    vaddr = _number(e["vaddr"])
    for name, text in e["entries"].items():
        level, value = int(name), _number(text)
        if table < 0:
            lines.append(f"[cached table] = {_in_words(level, value)}")
        else:
            lines.append(_entry(table | (vaddr >> 12 + 9 * (level - 1) & 511) << 3, value, level))
        table = value & _ADDRESS
    return lines


def _access(e: Event) -> list[str]:
    if e["tlb_level"] is None:
        return [f"{e['access']} {e['vaddr']} misses every TLB"]
    return [f"{e['access']} {e['vaddr']} hits in the L{e['tlb_level']} TLB -> {e['paddr']}"]


def _fault(e: Event) -> list[str]:
    return [f"#PF at {e['vaddr']}, error code {e['error_code']:#x}: {ErrorCode(e['error_code']).describe()}"]


def _accessed_dirty(e: Event) -> list[str]:
    level, before, after = e["level"], _number(e["before"]), _number(e["after"])
    old, new = decode(level, before), decode(level, after)
    bits = " and ".join(name for name in ("A", "D") if new.get(name) and not old.get(name))
    return [f"{bits} set by a {e['access']} of {e['vaddr']}", _entry(_number(e["entry_paddr"]), after, level)]


def _flush(e: Event) -> list[str]:
    if e.get("all"):
        return ["every translation"]
    start = _number(e["vaddr"])
    return [f"{start:#x} to {start + e['length']:#x}, {size(e['length'])}"]


def _cr3_load(e: Event) -> list[str]:
    return [f"{e['before']} -> {e['after']}"]


def _shootdown(e: Event) -> list[str]:
    """Who was told of what; on the second line at what cost, or who was not told."""
    what = f"{_number(e['vaddr']):#x}, {size(e['length'])}" if e["length"] else "everything"
    line = f"CPU {e['sender']} to {_cpus(e['receivers'])}: {what} of {e['mm']} ({e['reason']}, tlb={e['policy']})"
    if e["not_told"]:
        return [line, f"not told: {_cpus(e['not_told'])}"]
    pages = "everything" if e["pages"] is None else "1 page" if e["pages"] == 1 else f"{e['pages']} pages"
    return [line, f"each invalidates {pages}; {e['cost_cycles']:,} cycles, {e['sender_cycles']:,} of them the sender's"]


def _cpus(numbers: list[int]) -> str:
    return f"CPU {', '.join(map(str, numbers))}" if numbers else "nobody"


def _syscall_enter(e: Event) -> list[str]:
    return [f"{e['name']}({', '.join(e['arguments'])})"]


def _syscall_exit(e: Event) -> list[str]:
    return [f"{e['name']} = {e['errno'] if 'errno' in e else e['result']}"]


def _signal(e: Event) -> list[str]:
    return [f"{e['signal']}, code {e['code']}, address {e['addr']}" + (f", from {e['from']}" if e["from"] else "")]


def _supersede(e: Event) -> list[str]:
    return [f"takes the number of its leader, {e['leader']}"]


def _fork(e: Event) -> list[str]:
    return [f"a child: {e['child']}"]


def _exec(e: Event) -> list[str]:
    return [f"{e['path']}: {' '.join(e['argv'])}"]


def _exit(e: Event) -> list[str]:
    return [f"killed by {e['signal']}" if "signal" in e else f"status {e['status']}"]


def _linking(verb: str, preposition: str) -> Callable[[Event], list[str]]:
    """A shared table that is linked into a process, or unlinked from it."""

    def text(e: Event) -> list[str]:
        level = LEVEL_OF[e["level"]] + 1
        address, before, after = (_number(e[name]) for name in ("entry_paddr", "before", "after"))
        table = (before | after) & _ADDRESS
        lines = [
            f"the {e['level'].upper()} table at {table:#x} of region {e['region']} is {verb} {preposition} "
            f"{e['vaddr']} ({size(e['length'])}); sharers: {e['sharers']}",
            f"before: {_entry(address, before, level)}",
            f"after:  {_entry(address, after, level)}",
        ]
        if e["host_entry"] is not None:
            lines.append(
                f"copied from the host mm: {_entry(_number(e['host_entry_paddr']), _number(e['host_entry']), level)}"
            )
        return lines

    return text


def _end(e: Event) -> list[str]:
    return ["the recording is complete"]


def _anything(e: Event) -> list[str]:
    """An event of a kind that this program has never heard of."""
    known = ("seq", "clock", "pid", "cpu", "event")
    return [", ".join(f"{name} {value}" for name, value in e.items() if name not in known)]


_TEXTS: dict[str, Callable[[Event], list[str]]] = {
    "fill": _fill,
    "walk": _walk,
    "access": _access,
    "fault": _fault,
    "accessed_dirty": _accessed_dirty,
    "flush": _flush,
    "cr3_load": _cr3_load,
    "shootdown": _shootdown,
    "syscall_enter": _syscall_enter,
    "syscall_exit": _syscall_exit,
    "signal": _signal,
    "fork": _fork,
    "exec": _exec,
    "exit": _exit,
    "supersede": _supersede,
    "link": _linking("linked", "at"),
    "unlink": _linking("unlinked", "from"),
    "end": _end,
}
#: The kinds of events that this version records.
KINDS = tuple(_TEXTS)
