"""The report: one page with everything that a trace shows, which needs no network and no script.

Each picture has a title and a description, and a table with the same below it.
"""

from __future__ import annotations

from html import escape

from emu.linux.event_kind import printable
from emu.trace.pictures import known, parts
from emu.trace.pictures.charts import cut
from emu.trace.pictures.tally import Tally
from emu.trace.report.html import document
from emu.trace.report.units import plural, size_text

#: Characters of the command in the title.
_COMMAND = 200


def report_page(found: Tally) -> str:
    """HTML 5 of what was counted in a trace."""
    tables = known.tables_of(found)
    sections = [
        ("counts", "What there is", parts.counts(found)),
        ("time", "Walks, misses and faults over time", parts.time_lines(found)),
        ("addresses", "Addresses over time", parts.addresses(found)),
        ("walks", "Where walks were answered", parts.walks(found)),
        ("faults", "How faults were resolved", parts.faults(found)),
        ("tables", "Page tables, and who shares them", known.picture(tables)),
        ("bytes", "What the tables take", known.sizes(tables)),
        ("shootdowns", "What shootdowns cost", parts.shootdowns(found)),
        ("functions", "The busiest functions", parts.functions(found)),
    ]
    command = cut(printable(" ".join(found.header["command"])), _COMMAND)
    return document(f"trace of {command}", _opening(found), sections)


def _opening(found: Tally) -> str:
    tlb, cpus = found.header.get("tlb", "off"), found.header.get("cpus", 1)
    told = (
        f"{plural(found.events, 'event', 'events')} of {plural(len(found.pids), 'process', 'processes')}:"
        f" {plural(found.kinds['walk'], 'walk', 'walks')} and {plural(found.kinds['fault'], 'fault', 'faults')} in"
        f" {plural(found.clock, 'instruction', 'instructions')}, {found.time / 1e6:,.3f} ms of the machine's time."
    )
    machine = (
        f"{size_text(found.header['memory_bytes'])} of memory, {plural(cpus, 'vCPU', 'vCPUs')},"
        f" {'no modelled TLB' if tlb == 'off' else f'TLB {tlb}'}, tables of {found.levels} levels, seed"
        f" {found.header['seed']}, unimmu {found.header['unimmu']}."
    )
    end = (
        "" if found.complete else "<p><b>The end of the trace is missing: the run was stopped, or is going on.</b></p>"
    )
    return f'<p>{escape(told)}</p>{end}<p class="soft">{escape(printable(machine))}</p>'
