"""RLIMIT_DATA, as a Linux kernel has answered the same calls."""

from __future__ import annotations

import pytest

from tests.machine.test_machine_fast_path import run

_PAGE, _NONE = "4K 0x40000000", "0 0x40000000"


def said(limits: str, calls: str) -> list[str]:
    """What a program prints whose soft and hard limit are these."""
    script = f"@l = words {limits}; @setrlimit 2 l; {calls}"
    return str(run("calls", standard_input=script).seen["output"]).splitlines()


@pytest.mark.parametrize("flags", ["PRIVATE|MAP_ANONYMOUS", "PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE"])
def test_memory_that_becomes_data(flags: str) -> None:
    """It counts whether it is promised or not."""
    calls = f"@p = mmap 0 1M PROT_NONE {flags} 0 0; mprotect p 512K RW; mprotect p 512K PROT_READ"
    assert said(_PAGE, calls) == ["mprotect = ENOMEM", "mprotect = 0"]
    assert said(_NONE, calls) == ["mprotect = 0", "mprotect = 0"]


def test_a_limit_of_nothing_is_for_brk_alone() -> None:
    """As Valgrind wants it: for mappings the hard limit counts then (may_expand_vm)."""
    calls = "@p = mmap 0 1M RW PRIVATE|MAP_ANONYMOUS 0 0; mremap p 1M 2M 1; @b = brk 0; @c = brk b+64K; say c-b"
    assert said(_NONE, calls)[0].startswith("mremap = 0x") and said(_NONE, calls)[1:] == ["say = 0"]
    assert said("0 4K", "mmap 0 1M RW PRIVATE|MAP_ANONYMOUS 0 0") == ["mmap = ENOMEM"]
    assert said(_PAGE, "mmap 0 1M RW PRIVATE|MAP_ANONYMOUS 0 0; @b = brk 0; @c = brk b+4K; say c-b") == [
        "mmap = ENOMEM", "say = 0",
    ]  # fmt: skip
