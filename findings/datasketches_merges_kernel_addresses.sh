#!/bin/sh
# Guess:   hll_sketch and update_theta_sketch of Apache DataSketches count 20,000 different addresses within a few per cent,
#          those of the kernel's half as well as those of a program.
# Reality: from 2**63 up 20,000 addresses of words count as 79: two that lie within the same 2,048 bytes are one.  No error and
#          no warning.  cpc_sketch of the same package counts right, and so do the first two when the address is given as text
#          or as a signed number.
# Why it matters: a count of different words, cache lines or instruction pointers over a long trace is what such a sketch is
#          for, and the kernel's part of it shrinks by up to 256 times.  Pages of 4 KiB are counted right, which hides the fault
#          from whoever tries pages first.  Give the sketch the address less 2**64.
# Seen with datasketches 5.2.0 from PyPI, Python 3.11.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install datasketches==5.2.0
"$directory/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import datasketches

COUNT = 20_000
KINDS = {
    "hll": lambda: datasketches.hll_sketch(12),
    "theta": lambda: datasketches.update_theta_sketch(),
    "cpc": lambda: datasketches.cpc_sketch(11),
}


def counted(kind, values):
    sketch = KINDS[kind]()
    for value in values:
        sketch.update(value)
    return sketch.get_estimate()


def is_near(found, expected):
    return abs(found - expected) < 0.06 * expected


program = [0x7F00_0000_0000 + 8 * word for word in range(COUNT)]
kernel = [0xFFFF_8880_0000_0000 + 8 * word for word in range(COUNT)]
pages = [0xFFFF_8880_0000_0000 + 4096 * page for page in range(COUNT)]
blocks = len({(word + 1024) // 2048 for word in kernel})  # rounded to the nearest 2,048
print("datasketches", version("datasketches"), "counts of", COUNT, "different addresses, of the kernel's half:", blocks)
for kind in KINDS:
    row = {
        "program": counted(kind, program),
        "kernel": counted(kind, kernel),
        "kernel's pages": counted(kind, pages),
        "kernel as signed": counted(kind, (word - 2**64 for word in kernel)),
        "kernel as text": counted(kind, map(hex, kernel)),
    }
    print(kind, {name: round(found) for name, found in row.items()})
    merges = kind != "cpc"
    for name, found in row.items():
        expected = blocks if name == "kernel" and merges else COUNT
        assert is_near(found, expected), (kind, name, found)
PYTHON
