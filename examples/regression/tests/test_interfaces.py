"""The same expectation, of every interface generation and level that is asked for.

Run: pytest --unimmu-levels pte,pmd --unimmu-abis v3,y2
"""

from collections.abc import Callable

import pytest

from emu.testing import GuestMachine, GuestResult

SCRIPT = """
    fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate fd {size}; create fd 0 8K RW OBJECT
    @w = mmap 2T {size} RW MAP_SHARED|MAP_FIXED fd 0; store w 41; @fork c; load w; @store w 42; end; wait c; load w
"""
UNIT = {"pte": "2M", "pmd": "1G", "pud": "512G"}


@pytest.mark.unimmu(level=["pte", "pmd", "pud"], abi=["y2", "v3"])
def test_a_child_sees_what_its_parent_wrote(machine: GuestMachine, run_guest: Callable[..., GuestResult]) -> None:
    assert machine.level is not None
    result = run_guest("calls", SCRIPT.format(size=UNIT[machine.level]))
    assert result.stdout.splitlines()[3:] == ["store = 0", "load = 41", "wait = 0", "load = 42"]
    assert result.counts.link_faults == 2
