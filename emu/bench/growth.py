"""What the steps of something cost where there are few of a kind, and where there are many."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping

from emu.bench.figure import Aim, Figure, Measurement, Rounds, alternate

_GROWTH = Aim(1.3)


def growth(
    rounds: int, name: str, steps: Mapping[str, str], subjects: Mapping[int, Callable[[str], float]]
) -> Measurement:
    """``subjects``, fewest first, give the seconds of a step where there are so many; ``steps`` says what each is."""
    numbers = list(subjects)
    taken = alternate(
        rounds,
        {f"{step}, {number} {name}": functools.partial(subjects[number], step) for number in numbers for step in steps},
    )
    figures = [figure for step in steps for figure in _figures(taken, name, step, steps[step], numbers)]
    return Measurement(name, taken, tuple(figures))


def _figures(taken: Rounds, name: str, step: str, what: str, numbers: list[int]) -> list[Figure]:
    costs = {number: statistics.median(taken[f"{step}, {number} {name}"]) for number in numbers}
    least, most = numbers[0], numbers[-1]
    heading = f"{what}: cost with {most} {name} / with {least}"
    figures = [Figure(f"{name}_{step}_growth", heading, costs[most] / costs[least], aim=_GROWTH)]
    for number, cost in costs.items():
        figures.append(Figure(f"{name}_{step}_{number}_us", f"  {number} {name}, {step}", cost * 1e6, "µs"))
    return figures
