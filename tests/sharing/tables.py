"""Tables of system calls: a row is a script for the guest ``calls`` and its results, by subject."""

from __future__ import annotations

from tests.booted import Booted

Table = dict[str, tuple[str, str]]

#: What rows begin with: a fresh region file ``fd``; one unit long; with objects at 8K (8K, RW) and 20K (8K, read only);
#: and with a window ``w`` at 2 TiB.
FRESH = '@st = bytes 144; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0644'
SIZED = FRESH + "; @ftruncate fd u"
OBJECTS = SIZED + "; @create fd 8K 8K RW OBJECT; @create fd 20K 8K PROT_READ OBJECT"
WINDOW = OBJECTS + "; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0"


def results(booted: Booted, table: Table, before: str, after: str = '@unlink "/sys/fs/mshare/r"') -> dict[str, str]:
    """The results of every row, each in a new process; ``u`` is the unit."""
    found = {}
    for name, (script, _) in table.items():
        lines = booted.calls(f"@u = say {booted.unit}; {before}\n{script}\n{after}")
        found[name] = " ".join(line.split(" = ", 1)[1] for line in lines)
    return found


def expected(table: Table, unit: int) -> dict[str, str]:
    """The expected results, with U for the unit, 2U and 3U for two and three of them, N for the length of its decimal
    text with a newline, 2T+U for the second unit at 2 TiB, 0-U for the range of a unit as ``maps`` tells it, and octal
    numbers as 0o644.
    """
    values = {
        "U": hex(unit), "2U": hex(2 * unit), "3U": hex(3 * unit), "N": str(len(str(unit)) + 1),
        "2T+U": hex((2 << 40) + unit), "0-U": f"0-{unit:x}",
    }  # fmt: skip

    def word_of(word: str) -> str:
        return str(int(word, 8)) if word.startswith("0o") else values.get(word, word)

    return {name: " ".join(map(word_of, result.split())) for name, (_, result) in table.items()}
