"""Importing the libraries of a command without what they import only for things that it does not need.

argparse asks gettext for translations of its messages, and that asks for the locale, but ours are English and have
none; pathlib wants ``urllib`` for URLs; unicorn asks ``inspect`` for the file that a function is in, and
``importlib.resources``, with its temporary files, archives and hashes, for its own directory.  All that takes a third
of what a short program takes.  While these libraries are imported, modules that answer just that stand in for the
others.  Whatever else somebody may ask of them, the real modules answer.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any


def import_basics() -> None:
    """Import argparse and pathlib, while there is no other thread to be given a module that stands in for another."""
    _import("argparse", _StandIn("gettext", gettext=_untranslated, ngettext=_untranslated_number))
    _import("pathlib", _StandIn("urllib.parse", quote_from_bytes=_quote_from_bytes))


def import_engine() -> None:
    """Import unicorn, likewise."""
    directory = _StandIn("importlib.resources", files=_directory_of)
    _import("unicorn", _StandIn("inspect", getfile=_file_of), directory)


def _import(library: str, *modules: _StandIn) -> None:
    if library in sys.modules:
        return
    standing_in = {module.__name__: module for module in modules if module.__name__ not in sys.modules}
    sys.modules.update(standing_in)
    try:
        import_module(library)
    finally:
        for name, module in standing_in.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


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
        return getattr(import_module(self.__name__), name)


def _untranslated(message: str) -> str:
    return message


def _untranslated_number(singular: str, plural: str, number: int) -> str:
    return singular if number == 1 else plural


def _quote_from_bytes(*arguments: Any, **named: Any) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(*arguments, **named)


def _file_of(function: FunctionType) -> str:
    """``inspect.getfile`` of a Python function."""
    return function.__code__.co_filename


def _directory_of(package: str) -> Any:
    """``importlib.resources.files`` of a package that is a directory, as one out of a wheel is."""
    from pathlib import Path

    return Path(next(iter(sys.modules[package].__path__)))
