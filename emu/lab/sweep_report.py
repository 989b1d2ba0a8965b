"""What a sweep came to, as findings: curves or bars of each measure along an axis, and a table of all points."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from emu.lab.curves import number_text
from emu.lab.finding import Curve, Finding, Listing, Picture
from emu.lab.spec import Measure, Spec
from emu.lab.store import Row
from emu.trace.report.units import plural

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)", re.IGNORECASE)
_UNITS = ("", "K", "M", "G", "T")
#: From where the largest value of an axis is so many times the least, the axis is logarithmic.
_WIDE = 8
#: Letters of a file's name.
_LONG = 100
#: So many values of an axis are named at it.
_NAMED = 10
#: The axis along which a mean is shown.
_SEED = "seed"


def findings(spec: Spec, rows: Sequence[Row]) -> list[Finding]:
    """One for each measure, and one for the points that have no result."""
    found = [_of_measure(spec, rows, measure, number) for number, measure in enumerate(spec.measures)]
    return [*found, *_without_result(rows)]


def _of_measure(spec: Spec, rows: Sequence[Row], measure: Measure, number: int) -> Finding:
    name, across = spec.called(measure.text), spec.across
    others = [name for name in spec.axes if name not in (spec.across, _SEED)]
    order = [value.label for value in spec.axes[across]]
    lines: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for row in rows:
        value = None if row.figures is None else measure.of(row.figures)
        if value is not None:
            line = lines.setdefault(tuple(row.task.labels[name] for name in others), {})
            line.setdefault(row.task.labels[across], []).append(value)
    means = {
        key: {label: sum(line[label]) / len(line[label]) for label in order if label in line}
        for key, line in lines.items()
    }
    listing = Listing(
        "",
        (*([spec.called(name) for name in others] or ["points"]), *(f"{across} {label}" for label in order)),
        [
            (*(key or ("all",)), *(number_of(line[label]) if label in line else "-" for label in order))
            for key, line in means.items()
        ],
        words=max(len(others), 1),
    )
    places = [_place(label) for label in order]
    pictures = []
    if None not in places and len(order) > 1:
        at = {label: float(place or 0) for label, place in zip(order, places, strict=True)}
        curves = [
            Curve(" ".join(key) or name, sorted((at[label], value) for label, value in line.items()))
            for key, line in means.items()
        ]
        wide = min(at.values()) >= 1 and max(at.values()) >= _WIDE * min(at.values())
        marks = [(at[label], label) for label in order] if len(order) <= _NAMED else ()
        pictures.append(Picture(name, spec.called(across), name, curves, wide, marks))
    seeds = len(spec.axes.get(_SEED, ()))
    remark = f"Means of {plural(seeds, 'seed', 'seeds')}." if seeds > 1 else ""
    if not means:
        remark = _why_nothing(measure, rows)
    figures = {" ".join(key) or "all": line for key, line in means.items()}
    return Finding(f"measure{number}", name, remark, [listing], pictures, figures)


def picture_names(spec: Spec) -> list[str]:
    """The name of the file of each measure's curves, which says what is in it."""
    names: list[str] = []
    for measure in spec.measures:
        name = re.sub(r"[^A-Za-z0-9._]+", "-", measure.text).strip("-.")[:_LONG] or "measure"
        taken = sum(1 for other in names if other.lower() == f"{name}.svg".lower())
        names.append(f"{name}-{taken + 1}.svg" if taken else f"{name}.svg")
    return names


def _why_nothing(measure: Measure, rows: Sequence[Row]) -> str:
    """Why no point has a value: none has a result, or there is no such figure, and which is named like it."""
    known = {name for row in rows if row.figures is not None for name in row.figures}
    if not known:
        return "No point has a result yet."
    for figure in filter(None, (measure.figure, measure.by)):
        if figure not in known:
            near = ", ".join(get_close_matches(figure, sorted(known), 3))
            return f"No point has {figure}{near and f'; there is {near}'}."
    return f"{measure.by} is 0 at each point."


def _place(label: str) -> float | None:
    """Where a value stands on an axis of numbers or sizes; None if it is neither."""
    match = _SIZE.fullmatch(label)
    return None if match is None else float(match[1]) * 1024.0 ** _UNITS.index(match[2].upper())


def number_of(value: float) -> str:
    """A number in a table: whole, or with four digits."""
    return f"{value:,.0f}" if value == int(value) else number_text(value) if abs(value) >= 1e-4 else f"{value:.3e}"


def _without_result(rows: Sequence[Row]) -> list[Finding]:
    failed = [row for row in rows if row.figures is None and row.error is not None]
    missing = sum(1 for row in rows if row.figures is None and row.error is None)
    if not failed and not missing:
        return []
    listings = []
    if failed:
        said = [(" ".join(f"{name}={label}" for name, label in row.task.labels.items()), str(row.error))
                for row in failed]  # fmt: skip
        listings.append(Listing("points that failed", ("point", "why"), said, words=2))
    remark = f"{plural(missing, 'point has', 'points have')} not been run yet." if missing else ""
    return [Finding("open", "Points without a result", remark, listings, [], {})]
