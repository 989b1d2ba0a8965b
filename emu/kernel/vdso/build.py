# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the vDSO.  From the top of the repository:

    python -m emu.kernel.vdso.build            linux-vdso.so.1 anew
    python -m emu.kernel.vdso.build --check    does the source still give the file?

The file depends on nothing but the source and the compiler (here gcc 12.2, binutils 2.40).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGE = "linux-vdso.so.1"
COMMAND = (
    *("gcc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-builtin", "-fPIC"),
    *("-fno-ident", "-fno-stack-protector", "-fcf-protection=none", "-march=x86-64", "-fasynchronous-unwind-tables"),
    *("-fno-jump-tables", "-nostdlib", "-shared", "-s", "-Wl,-T,vdso.lds", f"-Wl,-soname,{IMAGE}"),
    *("-Wl,--hash-style=both", "-Wl,-Bsymbolic", "-Wl,--eh-frame-hdr", "-Wl,--build-id=sha1"),
    *("-Wl,-z,max-page-size=4096", "-Wl,-z,noexecstack", "vdso.c"),
)


def build(target: Path) -> None:
    """Make the image.  Raises subprocess.CalledProcessError, whose ``stderr`` is the compiler's."""
    subprocess.run([*COMMAND, "-o", str(target)], cwd=HERE, check=True, capture_output=True, text=True)
    target.chmod(0o644)


def main(argv: Sequence[str]) -> int:
    """The command line."""
    if argv not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    if not argv:
        build(HERE / IMAGE)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / IMAGE
        build(made)
        same = made.read_bytes() == (HERE / IMAGE).read_bytes()
    print(f"{IMAGE} is {'' if same else 'not '}what the source gives")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
