"""Random work on a file of the host that is read, written and mapped, in a machine with too little memory for it and on
the host: the same values, the same signals.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import guests
from emu.mm.filepages import FilePages
from tests.booted import MIB, Booted
from tests.exhaustive import by_default
from tests.machine.native_host import needs_host

PAGE = 4096
PAGES = 600
#: As many of them are mapped privately: no more than a machine may promise.
PRIVATE = 250
STATEMENTS = 150


def script(chance: random.Random, writable: bool) -> str:
    """``f`` is open for writing, ``g`` for reading; ``p`` maps the file shared, ``q`` privately, ``r`` read-only.  With
    ``writable`` p can be written, so that no page is dropped, and holes are made.
    """
    rights = "RW MAP_SHARED f" if writable else "PROT_READ MAP_SHARED g"
    size = f"{PAGES * PAGE >> 10}K"
    lines = [
        f'@f = open "f" O_RDWR; @g = open "f" 0; @b = bytes 16; @p = mmap 0 {size} {rights} 0',
        f"@q = mmap 0 {PRIVATE * PAGE >> 10}K RW MAP_PRIVATE f 0; @r = mmap 0 {size} PROT_READ MAP_SHARED g 0",
    ]
    for number in range(STATEMENTS):
        at = chance.randrange(PAGES) * PAGE + chance.choice((0, 8, PAGE - 8))
        page, here = at & -PAGE, at % (PRIVATE * PAGE)
        there = min(chance.randrange(1, 40) * PAGE, PRIVATE * PAGE - (here & -PAGE))
        length = min(chance.randrange(1, 40) * PAGE, PAGES * PAGE - page)
        choices = [
            f"load q+{here}", f"load r+{at}", f"load p+{at}", f"store q+{here} {number}", f"store p+{at} {number}",
            f"pread g b 8 {at}; load b", f'pwrite f "{number:08}" 8 {at}', f"madvise q+{here & -PAGE} {there} 4",
            f"scan r+{page} {length}" if number < 100 else f"ftruncate f {chance.choice((at, PAGES * PAGE))}",
        ]  # fmt: skip
        lines.append(chance.choice([*choices, f"fallocate f 3 {at} {length}"] if writable else choices))
    return "\n".join(lines)


@needs_host
@pytest.mark.parametrize("seed", range(by_default(5, 12)))
def test_a_file_larger_than_memory(
    machine: Callable[..., Booted], tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, writable = random.Random(seed), seed % 3 == 0
    text = script(chance, writable)
    lower, copy = tmp_path / "lower", tmp_path / "copy"
    for directory in (lower, copy):
        directory.mkdir()
        (directory / "f").write_bytes(b"".join(bytes([page & 255, page >> 8]) * (PAGE // 2) for page in range(PAGES)))
    before = (lower / "f").read_bytes()
    native = subprocess.run(
        [guests.path("calls"), text], cwd=copy, capture_output=True, text=True, timeout=60, check=False
    )
    dropped: list[int] = []
    drop = FilePages._drop_page

    def counted(self: FilePages, index: int) -> None:
        dropped.append(index)
        drop(self, index)

    monkeypatch.setattr(FilePages, "_drop_page", counted)
    m = machine(memory=(8 if writable else 2) * MIB, root=str(lower), cpus=1 + seed % 2, modules={})
    outcome = m.outcome_of(m.spawn(m.install(guests.path("calls"), "/tmp/calls"), [text], in_guest=True))
    assert outcome.stdout.splitlines() == native.stdout.splitlines()
    assert (outcome.stderr, outcome.exit_status) == (native.stderr, native.returncode) == ("", 0)
    assert m.kernel.vfs.read_file("/f") == (copy / "f").read_bytes()
    assert (lower / "f").read_bytes() == before
    assert len(dropped) > 100 or writable
