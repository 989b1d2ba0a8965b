"""Kernel modules: whatever registers itself under the entry-point group ``unimmu.modules``.

A module is an ``init(kernel)`` that registers file systems, system calls, mount points and reports, as an fs_initcall
does.  Those of unimmu's own distribution are there in every machine; any other distribution's is loaded when somebody
asks for it by its name, so that what else is installed changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

GROUP = "unimmu.modules"
#: The distribution whose modules are loaded without being asked for.
DISTRIBUTION = "unimmu"

Init = Callable[["Kernel"], None]
#: Which modules a machine has: names of installed ones that are wanted too, or all that there are, by name.
Modules = Sequence[str] | Mapping[str, Init]


class ModuleError(RuntimeError):
    """A kernel module could not be loaded, or does not start; the message names it."""


class UnknownModule(ValueError):
    """No kernel module of that name is installed, or more than one; the message says which there are."""


def find_modules() -> dict[str, Init]:
    """The init function of each module of unimmu's own, by name, in alphabetical order.

    ModuleError if one cannot be imported; the message names it.

    >>> "msharefs" in find_modules()
    True
    """
    try:
        points = distribution(DISTRIBUTION).entry_points.select(group=GROUP)
    except PackageNotFoundError:  # a checkout that is not installed
        return {}
    return {point.name: _load(point) for point in sorted(points, key=lambda p: p.name)}


def load_modules(names: Iterable[str]) -> dict[str, Init]:
    """The init functions of installed modules, whoever's they are, in the order in which they are named.

    UnknownModule if there is none of a name, or more than one; ModuleError if one cannot be imported.

    >>> list(load_modules(["ptshare"]))
    ['ptshare']
    """
    return {name: _load(_find(name)) for name in names}


def with_modules(base: Mapping[str, Init], wanted: Modules | None) -> dict[str, Init]:
    """``base`` and the modules that are named; or those that are given by name and init function, and no other.

    >>> list(with_modules({}, ["ptshare"])), list(with_modules(find_modules(), {}))
    (['ptshare'], [])
    """
    if isinstance(wanted, Mapping):
        return dict(wanted)
    if isinstance(wanted, str):
        raise ValueError(f"modules={wanted!r}: a list of names is wanted, such as modules=[{wanted!r}]")
    return {**base, **load_modules(name for name in wanted or () if name not in base)}


def _find(name: str) -> EntryPoint:
    installed = sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value))
    found = [point for point in installed if point.name == name]
    if not found:
        names = ", ".join(dict.fromkeys(point.name for point in installed)) or "none"
        raise UnknownModule(f"no kernel module {name!r} is installed; there are: {names}")
    if len(found) > 1:
        several = ", ".join(f"{point.value} ({_owner(point)})" for point in found)
        raise UnknownModule(f"{len(found)} kernel modules are called {name!r}: {several}")
    return found[0]


def _owner(point: EntryPoint) -> str:
    return f"of {point.dist.name}" if point.dist is not None else "of an unknown distribution"


def _load(point: EntryPoint) -> Init:
    try:
        init: Init = point.load()
    except Exception as error:
        raise ModuleError(f"kernel module {point.name} ({point.value}) cannot be loaded: {error}") from error
    if not callable(init):
        raise ModuleError(f"kernel module {point.name} ({point.value}) is no function init(kernel), but {init!r}")
    return init
