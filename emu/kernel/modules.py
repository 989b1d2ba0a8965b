"""Kernel modules: whatever registers itself under the entry-point group ``unimmu.modules``.

A module is an ``init(kernel)`` that registers file systems, system calls, mount points and reports, as an fs_initcall
does.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

GROUP = "unimmu.modules"

Init = Callable[["Kernel"], None]


class ModuleError(RuntimeError):
    """A kernel module could not be loaded; the message names it."""


def find_modules() -> dict[str, Init]:
    """Every installed module's init function, by name, in alphabetical order.

    Of two installed ones of the same name the one that Python finds first counts.
    """
    found: dict[str, Init] = {}
    for name, target in sorted(_declared().items()):
        try:
            found[name] = _load(target)
        except Exception as error:
            raise ModuleError(f"kernel module {name} ({target}) cannot be loaded: {error}") from error
    return found


def _declared() -> dict[str, str]:
    """Every entry point of the group: "package.module:function", by name.

    What importlib.metadata.entry_points does, from the same files; but to import that takes as long as many a guest
    runs.
    """
    declared: dict[str, str] = {}
    seen: set[str] = set()
    for directory in sys.path:
        for distribution, path in _installed_in(directory or os.curdir):
            if distribution in seen:
                continue  # an older one, behind it on the path
            seen.add(distribution)
            try:
                with open(os.path.join(path, "entry_points.txt"), encoding="utf-8") as file:
                    text = file.read()
            except OSError:
                continue  # it has none
            for name, target in _of_the_group(text):
                declared.setdefault(name, target)
    return declared


def _installed_in(directory: str) -> list[tuple[str, str]]:
    """Names of distributions, normalised, and where what they say of themselves is."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []  # sys.path may name what is not there, or is no directory
    return [
        (name.rpartition(".")[0].partition("-")[0].lower().replace("_", "-").replace(".", "-"),
         os.path.join(directory, name))
        for name in names if name.endswith((".dist-info", ".egg-info"))
    ]  # fmt: skip


def _of_the_group(text: str) -> Iterator[tuple[str, str]]:
    """(name, target) of the group's entry points in an entry_points.txt."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]").strip()
        elif group == GROUP and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield name.strip(), target.partition("[")[0].strip()  # without the extras that it may name


def _load(target: str) -> Any:
    module, _, attributes = target.partition(":")
    return reduce(getattr, attributes.split("."), importlib.import_module(module))
