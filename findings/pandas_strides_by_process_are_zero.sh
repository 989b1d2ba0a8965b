#!/bin/sh
# Guess:   DataFrame.groupby("pid")["vaddr"].diff() gives the same strides as Series.diff() on the rows of one process, of
#          addresses as uint64, in both halves of the address space.
# Reality: the grouped one goes through float64 and the other does not.  From 2**63 up every stride shorter than 1 KiB is 0 and
#          longer ones are multiples of 2,048, or 4,096 where 4,084 is right; no warning.  Series.diff(), the nullable UInt64
#          and Arrow's uint64 give the right numbers, grouped or not.
# Why it matters: it is the idiom for access strides of each process or thread in a trace.  On a user's addresses it is right, so
#          it is trusted; of the kernel's it says that every access is at the address of the one before.
#          Convert the column with astype("UInt64") first.
# Seen with pandas 3.1.1 and NumPy 2.4.6 from PyPI, Python 3.11.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install pandas==3.1.1 numpy==2.4.6
"$directory/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd

OFFSETS = np.array([0x000, 0x500, 0x010, 0x50C, 0x050, 0x514, 0x1044], dtype=np.uint64)
PIDS = [1, 2, 1, 2, 1, 2, 1]
RIGHT = [16, 12, 64, 8, 4084]


def strides(column):
    return [int(stride) for stride in column.dropna()]


print("pandas", pd.__version__, "strides of two processes:", RIGHT)
for half, base, expected in (
    ("user", 0x7FFF_F000_0000, RIGHT),
    ("kernel", 0xFFFF_FFFF_8100_0000, [0, 0, 0, 0, 4096]),
):
    frame = pd.DataFrame({"pid": PIDS, "vaddr": OFFSETS + np.uint64(base)})
    assert frame["vaddr"].dtype == np.uint64
    grouped = strides(frame.groupby("pid")["vaddr"].diff())
    print(half, "grouped:", grouped)
    assert grouped == expected
    single = {pid: strides(rows["vaddr"].diff()) for pid, rows in frame.groupby("pid")}
    print(half, "each process by itself:", single)
    assert single == {1: [16, 64, 4084], 2: [12, 8]}
    assert strides(frame.astype({"vaddr": "UInt64"}).groupby("pid")["vaddr"].diff()) == RIGHT
PYTHON
