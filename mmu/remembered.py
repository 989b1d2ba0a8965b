"""What an earlier process has found out about these very sources, engine and host: one file beside the object code.

To find the object code of a module by its key (:mod:`mmu.codekey`) takes the bytecode of all that it reaches, digests,
and a file for each module.  All of that only says again what was said before, as long as nothing has changed; so the
answers are kept together with the code.  They are believed if the interpreter, the engine, the CPU and every source of
ours that was imported then are the same, by size and by the times of the last change of the file and of its inode.

A source that has changed since this process began may be another than the one that was imported: then nothing is
kept.  Whatever is not believed is found out again, and no worse.
"""

from __future__ import annotations

import itertools
import marshal
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Iterable

import unicorn
from unicorn.unicorn_py3.unicorn import uclib

from mmu.codecache import CacheUnusable, CodeCache, Image, cache_directory
from mmu.native import reference_mode
from mmu.once import Once

#: The packages whose modules are looked at: no native function of theirs names anything of another but Unicorn's.
PACKAGES = ("emu", "mmu")
#: Changes with what is in the file.
_FORMAT = 1
#: So much older than the process a source has to be, in ns: files and processes have clocks of their own.
_MARGIN = 2_000_000_000

#: The size of a file, and when it and its inode were changed.
_Stamp = tuple[int, int, int]


class Remembered:
    """The file, as it was when this process first asked, and what has been found out since."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._facts = (sys.version, sys.flags.optimize, unicorn.__version__, _stamp(uclib._name), host_cpu())
        place = f"{_FORMAT} {__file__} {sys.prefix} {sys.version} {sys.flags.optimize}"
        self._name = f"start-{zlib.crc32(os.fsencode(place)):08x}"
        self._files: dict[str, _Stamp] = {}
        self._images: dict[str, tuple[str, dict[str, int], bytes]] = {}
        self._passed: set[str] = set()
        self._read()

    def _read(self) -> None:
        if not self._directory.is_dir():
            return  # it is made when there is code to be kept
        with CodeCache(self._directory) as cache:
            data = cache.read_bytes(self._name) or b""
        digest, rest = data[:8], data[8:]
        if not rest or digest != _digest(rest):
            return
        facts, files, images, passed = marshal.loads(rest)
        try:
            if facts == self._facts and all(_stamp(path) == stamp for path, stamp in files.items()):
                self._files, self._images, self._passed = files, images, set(passed)
        except OSError:
            pass  # a source is gone

    def image(self, module: str) -> tuple[str, Image] | None:
        """The key of a module of ours, and its object code; None if they have to be looked for."""
        found = self._images.get(module)
        return None if found is None else (found[0], Image(found[1], found[2]))

    def keep_image(self, module: str, key: str, image: Image, compiler: Iterable[pathlib.Path]) -> None:
        """``compiler``: files that are to be the same, though we import nothing of them."""
        if module.partition(".")[0] in PACKAGES:
            self._images[module] = (key, image.offsets, image.code)
            self._write(map(str, compiler))

    def has_passed(self, test: str, facts: str) -> bool:
        """Whether a test of ours has been passed, about these facts."""
        return _mark(test, facts) in self._passed

    def keep_passed(self, test: str, facts: str) -> None:
        """It has."""
        self._passed.add(_mark(test, facts))
        self._write(())

    def _write(self, more: Iterable[str]) -> None:
        if not self._directory.is_dir():
            return
        try:
            files = self._files | {path: _stamp(path) for path in itertools.chain(_sources(), more)}
            began = _began()
            if any(max(stamp[1:]) > began - _MARGIN for stamp in files.values()):
                return
            rest = marshal.dumps((self._facts, files, self._images, sorted(self._passed)))
            with CodeCache(self._directory) as cache:
                cache.write(self._name, _digest(rest) + rest)
        except (CacheUnusable, OSError):
            return  # what cannot be kept is found out again; of the cache, who keeps code there has said so
        self._files = files


@Once
def remembered() -> Remembered | None:
    """This process's; None in reference mode, and where nothing can be kept."""
    directory = None if reference_mode() else cache_directory()
    try:
        return None if directory is None else Remembered(directory)
    except (CacheUnusable, OSError):
        return None


def _mark(test: str, facts: str) -> str:
    return f"{test} {zlib.crc32(facts.encode()):08x}"


def _digest(data: bytes) -> bytes:
    """It tells damage, no forgery: see :mod:`mmu.codecache`."""
    return b"%08x" % zlib.crc32(data)


def _stamp(path: str) -> _Stamp:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sources() -> list[str]:
    """The files of our modules that are imported."""
    ours = [module for name, module in [*sys.modules.items()] if name.partition(".")[0] in PACKAGES]
    return [file for module in ours if (file := getattr(module, "__file__", None)) is not None]


def _began() -> int:
    """When this process was started, in ns since the epoch (proc(5): starttime)."""
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.time_ns() - age


def host_cpu() -> str:
    """The host's CPU: its model and all its features.

    As the kernel tells them of the first one; as the compiler sees them where there is no /proc.
    """
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            first = itertools.takewhile(str.strip, file)
            told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
    except OSError:
        import llvmlite.binding as llvm

        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return " ".join(told.get(name, "") for name in ("vendor_id", "cpu family", "model", "stepping", "flags"))
