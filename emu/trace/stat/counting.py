"""One pass over a trace, which counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from emu.trace.choice import ALL, Choice
from emu.trace.opened import Trace
from emu.trace.stat.codes import COLUMNS, Coder, numbers
from emu.trace.stat.counts import Counts
from emu.trace.stat.groupings import Grouping, some_of
from emu.trace.stat.tally import Tally


@dataclass(frozen=True)
class Totals:
    """What a trace has, or what is chosen of it."""

    counts: Counts
    #: Between the first event and the last, within what is chosen; of a region of interest, those within it.
    instructions: int
    #: What all shootdowns cost, and how many vCPUs they told.
    shootdown_cycles: int
    shootdown_receivers: int
    #: Whether the run was recorded to its end.
    complete: bool


def count(trace: Trace, coder: Coder, groupings: Sequence[Grouping] = (), choice: Choice = ALL) -> Totals:
    """Count the events of a trace, and give all to ``groupings`` too."""
    wanted = [*COLUMNS, "clock", "cost_cycles", "receivers", *choice.columns]
    region = choice.begin is None and choice.end is None and "region" in trace.header
    wanted += ["detail"] if region else []
    wanted += [column for grouping in groupings for column in grouping.columns]
    tally, counts = Tally("code"), Counts(trace.levels)
    cycles = receivers = 0
    first, last, end, within = None, 0, False, None
    for rows in trace.tables([*dict.fromkeys(wanted)]):
        if not rows.num_rows:
            continue
        codes, chosen = coder.codes(rows), choice.mask(rows)
        tally.add(*some_of(chosen, codes))
        for grouping in groupings:
            grouping.add(rows, codes, chosen)
        for name in ("cost_cycles", "receivers"):
            if rows.column(name).null_count < rows.num_rows:
                (values,) = some_of(chosen, numbers(rows.column(name)))
                if name == "receivers":
                    receivers += int(values.sum())
                else:
                    cycles += int(values.sum())
        first = rows.column("clock")[0].as_py() if first is None else first
        last, end = rows.column("clock")[-1].as_py(), rows.column("event")[-1].as_py() == "end"
        within = _within(rows.column("detail")[-1].as_py()) if end and region else None
    for code, number in tally.rows():
        counts.add(coder.facts(code), number)
    begin = max(first or 0, choice.begin or 0)
    until = last if choice.end is None else min(last, choice.end)
    return Totals(counts, max(until - begin, 0) if within is None else within, cycles, receivers, end)


def _within(detail: str | None) -> int | None:
    """How many instructions were in the region of interest, as the event `end` tells; None where it does not."""
    try:
        number = json.loads(detail or "")["instructions"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return number if isinstance(number, int) and number >= 0 else None
