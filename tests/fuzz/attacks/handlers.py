"""Random calls straight into the handlers of system calls, by processes and by threads."""

from __future__ import annotations

import random
from typing import Any

import msharefs.module
import sharing.hugetlb_pmd
import sharing.ptshare
from tests.booted import MIB, Booted
from tests.fuzz.attack import Attack, Mended
from tests.fuzz.player import Player
from tests.fuzz.room import Finding, Room
from tests.fuzz.thread_player import ThreadPlayer

_STEPS = 400
#: The clock jumps to the next timer when every task sleeps, and timers may be set for centuries.
_GUEST_S = 1e30
_MODULES = {"msharefs": msharefs.module.init}
_ALL = {**_MODULES, "hugetlb_pmd": sharing.hugetlb_pmd.init, "ptshare": sharing.ptshare.init}
_MACHINES: dict[str, dict[str, Any]] = {
    "plain": {},
    "little memory": {"memory": 4 * MIB, "level": "pte"},
    "huge pages": {"memory": 32 * MIB, "hugepages": 4, "modules": _ALL},
    "five levels, two vCPUs": {"la57": True, "cpus": 2, "level": "pud"},
    "v1": {"abi": "v1", "hugepages": 3},
    "v2": {"abi": "v2", "level": "pte"},
    "persist": {"level": "pte", "mount_options": {"owner": "persist", "gup": "resolve"}, "modules": _ALL},
}
_THREADED: dict[str, dict[str, Any]] = {
    "plain": {"level": "pte"},
    "little memory": {"memory": 4 * MIB, "level": "pte", "cpus": 2},
    "g4": {"abi": "g4", "level": "pte", "cpus": 4},
    "thread-owner": {"level": "pte", "cpus": 2, "mount_options": {"quirk": "thread-owner"}, "modules": _ALL},
    "modelled TLBs": {"level": "pte", "cpus": 4, "tlb": "skylake-sp"},
}


def play(booted: Booted, player: Player) -> None:
    """A number of steps, with an audit from time to time."""
    for step in range(_STEPS):
        try:
            player.step()
        except Exception as error:
            raise Finding(f"step {step}: {player.last}") from error
        if step % 50 == 0 and (found := booted.audit()):
            raise Finding(f"step {step}: {player.last}: {found}")
    booted.give_back_frames()


def close(booted: Booted) -> None:
    """The end of everything; Finding if anything is left."""
    if found := booted.close():
        raise Finding("\n".join(found))


class Handlers(Attack):
    """Processes."""

    name = "handlers"
    target = "handlers of system calls"
    means = "400 plausible calls of several processes in any order, straight into the handlers, with memory taken away"
    cases = 14

    def run(self, chance: random.Random, room: Room) -> str:
        name, options = chance.choice(list(_MACHINES.items()))
        booted = Booted(**options)
        play(booted, Player(booted, chance.getrandbits(32)))
        close(booted)
        return name


class Threads(Attack):
    """Threads: what sleeps does sleep, and the scheduler runs from time to time."""

    name = "threads"
    target = "threads"
    means = "400 calls of threads in any order: clone, futex, signals, exec, exit; the scheduler runs in between"
    cases = 10
    mended = (
        Mended(
            "after a sleep of more than 292 years the time did not fit into what the calls give, and the machine ended",
            "tests/machine/test_machine_clock.py::test_a_timeout_beyond_it_never_passes",
        ),
    )

    def run(self, chance: random.Random, room: Room) -> str:
        name, options = chance.choice(list(_THREADED.items()))
        booted = Booted(**{"turn": 200, "max_guest_s": _GUEST_S, **options})
        play(booted, ThreadPlayer(booted, chance.getrandbits(32)))
        booted.kill_all()
        kernel = booted.kernel
        left = [
            *(f"a waiter for a futex at {key}" for key in kernel.futexes.waiters),
            *(f"a load of {vcpu.load}" for vcpu in kernel.scheduler.vcpus if vcpu.load),
            *(f"task {task.pid}" for task in kernel.tasks.values() if task.alive),
        ]
        if left:
            raise Finding(f"left after the end: {left}")
        close(booted)
        return name
