"""Where walks were answered: which cache had the way's beginning, at which level the walk ended, whose page it was."""

from __future__ import annotations

from collections import Counter

from emu.mm.pagetable import level_name
from emu.trace.pictures.charts import Bar, draw_bars, share
from emu.trace.pictures.look import FAULTS, MISSES, OTHER, WALKS
from emu.trace.pictures.tally import Tally
from emu.trace.report.svg import Style
from emu.trace.report.units import plural, size_text

#: (question, answer, count)
Row = tuple[str, str, int]
_BEGAN, _ENDED, _READ = "where walks began", "where walks ended", "entries that a walk read"
_TLB, _SHARED = "which TLB answered an access", "whose page a walk in a shared table found"


def answers(tally: Tally) -> list[Row]:
    """All questions with their answers; those of which the trace says nothing are left out."""
    began: Counter[int] = Counter()
    ended: Counter[tuple[int, int]] = Counter()
    read: Counter[int] = Counter()
    for (cached, level, size), count in tally.answers.items():
        began[cached] += count
        ended[size, level if not size else 0] += count
        read[(cached - 1 if cached else tally.levels) - level + 1] += count
    rows = [(_BEGAN, _began(cached, tally.levels), began[cached]) for cached in sorted(began)]
    rows += [
        (_ENDED, _ended(size, level, tally.levels), ended[size, level]) for size, level in sorted(ended, key=_order)
    ]
    rows += [(_READ, plural(number, "entry", "entries"), read[number]) for number in sorted(read)]
    names = {1: "the L1 TLB", 2: "the L2 TLB", 0: "none: a miss"}
    rows += [(_TLB, name, tally.tlb_levels[level]) for level, name in names.items() if tally.tlb_levels.total()]
    return rows + _whose(tally)


def loads(tally: Tally) -> int:
    """All entries that walks read."""
    return sum(
        ((cached - 1 if cached else tally.levels) - level + 1) * count
        for (cached, level, _), count in tally.answers.items()
    )


def _order(key: tuple[int, int]) -> tuple[bool, int, int]:
    return (not key[0], *key)


def _began(cached: int, levels: int) -> str:
    if not cached:
        return f"at the {level_name(levels, levels).upper()}: no structure cache helped"
    return f"behind a cached {level_name(cached, levels).upper()} entry"


def _ended(size: int, level: int, levels: int) -> str:
    return (
        f"at a page of {size_text(size)}" if size else f"in a fault, at the {level_name(level, levels).upper()} entry"
    )


def _whose(tally: Tally) -> list[Row]:
    shared = tally.shared_walks.total()
    if not shared:
        return []
    own = sum(count for (pid, first), count in tally.first_pids.items() if pid == first)
    others = tally.first_pids.total() - own
    return [
        (_SHARED, "another process had put it there", others),
        (_SHARED, "this process had put it there", own),
        (_SHARED, "not known, or a fault", shared - own - others),
    ]


def draw_answers(rows: list[Row]) -> str:
    """An SVG of bars, a group a question."""
    bars: list[Bar] = []
    sums: Counter[str] = Counter()
    for question, _, count in rows:
        sums[question] += count
    before = ""
    for question, answer, count in rows:
        if question != before:
            bars.append(Bar(question))
            before = question
        # each group has a scale of its own: its parts are of one whole
        part = count / (sums[question] or 1)
        bars.append(Bar(answer, ((part, _style(answer)),), f"{count:,} ({share(count, sums[question])})"))
    return draw_bars("where walks were answered", describe(rows), bars)


def _style(answer: str) -> Style:
    if answer.startswith("in a fault"):
        return FAULTS
    return (
        MISSES if "miss" in answer else OTHER if "no structure" in answer or answer.startswith("not known") else WALKS
    )


def describe(rows: list[Row]) -> str:
    """The most frequent answer of each question."""
    told = []
    for question in dict.fromkeys(row[0] for row in rows):
        counts = {answer: count for asked, answer, count in rows if asked == question}
        answer = max(counts, key=lambda one: counts[one])
        told.append(
            f"{question[0].upper()}{question[1:]}: mostly {answer} ({share(counts[answer], sum(counts.values()))})."
        )
    return " ".join(told) or "There are no walks."
