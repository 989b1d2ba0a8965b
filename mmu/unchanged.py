"""What an earlier process has found out and kept, for as long as the files that it came of are the same.

Files are the same by size and by the times of the last change of the file and of its inode.  One that has changed since
this process began may be another than the one that was looked at: then nothing is kept.
"""

from __future__ import annotations

import marshal
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from mmu.codecache import CacheUnusable, CodeCache

#: Changes with what is in the files.
_FORMAT = 1
#: So much older than the process a file has to be, in ns: file systems have clocks of their own.
_MARGIN = 2_000_000_000

#: The size of a file, and when it and its inode were changed.
_Stamp = tuple[int, int, int]


class Unchanged:
    """A file of the cache, which is this interpreter's and this installation's: what it holds, and of what it came."""

    def __init__(self, directory: pathlib.Path, kind: str, facts: tuple[object, ...] = ()) -> None:
        """``facts`` have to be the same, too."""
        self._directory, self._facts = directory, (*facts, sys.version, sys.flags.optimize)
        place = f"{_FORMAT} {__file__} {sys.prefix} {sys.version} {sys.flags.optimize}"
        self._name = f"{kind}-{zlib.crc32(os.fsencode(place)):08x}"
        self._files: dict[str, _Stamp] = {}

    def read(self) -> Any:
        """What was kept; None if there is nothing, or if something has changed.  :class:`CacheUnusable`."""
        if not self._directory.is_dir():
            return None  # it is made when there is code to be kept
        with CodeCache(self._directory) as cache:
            data = memoryview(cache.read_bytes(self._name) or b"")
        digest, rest = data[:8], data[8:]
        if not rest or digest != _digest(rest):
            return None
        facts, files, kept = marshal.loads(rest)
        try:
            if facts != self._facts or any(stamp(path) != before for path, before in files.items()):
                return None
        except OSError:  # one is gone
            return None
        self._files = files
        return kept

    def write(self, files: Iterable[str], make: Callable[[], Any]) -> None:
        """Keep what ``make()`` gives: it came of these files, and of those that were the same before.

        What cannot be kept is found out again; of a cache that cannot be used, who keeps code there has said so.
        """
        if not os.access(self._directory, os.W_OK):
            return
        try:
            stamps = self._files | {path: stamp(path) for path in files}
            newest = _began() - _MARGIN
            if any(max(changed) > newest for _, *changed in stamps.values()):
                return
            everything: Any = (self._facts, stamps, make())
            rest = marshal.dumps(everything)
            with CodeCache(self._directory) as cache:
                cache.write(self._name, _digest(rest) + rest)
        except (CacheUnusable, OSError):
            return
        self._files = stamps


def stamp(path: str) -> _Stamp:
    """What changes with a file.  OSError."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(data: bytes | memoryview) -> bytes:
    """It tells damage, no forgery: see :mod:`mmu.codecache`."""
    return b"%08x" % zlib.crc32(data)


def _began() -> int:
    """When this process was started, in ns since the epoch (proc(5): starttime)."""
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.time_ns() - age
