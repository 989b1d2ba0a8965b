"""Filters of seccomp, without a machine."""

from __future__ import annotations

import tracemalloc

import pytest

from emu.kernel.seccomp import Filter, Instruction
from emu.linux.errors import LinuxError

LOAD_NUMBER, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
#: What a filter pays for each instruction.
CHARGED = 8


def test_a_filter_decides_by_the_number_of_a_call() -> None:
    program = [
        Instruction(LOAD_NUMBER, 0, 0, 0),
        Instruction(IF_EQUAL, 0, 1, 39),
        Instruction(RETURN, 0, 0, 0x50001),
        Instruction(RETURN, 0, 0, 0x7FFF0000),
    ]
    made = Filter.of(program)
    assert [made.run(number.to_bytes(64, "little")) for number in (39, 40)] == [0x50001, 0x7FFF0000]


@pytest.mark.parametrize("last", [Instruction(0x1006, 0, 0, 0), Instruction(LOAD_NUMBER, 0, 0, 0)])
def test_what_is_not_allowed_is_refused(last: Instruction) -> None:
    with pytest.raises(LinuxError):
        Filter.of([last])


def test_what_is_charged_pays_for_the_longest_filters() -> None:
    program = [Instruction(0, 0, 0, 1_000_000 + value) for value in range(4095)] + [Instruction(RETURN, 0, 0, 0)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [Filter.of(program) for _ in range(20)]
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < len(kept) * (4096 * CHARGED + 1000)
