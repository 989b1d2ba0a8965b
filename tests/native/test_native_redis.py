"""What examples/redis_save.sh prints of a save by fork while a client writes: what is changed is copied once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VALUES = 1000
AUDITED = "unimmu: audit: every table and every frame is accounted for\n"


@pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("pgrep")), reason="Redis and procps are not installed"
)
def test_a_save_copies_what_is_written_meanwhile() -> None:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    ran = subprocess.run(
        [sys.executable, "-m", "emu.cli.main", "run", "--root", "/", "--bind", f"{ROOT / 'examples'}:/mnt", "--audit",
         "sh", "/mnt/redis_save.sh", str(VALUES)],
        cwd="/", env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, AUDITED), ran.stdout
    found = dict(map(_figures, ran.stdout.splitlines()))
    parent, child = found["tables of the parent and of the child, kB"]
    assert 40 < child <= parent < 200
    in_fork, writes = found["faults of the parent in the fork, and for its writes"]
    pages = VALUES * 1000 // 4096  # every fourth value is changed: about one in each page
    assert in_fork > 10 and pages <= writes < 3 * pages
    (copied,) = found["copied, bytes"]
    assert pages << 12 <= copied <= 2 * writes << 12, "the parent's copies, and what the child has written itself"
    assert found["the fork, us"][0] > 0


def _figures(line: str) -> tuple[str, list[int]]:
    name, _, figures = line.partition(": ")
    return name, [int(figure) for figure in re.findall(r"\d+", figures)]
