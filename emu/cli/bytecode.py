"""The bytecode of the modules that a plain ``unimmu run`` imports, in one file of the cache.

Python looks for each of two hundred modules in directories, opens, checks and reads a file for it, and makes the same
names again for each.  One file takes half of that time.  It is written at the end of a run without options, and
believed as long as all sources and the directories that they are in are the same (:mod:`mmu.unchanged`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from mmu.codecache import CacheUnusable, cache_directory
from mmu.unchanged import Unchanged

#: In one directory, beside each other: of other places Python itself imports.
PACKAGES = ("emu", "guests", "mmu", "msharefs", "sharing")

#: Of a module: its file, where Python keeps its bytecode, whether it is a package, and its code.
_Kept = tuple[str, str | None, bool, CodeType]


class Bytecode:
    """A finder (of ``sys.meta_path``) of those modules that were kept; each is found once."""

    def __init__(self) -> None:
        directory = cache_directory()
        self._file = None if directory is None else Unchanged(directory, "modules")
        self._modules: dict[str, _Kept] = {}
        self._is_known = True

    def begin(self) -> None:
        """Look at the file; from now on its modules are imported from it."""
        try:
            kept = None if self._file is None else self._file.read()
        except (CacheUnusable, OSError):
            return
        self._is_known = kept is not None
        if kept is not None:
            self._modules = kept
            sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A module of a package that Python has found where it was then; the packages themselves it finds."""
        kept = self._modules.pop(name, None)
        if kept is None or path is None:
            return None
        file, cached, is_package, code = kept
        directory = os.path.dirname(file)
        if list(path) != [os.path.dirname(directory) if is_package else directory]:
            return None
        spec = ModuleSpec(name, _Loader(name, file, code), origin=file, is_package=is_package)
        spec.has_location = True
        if sys.pycache_prefix is None:
            spec.cached = cached  # else it is worked out when somebody asks
        if is_package:
            spec.submodule_search_locations = [directory]
        return spec

    def keep(self, status: int) -> None:
        """Keep what was imported, after a run that was a plain one and went well."""
        plain = status == 0 and not sys.argv[2].startswith("-") and not sys.dont_write_bytecode
        if self._file is not None and plain and not self._is_known:
            modules = list(_ours())
            files = {module.__file__ or "" for module in modules}
            self._file.write(files | {*map(os.path.dirname, files)}, lambda: dict(map(_kept, modules)))


class _Loader(SourceFileLoader):
    """That of a source file, but the code is there already."""

    def __init__(self, name: str, file: str, code: CodeType) -> None:
        super().__init__(name, file)
        self._code: CodeType | None = code

    def get_code(self, fullname: str) -> CodeType | None:
        code, self._code = self._code, None
        return super().get_code(fullname) if code is None else code


def _ours() -> Iterator[ModuleType]:
    """Our modules that Python has imported from a source file."""
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] in PACKAGES and isinstance(getattr(module, "__loader__", None), SourceFileLoader):
            yield module


def _kept(module: ModuleType) -> tuple[str, Any]:
    spec: Any = module.__spec__
    code = spec.loader.get_code(spec.name)
    cached = spec.cached if sys.pycache_prefix is None else None
    return spec.name, (spec.origin, cached, spec.submodule_search_locations is not None, code)
