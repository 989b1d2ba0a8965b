"""Importing unicorn for a command, without what it imports only to find its own library.

That is ``inspect``, for the name of the file that a function is in, and ``importlib.resources``, for the directory that
a package is in, with the temporary files, archives and hashes that the latter brings: a fifth of what a short program
takes.  While unicorn is imported, two modules stand in for them that answer these two questions.  Whatever else
somebody may ask of them, the real modules answer.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType, ModuleType
from typing import Any


def import_engine() -> None:
    """Import unicorn, while there is no other thread that could be given a module that stands in for another."""
    if "unicorn" in sys.modules:
        return
    standing_in = [
        module
        for module in (_StandIn("inspect", getfile=_file_of), _StandIn("importlib.resources", files=_directory_of))
        if module.__name__ not in sys.modules
    ]
    sys.modules.update({module.__name__: module for module in standing_in})
    try:
        importlib.import_module("unicorn")
    finally:
        for module in standing_in:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]


class _StandIn(ModuleType):
    """A module that has some attributes; the one whose name it has is imported where it is asked for others."""

    def __init__(self, name: str, **attributes: Any) -> None:
        super().__init__(name)
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what importlib looks at: there is no real module yet
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _file_of(function: FunctionType) -> str:
    """``inspect.getfile`` of a Python function."""
    return function.__code__.co_filename


def _directory_of(package: str) -> Any:
    """``importlib.resources.files`` of a package that is a directory, as one out of a wheel is."""
    import pathlib

    return pathlib.Path(next(iter(sys.modules[package].__path__)))
