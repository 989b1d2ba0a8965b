"""What valgrind's lackey prints with --trace-mem=yes (lackey/lk_main.c), plain, .gz or .xz.

``M``, a modify, is one store, as an instruction that reads and writes is to our TLBs; an operand counts once for each
page that it touches.  Lines that begin otherwise are what the program or valgrind has printed, and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from emu.lab.batch import Batch, StreamError
from emu.lab.foreign.lackey_loop import MOST
from emu.lab.foreign.pieces import crossing, opened, pieces
from mmu.objectcode import load

#: More than the longest line of an access has.
_MOST_LINE = 64


def read(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    """The accesses.  :class:`emu.lab.batch.StreamError` if there is none in the file."""
    parse, rest, found, rip = load("emu.lab.foreign.lackey_loop")["parse"], b"", False, 0
    rows = np.empty((MOST, 3), np.uint64)
    with opened(path) as file:
        for piece in chain(pieces(file, path), [b"\n"]):
            lines, newline, rest = (rest + piece).rpartition(b"\n")
            rest = rest[:_MOST_LINE]  # a longer line is no access, however it goes on
            text, begin = np.frombuffer(lines + newline, np.uint8), 0
            while begin < len(text):
                counted = np.zeros(2, np.uint64)
                parse(text.ctypes.data + begin, text.ctypes.data + len(text), rows.ctypes.data, counted.ctypes.data)
                number, begin = int(counted[0]), begin + int(counted[1])
                if not number:
                    continue
                found = True
                kind = rows[:number, 0].astype(np.uint8)
                at = np.maximum.accumulate(np.where(kind == 2, np.arange(1, number + 1), 0))
                instruction = np.concatenate((np.array([rip], np.uint64), rows[:number, 1]))[at]
                rip = int(instruction[-1])
                vaddr, which = crossing(path, rows[:number, 1].copy(), rows[:number, 2])
                yield Batch.of(vaddr=vaddr, kind=kind[which], rip=instruction[which])
    if not found:
        raise StreamError(f"{path}: there is no line of lackey's in it, such as ` L 1ffeffe7e,8`")
