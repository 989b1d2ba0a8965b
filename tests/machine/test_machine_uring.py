"""io_uring: the sysctl, and that nothing is left over (the rest is in tests/native)."""

from __future__ import annotations

import pytest

from tests.booted import Booted

SETUP = "@p = bytes 120; fd = syscall 425 8 p"
DISABLED = '@w = open "/proc/sys/kernel/io_uring_disabled" O_RDWR; @write w "{}" 1; '


@pytest.mark.parametrize(
    ("value", "user", "result"), [(0, 1000, "fd = 4"), (1, 0, "fd = 4"), (1, 1000, "fd = EPERM"), (2, 0, "fd = EPERM")]
)
def test_rings_can_be_forbidden(value: int, user: int, result: str) -> None:
    assert Booted().calls(f"{DISABLED.format(value)}@setuid {user}; {SETUP}") == [result]


def test_memory_of_a_ring_is_given_back() -> None:
    machine = Booted()
    frames = []
    for _ in range(2):
        assert machine.calls(f"repeat 3; {SETUP}; m = mmap 0 4K RW MAP_SHARED fd 0; @store m 1; end")
        frames.append((machine.kernel.frames.free, machine.kernel.frames.kmem.charged))
    assert frames[0] == frames[1]


def test_a_ring_that_has_no_room_is_not_made() -> None:
    machine = Booted()
    machine.take_frames(left=machine.kernel.frames.free // 100)
    lines = machine.calls("repeat 40; @p = bytes 120; fd = syscall 425 4096 p; end")
    assert lines[-1] in ("fd = ENOMEM", "fd = EMFILE")
