"""Any system call with any registers, made by a guest: through the entry, the scheduler and strace."""

from __future__ import annotations

import random

from tests.fuzz import script
from tests.fuzz.attack import Attack, Mended
from tests.fuzz.attacks.run import run_program
from tests.fuzz.room import Room


class Calls(Attack):
    """Processes."""

    name = "calls"
    target = "system calls"
    means = (
        "40 children of a guest, each with up to 12 calls of any number and any 64-bit registers, mostly with strace"
    )
    cases = 20
    mended = (
        Mended(
            "lseek of a file of the host with a whence beyond an int ended in a traceback",
            "tests/cli/test_cli_streams.py::test_seeking_from_nowhere",
        ),
    )

    def run(self, chance: random.Random, room: Room) -> str:
        return run_program(chance, room, _shown(chance), "calls", script.processes(chance, 40))


class CallsOfThreads(Attack):
    """Threads."""

    name = "mates"
    target = "system calls of threads"
    means = "as calls, by up to 12 threads of one process and its children, on one to four vCPUs"
    cases = 20

    def run(self, chance: random.Random, room: Room) -> str:
        return run_program(chance, room, _shown(chance), "calls", script.threads(chance, chance.randint(2, 12)))


def _shown(chance: random.Random) -> tuple[str, ...]:
    return ("--strace", "-o", "calls.txt") if chance.random() < 0.6 else ()
