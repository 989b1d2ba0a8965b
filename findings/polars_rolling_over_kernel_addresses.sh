#!/bin/sh
# Guess:   DataFrame.rolling and Expr.rolling take a column of UInt64 as the index, as their documentation says, so a window of
#          16 bytes before each address ("16i") counts what lies there, for addresses of the kernel as for those of programs.
# Reality: from 2**63 up every window holds every row.  No error and no warning; group_by_dynamic refuses the same column,
#          and join_asof answers right.
# Why it matters: neighbours within a cache line or a page are counted like this in traces of accesses.  The half of the
#          addresses that the kernel has gives the largest possible answer for each, which looks like perfect locality.
#          Take the difference to the lowest address first.
# Seen with polars 2.1.0 from PyPI, Python 3.11.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install polars==2.1.0
"$directory/venv/bin/python" - <<'PYTHON'
import polars as pl

OFFSETS = [0x0F, 0x10, 0xFF, 0x100, 0x101]
RIGHT = [1, 2, 1, 2, 3]


def counted(base):
    frame = pl.DataFrame({"vaddr": [base + offset for offset in OFFSETS]}, schema={"vaddr": pl.UInt64})
    grouped = frame.rolling("vaddr", period="16i").agg(pl.len())["len"].to_list()
    assert grouped == frame.select(pl.len().rolling("vaddr", period="16i")).to_series().to_list()
    return grouped


print("polars", pl.__version__)
for base, expected in (
    (0x400000, RIGHT),
    (0x7FFF_FFFF_FFFF_0000, RIGHT),
    (0x8000_0000_0000_0000, [5] * 5),
    (0xFFFF_FFFF_8100_0000, [5] * 5),
):
    found = counted(base)
    print(f"{base:#x}: rows in the 16 bytes before each of 5 addresses {found}, right is {RIGHT}")
    assert found == expected, hex(base)
kernel = pl.DataFrame({"vaddr": [0xFFFF_FFFF_8100_0010]}, schema={"vaddr": pl.UInt64})
try:
    kernel.group_by_dynamic("vaddr", every="16i").agg(pl.len())
except pl.exceptions.ComputeError as error:
    print("group_by_dynamic:", error)
else:
    raise SystemExit("group_by_dynamic takes it now")
symbols = kernel.with_columns(pl.col("vaddr") - 1, name=pl.lit("start"))
assert kernel.join_asof(symbols, on="vaddr")["name"].to_list() == ["start"]
PYTHON
