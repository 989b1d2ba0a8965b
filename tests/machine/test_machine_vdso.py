"""The vDSO: its image, and the page of time that every process shares."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest

from emu.kernel.vdso import VVAR_PAGES, build
from tests.booted import Booted


def test_the_image_is_what_the_source_gives() -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc on the PATH")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    if "12.2" not in said.splitlines()[0]:
        pytest.skip(f"the image was made by gcc 12.2, not by {said.splitlines()[0]}")
    assert build.main(["--check"]) == 0


def test_processes_share_its_pages_and_see_the_time_of_day_set() -> None:
    booted = Booted()
    first, second = (booted.guest("calls", "@mark 1; @pause") for _ in range(2))
    booted.run_until_mark(first, 1)
    booted.run_until_mark(second, 1)
    times = []
    for task in (first, second):
        (vvar,) = (vma for vma in task.mm.vmas if vma.ops.name(vma) == "[vvar]")
        assert vvar.length == VVAR_PAGES * 4096
        times.append((task.mm, vvar.start))
    before = [struct.unpack("<q", mm.read(at, 8))[0] for mm, at in times]
    assert before[0] == before[1] == booted.kernel.clock.realtime_ns() - booted.kernel.clock.now_ns()
    frames = {mm.tables.pte(at) >> 12 & 0xFFFFF for mm, at in times}
    assert len(frames) == 1
    booted.kernel.vdso.renew()
    assert struct.unpack("<q", times[1][0].read(times[1][1], 8))[0] == before[0]


def test_a_program_that_never_asks_for_the_time_makes_no_page() -> None:
    booted = Booted()
    task = booted.guest("calls", "@mark 1; @pause")
    booted.run_until_mark(task, 1)
    cached = [vma.page_cache.nr_pages for vma in task.mm.vmas if vma.ops.special and vma.page_cache is not None]
    assert cached == [0, 0, 0]
