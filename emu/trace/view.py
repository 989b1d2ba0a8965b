"""A trace as text: a line an event, and below a walk the entries that it read, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from emu.linux.event_kind import printable
from emu.trace.choice import ALL, Choice
from emu.trace.schema import Schema
from emu.trace.sentences import size

_INDENT = " " * 45


class Reader(Protocol):
    """Events, and what they are events of."""

    header: dict[str, Any]
    schema: Schema

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The events in their order."""


def view(reader: Reader, choice: Choice = ALL) -> Iterator[str]:
    """The lines of the text, for the chosen events."""
    header = reader.header
    several = is_of_several(header)
    machine = [f"{size(header['memory_bytes'])} of memory", f"seed {header['seed']}", f"unimmu {header['unimmu']}"]
    if several:
        machine.insert(0, f"{header['cpus']} CPUs")
    if header.get("tlb", "off") != "off":
        machine.insert(-1, f"TLB {header['tlb']}")
    yield printable(f"{' '.join(header['command'])}   ({', '.join(machine)})")
    yield heading(several)
    for event in reader:
        if choice.takes(event):
            yield from lines_of(event, reader.schema, several)


def is_of_several(header: dict[str, Any]) -> bool:
    """Whether the machine has several vCPUs, so that each event says which one it was."""
    return bool(header.get("cpus", 1) > 1)


def heading(several: bool) -> str:
    """What stands above :func:`lines_of`."""
    return f"{'SEQ':>9} {'INSTRUCTIONS':>13} {'CPU ' if several else ''}{'PID':>5}  EVENT"


def lines_of(event: dict[str, Any], schema: Schema, several: bool) -> Iterator[str]:
    """An event: a line, and perhaps more below it."""
    kind = event["event"]
    lines = schema[kind].describe(event)
    yield f"{event['seq']:9} {event['clock']:13,} {_who(event, several)}  {kind:15}{lines[0]}"
    yield from (_INDENT + line for line in lines[1:])


def _who(event: dict[str, Any], several: bool) -> str:
    """The process, and its thread, if that has another number."""
    pid, tid = event.get("pid", ""), event.get("tid")
    who = f"{pid if tid in (None, pid) else f'{pid}/{tid}':>5}"
    return f"{event['cpu']:3} {who}" if several else who
