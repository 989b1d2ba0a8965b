"""The sections of the report's page: for each a sentence, a picture, and a table with the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape

from emu.linux.event_kind import printable
from emu.trace.pictures import answered, heat, timeline
from emu.trace.pictures.charts import Bar, draw_bars, more, share
from emu.trace.pictures.look import FAULTS, MISSES, WALKS
from emu.trace.pictures.programs import Function
from emu.trace.pictures.tally import Tally
from emu.trace.report.html import details, scrolled, table
from emu.trace.report.svg import Style
from emu.trace.report.units import plural

#: Functions in the picture, and in the table.
_DRAWN, _LISTED = 15, 40
#: Processes in a table, and in one that is open at first.
_PROCESSES, _OPEN = 100, 24


def soft(text: str) -> str:
    """A remark."""
    return f'<p class="soft">{escape(text)}</p>'


def _picture(svg: str, label: str, rows: str) -> str:
    return scrolled(svg, label) + details("The same as a table", scrolled(rows, f"{label}, as a table"))


def counts(tally: Tally) -> str:
    """Events by kind, and by process."""
    rows = [(kind, f"{count:,}") for kind, count in sorted(tally.kinds.items(), key=lambda one: (-one[1], one[0]))]
    by_kind = table("events by kind", ("event", "count"), rows, numbers=(1,), mono=(0,))
    kinds = ("walk", "fault", "fill", "flush", "syscall_enter", "switch")
    shown = [
        (f"{pid}", printable(tally.functions.path_of(pid)), *(f"{tally.by_pid[pid, kind]:,}" for kind in kinds))
        for pid in tally.pids[:_PROCESSES]
    ]
    caption = "events by process" + more(len(tally.pids) - len(shown))
    headers = ("process", "program", *kinds)
    by_pid = scrolled(table(caption, headers, shown, numbers=range(2, len(headers)), mono=(1,)), "events by process")
    if len(shown) > _OPEN:
        by_pid = details(plural(len(tally.pids), "process", "processes"), by_pid)
    return f'<div class="beside"><div>{by_kind}</div>{by_pid}</div>'


def time_lines(tally: Tally) -> str:
    """Walks, misses and faults over time."""
    found = timeline.timelines(tally)
    headers, rows = timeline.rows_of(found)
    remark = "Each measure has one scale for all processes."
    if not tally.kinds["access"]:
        remark += " TLB misses are known where accesses are recorded (--tlb and --trace-accesses); here they are not."
    rows_of = table("", headers, rows, numbers=range(len(headers)), label="time lines")
    return soft(remark) + _picture(timeline.draw_timelines(found), "time lines", rows_of)


def addresses(tally: Tally) -> str:
    """The heat map."""
    found = heat.heat_map(tally)
    if not found.starts:
        return "<p>No event in this trace has an address.</p>"
    headers = ("from the address", found.what, "first, by instruction", "last", "shared region")
    rows = table("", headers, heat.rows_of(found), numbers=(1, 2, 3), mono=(0,), label="addresses over time")
    remark = "All processes together; the regions are those that occur, and a gap is where addresses are left out."
    return soft(remark) + _picture(heat.draw_heat(found), "heat map of addresses over time", rows)


def walks(tally: Tally) -> str:
    """Where they were answered."""
    rows = answered.answers(tally)
    if not rows:
        return "<p>This trace has no walks and no accesses.</p>"
    counted = [(question, answer, f"{number:,}") for question, answer, number in rows]
    headers = ("question", "answer", "count")
    listed = table("", headers, counted, numbers=(2,), label="where walks were answered")
    number = sum(tally.answers.values())
    told = f"{plural(number, 'walk', 'walks')} read {answered.loads(tally):,} entries."
    return (
        soft(told) + _picture(answered.draw_answers(rows), "where walks were answered", listed) + _who_for_whom(tally)
    )


def _who_for_whom(tally: Tally) -> str:
    if not tally.first_pids:
        return ""
    both = sorted(tally.first_pids.items(), key=lambda one: (-one[1], one[0]))[:_LISTED]
    rows = [(f"{pid}", f"{first}", f"{count:,}") for (pid, first), count in both]
    headers = ("process that walked", "process that had the page put there", "walks")
    return table("walks in shared tables", headers, rows, numbers=(2,))


def faults(tally: Tally) -> str:
    """How they were resolved."""
    sums: Counter[str] = Counter()
    for (_, how), count in tally.resolved.items():
        sums[how] += count
    if not sums:
        return "<p>This trace has no faults.</p>"
    order = sorted(sums, key=lambda how: (-sums[how], how))
    bars = [Bar(how, ((sums[how], FAULTS),), f"{sums[how]:,} ({share(sums[how], sums.total())})") for how in order]
    told = f"{plural(sums.total(), 'fault', 'faults')}, most of them resolved as {order[0]}."
    rows = [
        (f"{pid}", *(f"{tally.resolved[pid, how]:,}" for how in order))
        for pid in sorted({pid for pid, _ in tally.resolved})[:_PROCESSES]
    ]
    listed = table("", ("process", *order), rows, numbers=range(1, 1 + len(order)), label="faults by process")
    return _picture(draw_bars("faults by how they were resolved", told, bars), "faults", listed)


def shootdowns(tally: Tally) -> str:
    """What they cost, by reason; who told whom."""
    found = tally.shootdowns
    if not found.count:
        why = "that takes several vCPUs, and a change that others must learn of"
        return f"<p>There are no shootdowns in this trace: {why}.</p>"
    order = sorted(found.count, key=lambda reason: (-found.cost_cycles[reason], reason))
    bars, rows = [], []
    for reason in order:
        sender, cost = found.sender_cycles[reason], found.cost_cycles[reason]
        words = f"{cost:,} cycles, {found.count[reason]:,}×"
        bars.append(Bar(printable(reason), ((sender, WALKS), (cost - sender, MISSES)), words))
        rows.append(
            (
                printable(reason), f"{found.count[reason]:,}", f"{cost:,}", f"{sender:,}", f"{cost - sender:,}",
                f"{found.pages[reason]:,}", f"{found.everything[reason]:,}",
            )
        )  # fmt: skip
    legend = (("the sender's cycles", WALKS), ("the receivers'", MISSES))
    told = (
        f"{plural(found.count.total(), 'shootdown', 'shootdowns')} cost {found.cost_cycles.total():,} cycles on all"
        f" vCPUs; the dearest reason is {printable(order[0])}."
    )
    missed = f" {found.not_told:,} times a vCPU that should have been told was not." if found.not_told else ""
    headers = ("reason", "shootdowns", "cycles", "the sender's", "the receivers'", "pages", "of everything")
    listed = table("", headers, rows, numbers=range(1, 7), label="shootdowns by reason")
    svg = draw_bars("cost of shootdowns by reason", told, bars, legend)
    return soft(told + missed) + _picture(svg, "cost of shootdowns", listed) + _told(found.told)


def _told(told: Mapping[tuple[int, int], int]) -> str:
    senders, receivers = sorted({one for one, _ in told}), sorted({one for _, one in told})
    rows = [(f"vCPU {s}", *(f"{told.get((s, r), 0):,}" for r in receivers)) for s in senders]
    headers = ("sender", *(f"to vCPU {receiver}" for receiver in receivers))
    matrix = table("who told whom, how often", headers, rows, numbers=range(1, len(headers)))
    return scrolled(matrix, "senders and receivers")


def functions(tally: Tally) -> str:
    """The busiest ones."""
    found = tally.functions.busiest()
    if not found:
        return "<p>This trace has no walks, misses or faults.</p>"
    several = len({one.program for one in found}) > 1
    bars = [Bar(_name(one, several), _parts(one), _words(one)) for one in found[:_DRAWN]]
    top = found[0]
    told = f"Most walks, {top.counts[0]:,}, are in {_name(top, several)}."
    legend = (("walks", WALKS), ("of these, walks that ended in a fault", FAULTS))
    rows = [
        (printable(one.program), printable(one.name), *(f"{count:,}" for count in one.counts))
        for one in found[:_LISTED]
    ]
    listed = table(
        "functions" + more(len(found) - len(rows)), ("program", "function", "walks", "TLB misses", "faults"), rows,
        numbers=(2, 3, 4), mono=(0, 1),
    )  # fmt: skip
    svg = draw_bars("the busiest functions", told, bars, legend)
    return soft(told) + _picture(svg, "the busiest functions", listed) + _sources(tally)


def _sources(tally: Tally) -> str:
    told = [f"<li>{escape(printable(line))}</li>" for line in tally.functions.sources()]
    return f"<ul>{''.join(told)}</ul>" if told else ""


def _name(one: Function, several: bool) -> str:
    program = one.program.rpartition("/")[2]
    return printable(f"{one.name} ({program})" if several and program else one.name)


def _parts(one: Function) -> tuple[tuple[float, Style], ...]:
    walked, _, faulted = one.counts
    return (max(walked - faulted, 0), WALKS), (faulted, FAULTS)


def _words(one: Function) -> str:
    walked, missed, faulted = one.counts
    told = [plural(walked, "walk", "walks"), plural(missed, "miss", "misses") if missed else ""]
    told.append(plural(faulted, "fault", "faults") if faulted else "")
    return ", ".join(filter(None, told))
