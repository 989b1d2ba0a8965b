"""Whatever is written to whichever file of a group, it is taken or refused, and the books stay right."""

from __future__ import annotations

import random

import pytest

from emu.audit import audit
from emu.kernel.cgroup.files import FILES
from tests.booted import MakeMachine
from tests.cgroup.groups import TOP, make, private, quietly

TEXTS = (
    "0", "1", "-1", "max", "99999999999999999999", "0x", "0x10", "1k", "1e", "threaded", "+memory", "-memory +pids",
    "domain", "x", " ", "1 swappiness=5", "1M swappiness=max", "swappiness=1", "2", "9223372036854775807",
    "18446744073709551616", "+", "- -", "reset", "some 1 2", "00", "1 1",
)  # fmt: skip
#: What ends or freezes the writer.
HARMFUL = {("cgroup.freeze", "1"), *(("memory.max", text) for text in ("0", "00", "1", "2", "1k", "0x10"))}
STORES = [kind.name for kind in FILES if kind.store is not None and kind.name != "cgroup.kill"]


@pytest.mark.parametrize("seed", range(8))
def test_garbage(machine: MakeMachine, seed: int) -> None:
    chance, booted = random.Random(seed), machine()
    make(booted, "a", "a/b", "c", controllers="+memory +pids")
    steps = []
    for _ in range(60):
        group, name, text = chance.choice(["a/", "a/b/", "c/", ""]), chance.choice(STORES), chance.choice(TEXTS)
        if (name, text) not in HARMFUL:
            steps.append(quietly(f"{group}{name}", text))
        steps.append(f'@{chance.choice(["mkdir", "rmdir"])} "{TOP}/{group}z{chance.randrange(3)}" 0755')
        if chance.random() < 0.1:
            steps.append(f"@fork k; {private('p', '64K')}; end; @wait k")
    task = booted.guest("calls", "; ".join(steps))
    booted.run_until_idle()
    assert str(booted.ending(task)) in ("0", "SIGKILL"), booted.stderr
    assert audit(booted.kernel) == []
