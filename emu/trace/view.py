"""A trace as text: a line an event, and below a walk the entries that it read, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from emu.linux.event_kind import printable
from emu.trace.reader import TraceReader
from emu.trace.sentences import size

_INDENT = " " * 45


def view(reader: TraceReader, kinds: Collection[str] = (), pids: Collection[int] = ()) -> Iterator[str]:
    """The lines of the text; ``kinds`` and ``pids`` choose events (empty: all)."""
    header = reader.header
    several = header.get("cpus", 1) > 1
    machine = [f"{size(header['memory_bytes'])} of memory", f"seed {header['seed']}", f"unimmu {header['unimmu']}"]
    if several:
        machine.insert(0, f"{header['cpus']} CPUs")
    if header.get("tlb", "off") != "off":
        machine.insert(-1, f"TLB {header['tlb']}")
    yield printable(f"{' '.join(header['command'])}   ({', '.join(machine)})")
    yield f"{'SEQ':>9} {'INSTRUCTIONS':>13} {'CPU ' if several else ''}{'PID':>5}  EVENT"
    for event in reader:
        kind = event["event"]
        if (not kinds or kind in kinds) and (not pids or event.get("pid") in pids or event.get("tid") in pids):
            lines = reader.schema[kind].describe(event)
            yield f"{event['seq']:9} {event['clock']:13,} {_who(event, several)}  {kind:15}{lines[0]}"
            yield from (_INDENT + line for line in lines[1:])


def _who(event: dict[str, Any], several: bool) -> str:
    """The process, and its thread, if that has another number."""
    pid, tid = event.get("pid", ""), event.get("tid")
    who = f"{pid if tid in (None, pid) else f'{pid}/{tid}':>5}"
    return f"{event['cpu']:3} {who}" if several else who
