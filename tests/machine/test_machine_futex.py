"""Futexes between processes.  A child waits; its parent sleeps, which takes no time, and wakes it."""

from __future__ import annotations

import pytest

from tests.booted import MakeMachine

BEFORE = """
@t = words 0 1000000; @s = mmap 0 8K RW ANON -1 0; @store s 5; @m = memfd_create "m" 0; @ftruncate m 8K
@x = mmap 0 8K RW MAP_SHARED m 0; @y = mmap 0 4K RW MAP_SHARED m 4K; @q = mmap 0 8K RW MAP_PRIVATE m 0"""
SLEEP = "@syscall 35 t 0"

ROWS = {
    "a shared word is woken as one": (f"@fork c; futex s 0 5 0; end; {SLEEP}; futex s 1 1; wait c", "1 0 0"),
    "a private word is another one": (
        f"@fork c; futex s 0 5 0; end; {SLEEP}; futex s 129 1; futex s 1 1; wait c",
        "0 1 0 0",
    ),
    "private waiters are woken by their own process only": (
        f"@fork c; futex s 128 5 t; end; {SLEEP}; futex s 129 1; futex s 1 1; wait c",
        "0 0 ETIMEDOUT 0",
    ),
    "two mappings of one page of a file": (
        f"@fork c; futex x+4K 0 0 0; end; {SLEEP}; futex x 1 1; futex q+4K 1 1; futex y 1 1; wait c",
        "0 0 1 0 0",
    ),
    "by bits": (
        f"@fork c; futex s 9 5 0 0 6; end; {SLEEP}; futex s 10 1 0 0 1; futex s 10 1 0 0 2; wait c",
        "0 1 0 0",
    ),
    "as many as asked for, first come first": (
        "@repeat 3; @fork c; @futex s 0 5 0; end; end;"
        f"{SLEEP}; futex s 1 2; futex s 1 2; futex s 1 2; wait -1; wait -1; wait -1; wait -1",
        "2 1 0 0 0 0 ECHILD",
    ),
    "requeued": (
        f"@fork c; futex s 0 5 0; end; {SLEEP}; futex s 3 0 1 s+64; futex s 1 1; futex s+64 1 1; wait c",
        "1 0 1 0 0",
    ),
    "requeued if the word is as expected": (
        f"@fork c; futex s 0 5 0; end; {SLEEP}; futex s 4 0 1 s+64 6; futex s 4 1 1 s+64 5; wait c",
        "EAGAIN 1 0 0",
    ),
    "woken at one word by what another was": (
        f"@fork c; futex s+64 0 7 0; end; @store s+64 7; {SLEEP}; futex s 5 1 1 s+64 0x00001007; load s+64; wait c",
        "1 1 0 0",
    ),
    "killed while it waits": (
        f"@fork c; futex s 0 5 0; end; {SLEEP}; kill c 9; wait c; futex s 1 1",
        "0 killed SIGKILL 0",
    ),
    "the page goes while somebody waits": (
        f"@fork c; futex x 0 0 t; end; {SLEEP}; ftruncate m 0; ftruncate m 8K; futex x 1 1; wait c",
        "0 0 1 0 0",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_futex(machine: MakeMachine, name: str) -> None:
    script, result = ROWS[name]
    assert [line.split(" = ", 1)[1] for line in machine().calls(f"{BEFORE}\n{script}")] == _words(result)


def _words(result: str) -> list[str]:
    words = result.replace("killed ", "killed_").split()
    return [word.replace("_", " ") if word.startswith("killed_") else word for word in words]
