"""A TLB as a plugin of QEMU's user mode (qemu_tlb.c), beside which exact mode is measured, where a host can have it.

It needs a qemu-user that takes plugins, a C compiler, and QEMU's header qemu-plugin.h: that of the same version, in a
directory of CPATH or where QEMU installs it.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.presets import load_preset

#: The preset that it has the arrays for 4K pages of: they have no hash, and replace the page used longest ago.
PRESET = "skylake-sp:cpuid"
HEADER = "qemu-plugin.h"
_ARRAYS = {"L1D": (1, Kinds.DATA), "L1I": (1, Kinds.FETCH), "L2": (2, Kinds.ALL)}
_KINDS = ("loads", "stores", "fetches")


class QemuPlugin(NamedTuple):
    """What there is to build it and to run it; each is None where it was not found."""

    qemu: str | None
    compiler: str | None
    #: The directory of the header.
    include: pathlib.Path | None

    def missing(self) -> str:
        """What is not there, in words; "" if nothing is."""
        names = ("a qemu-x86_64 that takes plugins", "a C compiler", HEADER)
        return ", ".join(name for name, found in zip(names, self, strict=True) if found is None)


class Outcomes(NamedTuple):
    """How often each outcome was."""

    first_level: int
    second_level: int
    missed: int


def find_plugin() -> QemuPlugin:
    """Look for what it needs."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is not None and "-plugin " not in _said([qemu, "--help"]):
        qemu = None
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    return QemuPlugin(qemu, compiler, _include(qemu))


def build_plugin(found: QemuPlugin, directory: pathlib.Path) -> pathlib.Path:
    """Compile it into a directory; the file.  RuntimeError with what the compiler said."""
    assert found.qemu is not None and found.compiler is not None and found.include is not None
    plugin, source = directory / "qemu_tlb.so", directory / "qemu_tlb.c"
    source.write_text((files("emu.bench") / source.name).read_text(encoding="utf-8"), encoding="utf-8")
    options = ["-O2", "-shared", "-fPIC", "-I", str(found.include), *glib_options(), *_geometry(load_preset(PRESET))]
    command = [found.compiler, *options, "-o", str(plugin), str(source)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode != 0:
        raise RuntimeError(f"bench: {' '.join(command)} failed:\n{done.stderr}")
    return plugin


def command_of(found: QemuPlugin, plugin: pathlib.Path, counts: pathlib.Path | None = None) -> list[str]:
    """The command that runs a program under it; ``counts``: the file for its counts."""
    assert found.qemu is not None
    return [found.qemu, "-plugin", str(plugin) if counts is None else f"{plugin},out={counts}"]


def glib_options() -> list[str]:
    """The options by which a compiler finds glib.h, which the header of newer versions includes."""
    pkg_config = shutil.which("pkg-config")
    return [] if pkg_config is None else _said([pkg_config, "--cflags", "glib-2.0"]).split()


def read_counts(path: pathlib.Path) -> dict[str, Outcomes]:
    """What it has counted of loads, stores and fetches."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {kind: Outcomes(*map(int, line.split())) for kind, line in zip(_KINDS, lines, strict=True)}


def _include(qemu: str | None) -> pathlib.Path | None:
    prefixes = ["/usr", "/usr/local"] if qemu is None else [str(pathlib.Path(qemu).parent.parent), "/usr", "/usr/local"]
    named = [path for path in os.environ.get("CPATH", "").split(os.pathsep) if path]
    for directory in (*named, *(f"{prefix}/include{below}" for prefix in prefixes for below in ("", "/qemu"))):
        if (pathlib.Path(directory) / HEADER).is_file():
            return pathlib.Path(directory)
    return None


def _said(command: Sequence[str]) -> str:
    """What a command prints; "" if it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return done.stdout if done.returncode == 0 else ""


def _geometry(geometry: Geometry) -> list[str]:
    options = []
    for name, (level, kinds) in _ARRAYS.items():
        array = _array(geometry, level, kinds)
        options += [f"-D{name}_SETS={array.sets}", f"-D{name}_WAYS={array.ways}"]
    return options


def _array(geometry: Geometry, level: int, kinds: Kinds) -> Array:
    """The array of a level that has 4K pages for these kinds of access."""
    return next(
        array
        for array in geometry.arrays
        if array.level == level and array.kinds & kinds == kinds and PageSizes.K4 & array.page_sizes
    )
