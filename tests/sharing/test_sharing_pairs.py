"""The worked examples of both interfaces, the stress test and the measured one, at every level."""

from __future__ import annotations

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.kernel.signal_state import Sig
from tests.booted import MIB, UNIT, MakeMachine

pytestmark = pytest.mark.parametrize("level", UNIT)

FILE_INTERFACE = """\
donor: the region has 2 units
donor: wrote "Some random shared text"
consumer: the region has 2 units
consumer: the window is aligned to the unit: ok
consumer: the first unit says "Some random shared text"
donor: the second unit says "And a reply"
donor: munmap: ok
donor: unlink: ok
donor: open after unlink: ENOENT
"""
CALL_INTERFACE = """\
donor: misaligned address: EINVAL
donor: misaligned size: EINVAL
donor: create: ok
donor: create again: EEXIST
donor: create again without O_EXCL: EEXIST
donor: unlink of an unknown name: EINVAL
consumer: the file holds 16 bytes: ok
consumer: the region starts at 0x20000000000
consumer: "written before mshare()"
consumer: "written after mshare()"
consumer: mshare_unlink: ok
donor: "written by the consumer"
donor: the file is still there: ok
donor: mshare_unlink: ok
donor: open after the last unlink: ENOENT
"""


@pytest.mark.parametrize("consumer", ["a forked child", "a program"])
@pytest.mark.parametrize(
    ("donor", "name", "output"),
    [
        ("mshare_donor", "mshare_consumer", FILE_INTERFACE),
        ("mshare_call_donor", "mshare_call_consumer", CALL_INTERFACE),
    ],
)
def test_donor_and_consumer(
    machine: MakeMachine, level: str, donor: str, name: str, output: str, consumer: str
) -> None:
    booted = machine(level=level)
    arguments = [booted.install(guests.path(name))] if consumer == "a program" else []
    assert booted.outcome(donor, *arguments) == (output, "", 0, "")


def test_region_stress(machine: MakeMachine, level: str) -> None:
    # several units, so that there are several slots, at the level where that is cheap
    size = 5 * MIB if level == "pte" else 1 * MIB
    outcome = machine(level=level).outcome("region_stress", 3, 2, size)
    assert outcome == (f"ok 3 processes, 6 turns, {size // 8 - 512} words\n", "", 0, "")


@pytest.mark.parametrize("work", ["read", "write"])
@pytest.mark.parametrize("mode", ["plain", "mshare", "mshare-file"])
def test_sharers(machine: MakeMachine, level: str, mode: str, work: str) -> None:
    booted = machine(level=level)
    first = booted.guest("sharers", mode, 3, "3M", work)
    assert booted.run() == StopReason.IDLE
    assert booted.audit() == []
    booted.send_signal(first, Sig.USR1)
    outcome = booted.outcome_of(first)
    assert outcome == ("sharers: 3 processes, 768 pages, sum ok\n", "", 0, "")
