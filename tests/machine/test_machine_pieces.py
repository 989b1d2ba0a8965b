"""Calls that work on much memory look, at each piece, whether the run is to end; then they start again, and the guest
does not notice.  Work is counted in calls of Python functions, not in time.
"""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any

import pytest

from emu.kernel.entry import Entry
from emu.kernel.sched import StopReason
from emu.linux.stop import Stop
from tests.booted import MakeMachine
from tests.exhaustive import by_default

#: The most calls of Python functions between two looks: some milliseconds.
_MOST_WORK = 20_000
#: 8 GiB whose every page is mapped, to the page of zeros: 4096 page tables.
_FILLED = """
@m = mmap 0x100000000 8G RW PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0
@p = say m
repeat 128
  @madvise p 64M 22
  @p = say p+64M
end
"""
#: 3000 mappings, of which no two can become one.
_MANY = """
@m = mmap 0x100000000 24M PROT_READ PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0
@p = say m
repeat 3000
  @mprotect p 4K RW
  @p = say p+8K
end
"""

#: What is called, and the lines that come of it.
_CALLS = {
    "munmap": (_FILLED, "munmap m 8G; maps m 8G", ["munmap = 0", "maps = nothing"]),
    "mmap over it": (_FILLED, "mmap m 8G RW PRIVATE|MAP_FIXED -1 0; load m", ["mmap = ENOMEM", "load = 0"]),
    "MADV_DONTNEED": (_FILLED, "madvise m 8G 4; load m+1G", ["madvise = 0", "load = 0"]),
    "mprotect": (
        _FILLED, "mprotect m 8G 1; store m+7G 1; load m+7G; maps m 8G",
        ["mprotect = 0", "store = SEGV_ACCERR", "load = 0", "maps = 0-200000000 r--p 0"],
    ),
    "mremap": (
        _FILLED, "@mremap m 8G 8G 3 0x7000000000; load m; load 0x7000000000",
        ["load = SEGV_MAPERR", "load = 0"],
    ),
    "mremap, smaller": (_FILLED, "@mremap m 8G 1G 3 0x7000000000; load m; load 0x7000000000+1G",
        ["load = SEGV_MAPERR", "load = SEGV_MAPERR"],
    ),
    "populate": (_FILLED, "@madvise m 8G 24; madvise m 8G 22", ["madvise = 0"]),
    "fork": (_FILLED, "store m 1; @fork c; load m+4G; end; @wait c", ["store = 0", "load = 0"]),
    "exit": (_FILLED, "fork c; exit 3; end; @wait c; wait c", []),
    "smaps": (_FILLED, 'field "/proc/self/smaps" "Rss"', []),
    "clear_refs": (_FILLED, 'f = open "/proc/self/clear_refs" 1; write f "1" 1', []),
    "mincore": (_FILLED, "b = mmap 0 2M RW PRIVATE -1 0; mincore m 8G b", ["mincore = 0"]),
    "ftruncate": (
        '@f = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate f 8G;'
        "@m = mmap 0x100000000 8G RW MAP_SHARED|MAP_FIXED f 0; @p = say m; repeat 1500; @store p 1; @p = say p+2M; end",
        "ftruncate f 4K; load m; load m+2M", ["ftruncate = 0", "load = 1", "load = BUS_ADRERR"],
    ),
    "munmap of many": (_MANY, "munmap m 24M; maps m 24M", ["munmap = 0", "maps = nothing"]),
    "mlock of many": (_MANY, "mlock m 24M", ["mlock = 0"]),
    "mprotect of many": (_MANY, "mprotect m 24M 1; maps m 24M", ["mprotect = 0", "maps = 0-1800000 r--p 0"]),
    "fork of many": (_MANY, "@fork c; end; wait c", ["wait = 0"]),
    "maps of many": (_MANY, 'f = open "/proc/self/maps" 0; b = bytes 4K; read f b 4K', []),
}  # fmt: skip
#: What the first program that needs it has imported: importing is no work for a guest.
_IMPORT = "_find_and_load"
#: Where work of the kernel's for a guest begins and ends.
_INSIDE = {function.__code__ for function in (Entry.system_call, Entry.resume)}


class Work:
    """Counts the calls between two looks, and ends the run at some of the looks."""

    def __init__(self, stops: int) -> None:
        self.most = self.since = self.looks = 0
        self._stops = stops
        self._inside, self._imports = False, 0

    def look(self, stop: Stop) -> bool:
        self.since = 0
        self.looks += 1
        if self._stops and not self.looks % 3:
            self._stops -= 1
            stop.request()
        return stop.requested

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "return") and frame.f_code in _INSIDE:
            self.since, self._inside = 0, event == "call"
        elif event in ("call", "return") and frame.f_code.co_name == _IMPORT:
            self._imports += 1 if event == "call" else -1
        elif self._inside and not self._imports and event in ("call", "c_call"):
            self.since += 1
            self.most = max(self.most, self.since)


@pytest.mark.parametrize("name", _CALLS)
@pytest.mark.parametrize("stops", by_default([2], [0, 5]))
def test_calls_that_work_on_much(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, name: str, stops: int) -> None:
    setup, script, expected = _CALLS[name]
    work = Work(stops)
    monkeypatch.setattr(Stop, "look", lambda stop: work.look(stop))
    booted = machine()
    task = booted.guest("calls", f"{setup}; {script}")
    gc.disable()  # finalizers of what is collected meanwhile are no work for a guest
    sys.setprofile(work.profile)
    try:
        while booted.run() != StopReason.EXITED:
            sys.setprofile(None)
            assert booted.audit() == []
            sys.setprofile(work.profile)
    finally:
        sys.setprofile(None)
        gc.enable()
    assert task.exit_code == 0
    assert booted.stdout.splitlines()[-len(expected) :] == expected or not expected
    assert work.most < _MOST_WORK
