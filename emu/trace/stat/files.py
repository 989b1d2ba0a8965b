"""Where the programs and libraries of a trace are on this host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import guests
from emu.kernel.vdso import IMAGE
from emu.trace.stat.symbols import Elf, SymbolsError


class Files:
    """Finds the ELF file of a path in the machine: below ``symfs``, where that is given (as ``perf --symfs`` does); the
    host's file that the command names, below the directory that was the machine's root, a program that comes with
    unimmu, or the file of that path on this host.
    """

    def __init__(self, header: Mapping[str, Any], symfs: str | None = None) -> None:
        """``header`` is the trace's."""
        command, root = header["command"], header.get("root", "")
        self._command: str = command[0] if command else ""
        self._root, self._symfs = str(root), symfs
        self._known: dict[str, Elf | None] = {}

    def find(self, path: str) -> Elf | None:
        """The file, or None."""
        if path not in self._known:
            self._known[path] = self._open(path)
        return self._known[path]

    def _open(self, path: str) -> Elf | None:
        for name in self._names(path):
            if os.path.isfile(name):
                try:
                    return Elf(name)
                except SymbolsError:
                    continue
        return None

    def _names(self, path: str) -> list[str]:
        if path == "[vdso]":
            return [str(IMAGE)]
        if not path.startswith("/"):
            return []
        if self._symfs is not None:
            return [self._symfs.rstrip("/") + path]
        directory, _, name = path.rpartition("/")
        command = [self._command] if self._command != path and os.path.basename(self._command) == name else []
        if self._root:
            return [self._root.rstrip("/") + path]
        ours = [str(guests.path(name))] if directory == "/bin" and name in guests.NAMES else []
        return [*command, *(ours or [path])]
