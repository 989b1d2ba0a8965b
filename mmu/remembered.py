"""What an earlier process has found out about these very sources, engine and host: one file beside the object code.

To find the object code of a module by its key (:mod:`mmu.codekey`) takes the bytecode of all that it reaches, digests,
and a file for each module.  All of that only says again what was said before, as long as nothing has changed; so the
answers are kept together with the code.  They are believed if the interpreter, the engine, the CPU and every source of
ours that was imported then are the same (:mod:`mmu.unchanged`); else they are found out again.
"""

from __future__ import annotations

import itertools
import pathlib
import sys
import zlib
from collections.abc import Iterable

import unicorn
from unicorn.unicorn_py3.unicorn import uclib

from mmu.codecache import CacheUnusable, Image, cache_directory
from mmu.native import reference_mode
from mmu.once import Once
from mmu.unchanged import Unchanged, stamp

#: The packages whose modules are looked at: no native function of theirs names anything of another but Unicorn's.
PACKAGES = ("emu", "mmu")


class Remembered:
    """The file, as it was when this process first asked, and what has been found out since."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._file = Unchanged(directory, "start", (unicorn.__version__, stamp(uclib._name), host_cpu()))
        self._images: dict[str, tuple[str, dict[str, int], bytes]] = {}
        self._passed: dict[str, None] = {}
        kept = self._file.read()
        if kept is not None:
            self._images, self._passed = kept

    def image(self, module: str) -> tuple[str, Image] | None:
        """The key of a module of ours, and its object code; None if they have to be looked for."""
        found = self._images.get(module)
        return None if found is None else (found[0], Image(found[1], found[2]))

    def keep_image(self, module: str, key: str, image: Image, compiler: Iterable[pathlib.Path]) -> None:
        """``compiler``: files that are to be the same, though we import nothing of them."""
        if module.partition(".")[0] in PACKAGES:
            self._images[module] = (key, image.offsets, image.code)
            self._keep(map(str, compiler))

    def has_passed(self, test: str, facts: str) -> bool:
        """Whether a test of ours has been passed, about these facts."""
        return _mark(test, facts) in self._passed

    def keep_passed(self, test: str, facts: str) -> None:
        """It has."""
        self._passed[_mark(test, facts)] = None
        self._keep(())

    def _keep(self, more: Iterable[str]) -> None:
        self._file.write(itertools.chain(_sources(), more), lambda: (self._images, self._passed))


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


def _sources() -> list[str]:
    """The files of our modules that are imported."""
    ours = [module for name, module in [*sys.modules.items()] if name.partition(".")[0] in PACKAGES]
    return [file for module in ours if (file := getattr(module, "__file__", None)) is not None]


@Once
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
