"""Memory runs out at every point where a region needs it: a clean ENOMEM or a kill, and nothing is leaked.

The number of frames left when an action begins grows from none until the action has all that it needs.
(tests/machine/test_machine_limits.py does the same without regions.)
"""

from __future__ import annotations

import pytest

from emu.kernel.task import Task
from emu.machine import Mount
from msharefs.module import MOUNT_POINT
from tests.booted import MIB, UNIT, Booted
from tests.exhaustive import in_turn

REGION = '@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 2*; @create fd 0 64K RW OBJECT;'
WINDOW = REGION + "@w = mmap 2T 2* RW MAP_SHARED|MAP_FIXED fd 0;"
#: What is there before, and the action: its statements' results may be replaced by ENOMEM, and its process be killed.
ACTIONS = {
    "a new region": ("@n = say 1", 'g = open "/sys/fs/mshare/b" O_RDWR|O_CREAT 0600'),
    "an object": (REGION, "create fd u-64K 128K RW OBJECT; create fd 0 4K RW OBJECT; unmap fd 4K 4K"),
    "populate: two slots": (WINDOW + "@create fd u-64K 128K RW OBJECT;", "store w+u-4K 1; store w+u 1; load w+u-4K"),
    "link: two slots": (
        WINDOW + "@create fd u-64K 128K RW OBJECT; @touch w 64K; @touch w+u-64K 128K; @munmap w u+u",
        "w = mmap 8T 2* RW MAP_SHARED|MAP_FIXED fd 0; scan w 64K; scan w+u 64K",
    ),
    "fork with a linked window": (WINDOW + "@touch w 64K", "fork d; scan w 64K; store w+4K 1; end; @wait d"),
    "advice: populate": (WINDOW, f"@c = words 0 64K 23; ioctl fd {0x40187821:#x} c; scan w 64K"),
    "rights of a part": (WINDOW + "@touch w 64K", f"@c = words 4K 4K 1; ioctl fd {0x40187820:#x} c; load w+4K"),
    "unmap in the middle": (WINDOW + "@touch w 64K", "unmap fd 16K 16K; load w; touch w+32K 32K"),
}
#: Those that cannot do without a frame.
NEEDY = {"a new region", "populate: two slots", "link: two slots", "fork with a linked window", "advice: populate"}


class Hog:
    """Takes all frames but a few at mark 1."""

    def __init__(self, booted: Booted, left: int) -> None:
        self.booted, self.left = booted, left
        booted.marks.listeners.append(self.note)

    def note(self, task: Task, number: int) -> None:
        if number == 1:
            self.booted.take_frames(self.left)


def script(name: str, unit: int) -> str:
    before, action = (part.replace("2*", "u+u") for part in ACTIONS[name])
    return f"@u = say {unit}; {before}; @fork c; @touch p 4K; @mark 1; {action}; say 77; end; @wait c; say 88".replace(
        "@fork c; @touch p 4K;", "@p = mmap 0 4K RW PRIVATE -1 0; @fork c; @touch p 4K; @scan p 4K; @load p;"
    )


@pytest.mark.parametrize(("name", "level"), in_turn(ACTIONS, list(UNIT), 1, always=["pmd"]))
def test_memory_ends_while_a_region_is_used(name: str, level: str) -> None:
    outputs = []
    for left in [*range(8), 100]:
        booted = Booted(2 * MIB, mounts=[Mount("msharefs", MOUNT_POINT, f"level={level}")])
        Hog(booted, left)
        booted.guest("calls", script(name, UNIT[level]))
        booted.finish()
        outputs.append(booted.stdout)
        assert booted.audit() == [], f"{left} frames were left"
        booted.give_back_frames()
        assert booted.close() == [], f"{left} frames were left"
    enough = outputs[-1]
    assert "say = 77" in enough and "ENOMEM" not in enough and "say = 88" in enough
    for left, output in enumerate(outputs):
        assert "say = 88" in output or "ENOMEM" in output or "say = 77" not in output, (left, output)
        for line in output.splitlines():  # the same results as far as it got, or ENOMEM
            assert line in enough or line.endswith(("ENOMEM", "killed SIGKILL")), (left, output)
    if name in NEEDY and (name, level) != ("link: two slots", "pud"):  # there, the entries are in the PGD itself
        assert "say = 77" not in outputs[0] or "ENOMEM" in outputs[0]
