"""Restartable sequences where threads are cut off everywhere."""

from __future__ import annotations

import pytest

from tests.booted import Booted
from tests.exhaustive import by_default
from tests.native.guest import GUESTS

COUNTERS = GUESTS / "threads" / "rseq_counters.elf"


@pytest.mark.parametrize(("cpus", "turn"), by_default([(1, 61), (3, 23)], [(1, 7), (1, 61), (2, 5), (3, 23)]))
def test_no_count_is_lost(cpus: int, turn: int) -> None:
    outcome = Booted(cpus=cpus, turn=turn).outcome(COUNTERS, "tell")
    assert outcome.stdout.splitlines()[0] == "sum = 12000" and outcome.exit_status == 0
    assert cpus > 1 or "aborts > 0 = 1" in outcome.stdout  # of several vCPUs each has a thread or two to itself


def test_the_same_turns_give_the_same_aborts() -> None:
    runs = []
    for _ in range(2):
        booted = Booted(cpus=2, turn=11)
        assert booted.outcome(COUNTERS).exit_status == 0
        runs.append((booted.counters["instructions"], booted.kernel.clock.now_ns()))
    assert runs[0] == runs[1]
