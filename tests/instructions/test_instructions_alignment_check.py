"""EFLAGS.AC: accesses that are not aligned are SIGBUS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.booted import MakeMachine
from tests.instructions.pieces_of_code import EXITED, End, build, end_in, end_on_host
from tests.machine.native_host import needs_host

AC = 17
#: pushfq; or dword [rsp], 1 << 18; popfq
SET = "9c 810c2400000400 9d"
CLEAR = "9c 812424fffffbff 9d"

CASES: dict[str, tuple[str, End]] = {
    "load of 4 bytes": (SET + "8b4301", End("SIGBUS", AC, 0, 9)),
    "load of 4 bytes, aligned": (SET + "8b4304", EXITED),
    "load of 8 bytes at a multiple of 4": (SET + "488b4304", End("SIGBUS", AC, 0, 9)),
    "store of 2 bytes": (SET + "66894303", End("SIGBUS", AC, 0, 9)),
    "load of 1 byte": (SET + "8a4301 0fb64303", EXITED),
    "load of 2 bytes with zeros": (SET + "0fb74301", End("SIGBUS", AC, 0, 9)),
    "lea": (SET + "8d4301", EXITED),
    "of a page that is not there": (SET + "8b042501000000", End("SIGBUS", AC, 0, 9)),
    "push": (SET + "4883ec01 50", End("SIGBUS", AC, 0, 13)),
    "movsd": (SET + "488d7301 488d7b10 a5", End("SIGBUS", AC, 0, 17)),
    "rep movsd of nothing": (SET + "31c9 488d7301 488d7b10 f3a5", EXITED),
    "fld of 8 bytes": (SET + "dd4304", End("SIGBUS", AC, 0, 9)),
    "cleared again": (SET + CLEAR + "8b4301", EXITED),
    "never set": ("8b4301", EXITED),
}


@pytest.mark.parametrize("name", CASES)
def test_how_it_ends(machine: MakeMachine, tmp_path: Path, name: str) -> None:
    code, end = CASES[name]
    assert end_in(machine(), build(tmp_path, code)) == end


@needs_host
@pytest.mark.parametrize("name", CASES)
def test_the_host_ends_it_so(tmp_path: Path, name: str) -> None:
    code, end = CASES[name]
    assert end_on_host(build(tmp_path, code)) == end.signal
