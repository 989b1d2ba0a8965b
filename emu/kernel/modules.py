"""Kernel modules: whatever registers itself under the entry-point group ``unimmu.modules``.

A module is an ``init(kernel)`` that registers file systems, system calls, mount points and reports, as an fs_initcall
does.  Those of unimmu's own distribution are there in every machine; any other distribution's is loaded when somebody
asks for it by its name, so that what else is installed changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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
    return {name: _load(name, value) for name, value in sorted(_own_points().items())}


def _own_points() -> dict[str, str]:
    """The entry points of our own distribution, ``module:function`` by name; none in a checkout that is not installed.

    importlib.metadata, which knows other forms of them too, is asked only where :func:`own_information` has none.
    """
    directory = own_information()
    if directory is not None:
        return _points_in(os.path.join(directory, "entry_points.txt"))
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        points = distribution(DISTRIBUTION).entry_points.select(group=GROUP)
    except PackageNotFoundError:
        return {}
    return {point.name: point.value for point in points}


def own_information() -> str | None:
    """The directory that pip leaves beside our packages, or setuptools beside our sources; None if there is not one.

    What is said there is read without importlib.metadata, which imports a parser of mails, and that takes longer than
    any module of ours.
    """
    begins = f"{DISTRIBUTION}-", f"{DISTRIBUTION}."
    for place in sys.path:
        try:
            names = [name for name in os.listdir(place or ".") if name.startswith(begins) and name.endswith("-info")]
        except OSError:
            continue
        if names:
            return os.path.join(place, names[0]) if len(names) == 1 else None
    return None


def _points_in(file: str) -> dict[str, str]:
    """The entry points of our group in an ``entry_points.txt``; none if there is no such file."""
    try:
        with open(file, encoding="utf-8") as text:
            _, _, section = text.read().partition(f"[{GROUP}]\n")
    except OSError:
        return {}
    lines = (line.partition("=") for line in section.partition("\n[")[0].splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def load_modules(names: Iterable[str]) -> dict[str, Init]:
    """The init functions of installed modules, whoever's they are, in the order in which they are named.

    UnknownModule if there is none of a name, or more than one; ModuleError if one cannot be imported.

    >>> list(load_modules(["ptshare"]))
    ['ptshare']
    """
    return {name: _load(name, _find(name).value) for name in names}


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
    from importlib.metadata import entry_points

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


def _load(name: str, value: str) -> Init:
    """What an entry point names: ``module:function``, perhaps with extras in brackets."""
    module, _, function = value.partition("[")[0].partition(":")
    try:
        init: Init = attrgetter(function.strip())(import_module(module.strip()))
    except Exception as error:
        raise ModuleError(f"kernel module {name} ({value}) cannot be loaded: {error}") from error
    if not callable(init):
        raise ModuleError(f"kernel module {name} ({value}) is no function init(kernel), but {init!r}")
    return init
