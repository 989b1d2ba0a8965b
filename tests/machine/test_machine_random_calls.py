"""Whatever several processes call, in whatever order: no exception of ours, a clean audit, and nothing is left over."""

from __future__ import annotations

from typing import Any

import pytest

import msharefs.module
import sharing.hugetlb_pmd
import sharing.ptshare
from tests.booted import MIB, Booted, MakeMachine
from tests.machine.random_calls import Player
from tests.machine.random_threads import ThreadPlayer

STEPS = 400
MODULES = {"msharefs": msharefs.module.init}
ALL = {**MODULES, "hugetlb_pmd": sharing.hugetlb_pmd.init, "ptshare": sharing.ptshare.init}
MACHINES: dict[str, dict[str, Any]] = {
    "plain": {},
    "little memory": {"memory": 4 * MIB, "level": "pte"},
    "huge pages": {"memory": 32 * MIB, "hugepages": 4, "modules": ALL},
    "five levels, two vCPUs": {"la57": True, "cpus": 2, "level": "pud"},
    "v1": {"abi": "v1", "hugepages": 3},
    "v2": {"abi": "v2", "level": "pte"},
    "persist": {"level": "pte", "mount_options": {"owner": "persist", "gup": "resolve"}, "modules": ALL},
}


THREADED: dict[str, dict[str, Any]] = {
    "plain": {"level": "pte"},
    "little memory": {"memory": 4 * MIB, "level": "pte", "cpus": 2},
    "g4": {"abi": "g4", "level": "pte", "cpus": 4},
    "thread-owner": {"level": "pte", "cpus": 2, "mount_options": {"quirk": "thread-owner"}, "modules": ALL},
    "modelled TLBs": {"level": "pte", "cpus": 4, "tlb": "skylake-sp"},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", MACHINES)
def test_random_calls(machine: MakeMachine, name: str, seed: int) -> None:
    booted = machine(**MACHINES[name])
    play(booted, Player(booted, seed))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", THREADED)
def test_random_calls_of_threads(machine: MakeMachine, name: str, seed: int) -> None:
    booted = machine(**{"turn": 200, "max_guest_s": 1e20, **THREADED[name]})  # timeouts are of any length
    play(booted, ThreadPlayer(booted, seed))
    booted.kill_all()
    kernel = booted.kernel
    assert not kernel.futexes._waiters
    assert not any(vcpu.load for vcpu in kernel.scheduler.vcpus)
    assert not any(task.alive for task in kernel.tasks.values())


def play(booted: Booted, player: Player) -> None:
    """A number of steps, with an audit from time to time."""
    for step in range(STEPS):
        try:
            player.step()
        except Exception as error:
            raise AssertionError(f"step {step}: {player.last}") from error
        if step % 50 == 0:
            assert booted.audit() == [], f"step {step}: {player.last}"
    booted.give_back_frames()


def test_who_is_killed_for_want_of_memory_runs_no_more_though_the_address_space_lives(machine: MakeMachine) -> None:
    """With CLONE_VM it has users still, in which the same fault would be taken again for ever."""
    booted = machine()
    player = Player(booted, 0)
    task = booted.tasks[0]
    player.as_process(task, lambda: player.call(task, 56, 0x100 | 17))
    (child,) = booted.children_of(task)
    assert child.mm is task.mm
    booted.take_frames(0)
    booted.finish(timeout_s=10)
    assert (booted.ending(task), booted.ending(child)) == ("SIGKILL", "SIGKILL")
    booted.give_back_frames()
