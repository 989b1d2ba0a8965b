"""Kernel modules: whatever registers itself under the entry-point group ``unimmu.modules``.

A module is an ``init(kernel)`` that registers file systems, system calls, mount points and reports, as an fs_initcall
does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

GROUP = "unimmu.modules"

Init = Callable[["Kernel"], None]


class ModuleError(RuntimeError):
    """A kernel module could not be loaded; the message names it."""


def find_modules() -> dict[str, Init]:
    """Every installed module's init function, by name, in alphabetical order.

    ModuleError if one cannot be imported; the message names it.

    >>> "msharefs" in find_modules()
    True
    """
    from importlib.metadata import entry_points

    found: dict[str, Init] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            found[point.name] = point.load()
        except Exception as error:
            raise ModuleError(f"kernel module {point.name} ({point.value}) cannot be loaded: {error}") from error
    return found
