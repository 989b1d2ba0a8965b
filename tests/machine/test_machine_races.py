"""Interleavings are chosen by the seed: a race that was found once is found again."""

from __future__ import annotations

import pytest

from tests.booted import Booted
from tests.native.guest import GUESTS

RACY = GUESTS / "threads" / "racy_counter.elf"


def counted(seed: int, cpus: int, turn: int | tuple[int, int] | None) -> str:
    return Booted(seed=seed, cpus=cpus, turn=turn).outcome(RACY, "race").stdout


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_race_is_found_by_some_seed_and_found_again(cpus: int) -> None:
    results = {seed: counted(seed, cpus, (5, 200)) for seed in range(6)}
    assert len(set(results.values())) > 1
    for seed, result in results.items():
        assert counted(seed, cpus, (5, 200)) == result


def test_one_length_of_turns_does_not_depend_on_the_seed() -> None:
    assert len({counted(seed, 2, 37) for seed in range(4)}) == 1


@pytest.mark.parametrize("turn", [(0, 5), (7, 3), 0])
def test_lengths_that_make_no_sense(turn: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="the turn of a vCPU is at least 1 ns"):
        Booted(turn=turn)
