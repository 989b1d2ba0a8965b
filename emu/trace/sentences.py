"""What those events say that a text with names cannot tell: walks with their entries, faults, links, shootdowns."""

from __future__ import annotations

import functools
from collections.abc import Callable

from emu.linux.event_kind import Event
from emu.mm.pagetable import LEVEL_OF
from mmu.entries import ENTRY_NAME, PAGE_SIZE_NAME, decode, describe
from mmu.faults import ErrorCode

_ADDRESS = ((1 << 52) - 1) & -4096
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: int) -> str:
    """A number of bytes in the largest unit that leaves a whole number."""
    unit = 0
    while count and count % 1024 == 0 and unit < len(_UNITS) - 1:
        count >>= 10
        unit += 1
    return f"{count} {_UNITS[unit]}"


@functools.lru_cache(maxsize=1 << 14)  # the upper levels of most walks are the same
def _in_words(level: int, value: int) -> str:
    return f"{value:#x}  {describe(level, value)}"


def _entry(address: int, value: int, level: int) -> str:
    return f"[{address:#x}] = {_in_words(level, value)}"


# -- from the MMU ------------------------------------------------------------------------------------------------------


def fill(e: Event) -> list[str]:
    """Where to, in what page, with what rights."""
    return [f"{e['access']} {e['vaddr']:#x} -> {e['paddr']:#x} in a {PAGE_SIZE_NAME[e['level']]} page, {e['rights']}"]


def walk(e: Event) -> list[str]:
    """What was looked up and what came of it; below it each entry with the physical address that it was read from."""
    if "paddr" in e:
        end = f"{e['paddr']:#x}, {e['rights']}"
    else:
        end = f"page fault ({ErrorCode(e['error_code']).describe()})"
    start, table = f"CR3 {e['cr3']:#x}", e["cr3"] & _ADDRESS
    if "cached_level" in e:
        start, table = f"a cached {ENTRY_NAME[e['cached_level']]}", -1  # where its table is was not recorded
    vaddr = e["vaddr"]
    lines = [f"{e['access']} {vaddr:#x} through {start} -> {end}"]
    for level, value in e["entries"].items():
        if table < 0:
            lines.append(f"[cached table] = {_in_words(level, value)}")
        else:
            lines.append(_entry(table | (vaddr >> 12 + 9 * (level - 1) & 511) << 3, value, level))
        table = value & _ADDRESS
    return lines


def fault(e: Event) -> list[str]:
    """The address and the error code."""
    return [f"#PF at {e['vaddr']:#x}, error code {e['error_code']:#x}: {ErrorCode(e['error_code']).describe()}"]


def accessed_dirty(e: Event) -> list[str]:
    """Which bits an access set; below it the entry."""
    level = e["level"]
    old, new = decode(level, e["before"]), decode(level, e["after"])
    bits = " and ".join(name for name in ("A", "D") if new.get(name) and not old.get(name))
    return [f"{bits} set by a {e['access']} of {e['vaddr']:#x}", _entry(e["entry_paddr"], e["after"], level)]


def flush(e: Event) -> list[str]:
    """The range."""
    return [f"{e['vaddr']:#x} to {e['vaddr'] + e['length']:#x}, {size(e['length'])}"]


# -- from the kernel ---------------------------------------------------------------------------------------------------


def signal(e: Event) -> list[str]:
    """Which, with what siginfo, and from whom."""
    return [f"{e['signal']}, code {e['code']}, address {e['addr']:#x}" + (f", from {e['from']}" if e["from"] else "")]


def shootdown(e: Event) -> list[str]:
    """Who was told of what; on the second line at what cost, or who was not told."""
    what = f"{e['vaddr']:#x}, {size(e['length'])}" if e["length"] else "everything"
    line = f"CPU {e['sender']} to {_cpus(e['receivers'])}: {what} of {e['mm']} ({e['reason']}, tlb={e['policy']})"
    if e["not_told"]:
        return [line, f"not told: {_cpus(e['not_told'])}"]
    pages = "everything" if e["pages"] is None else "1 page" if e["pages"] == 1 else f"{e['pages']} pages"
    return [line, f"each invalidates {pages}; {e['cost_cycles']:,} cycles, {e['sender_cycles']:,} of them the sender's"]


def mapped(e: Event) -> list[str]:
    """Code of a file that is mapped."""
    begins = f" from {e['offset']:#x} on" if e["offset"] else ""
    said = f"; build ID {e['build_id']}" if "build_id" in e else ""
    return [f"{e['path']}{begins} is at {e['start']:#x} ({size(e['length'])}){said}"]


def _cpus(numbers: list[int]) -> str:
    return f"CPU {', '.join(map(str, numbers))}" if numbers else "nobody"


def linking(verb: str, preposition: str) -> Callable[[Event], list[str]]:
    """A shared table that is linked into a process, or unlinked from it."""

    def lines(e: Event) -> list[str]:
        level = LEVEL_OF[e["level"]] + 1
        address, before, after = e["entry_paddr"], e["before"], e["after"]
        table = (before | after) & _ADDRESS
        told = [
            f"the {e['level'].upper()} table at {table:#x} of region {e['region']} is {verb} {preposition} "
            f"{e['vaddr']:#x} ({size(e['length'])}); sharers: {e['sharers']}",
            f"before: {_entry(address, before, level)}",
            f"after:  {_entry(address, after, level)}",
        ]
        if e["host_entry"] is not None and e["host_entry_paddr"] is not None:
            told.append(f"copied from the host mm: {_entry(e['host_entry_paddr'], e['host_entry'], level)}")
        return told

    return lines
