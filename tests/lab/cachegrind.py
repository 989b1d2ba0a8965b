"""Valgrind's cachegrind, a simulator of caches, as one of TLBs: caches with lines of 4096 bytes.

Its I1 is then a TLB of fetches, its D1 one of loads and stores, and its LL a second level that both ask for what they
do not have.  Sets are looked up by the low bits of the line's number, and replace the line used longest ago; stores
allocate; LL need not hold what the first level does.  A modify counts as a load.  An operand in two lines is one
reference, and at most one miss; where it misses, LL is asked for both lines, and that is one miss there at most
(cachegrind/cg_sim.c).  It is for programs that step over no fault: by default it gives their handlers another RIP than
that of the instruction (findings/cachegrind_signals_have_a_stale_rip.sh).

Lackey, another tool of valgrind's, prints the same references, so that a replay of them can be held against it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmu.geometry import Array, Geometry, Kinds, PageSizes, Replacement

_LINE, _TOOL = 4096, "valgrind"
#: What the program and valgrind see of the environment: the same in all runs, since it lies on the stack.
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
_KINDS = {"I1": (1, Kinds.FETCH), "D1": (1, Kinds.DATA), "LL": (2, Kinds.ALL)}
_COUNT = re.compile(r"^==\d+== (\w+) +(refs|misses): +([\d,]+)", re.MULTILINE)


class Counts(NamedTuple):
    """References to a level, and how many of them missed."""

    references: int
    misses: int


def is_installed() -> bool:
    """Whether this host has it."""
    return shutil.which(_TOOL) is not None


def three_arrays(
    fetches: tuple[int, int],
    data: tuple[int, int],
    second: tuple[int, int],
    policy: Replacement = Replacement.LRU,
) -> Geometry:
    """A TLB as cachegrind can be one, with so many sets and ways of each array.  Each has two entries or more: of fewer
    lines cachegrind knows no cache; and it knows no policy but LRU."""
    arrays = (
        Array(name, level, kinds, PageSizes.K4, sets, ways, policy)
        for (name, (level, kinds)), (sets, ways) in zip(_KINDS.items(), (fetches, data, second), strict=True)
    )
    return Geometry("cachegrind", tuple(arrays), {4: 4, 3: 8, 2: 32})


def cachegrind_of(geometry: Geometry, program: Sequence[str]) -> list[str]:
    """The command that runs a program under cachegrind with the arrays of :func:`three_arrays`."""
    shapes = [f"--{array.name}={array.sets * array.ways * _LINE},{array.ways},{_LINE}" for array in geometry.arrays]
    return [_TOOL, "--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null", *shapes, *program]


def counted(geometry: Geometry, program: Sequence[str]) -> dict[str, Counts]:
    """What cachegrind counts of a program, by array.  RuntimeError with what it said if that cannot be understood."""
    with tempfile.TemporaryDirectory(prefix="cachegrind-") as directory:
        log = Path(directory) / "log"
        _run(cachegrind_of(geometry, program), log)
        return read_counts(log.read_text("utf-8", "replace") if log.exists() else "")


def read_counts(text: str) -> dict[str, Counts]:
    """The counts in what cachegrind prints.  RuntimeError if there are none."""
    found = {(name, what): int(number.replace(",", "")) for name, what, number in _COUNT.findall(text)}
    try:
        return {
            name: Counts(found[references, "refs"], found[name, "misses"])
            for name, references in (("I1", "I"), ("D1", "D"), ("LL", "LL"))
        }
    except KeyError:
        raise RuntimeError(f"cachegrind has counted nothing: {text.strip()[-200:]}") from None


def trace(program: Sequence[str], path: Path) -> None:
    """Write the references of a program, as lackey prints them, to a file."""
    _run([_TOOL, "--tool=lackey", "--trace-mem=yes", *program], path)


def _run(command: Sequence[str], log: Path) -> None:
    """Run a program under a tool; what the tool prints goes to a file.  The program has the same files each time, since
    it may ask what they are."""
    tool, *words = command
    subprocess.run(
        [tool, f"--log-file={log}", *words], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
