"""The interface generations, by their names in the mount option ``abi=``.

Each is a module ``abi_NAME`` whose ``ABI`` describes an instance that is mounted with it; the module is imported when
the first such instance is mounted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from msharefs.filesystem import Abi


class Generations(Mapping[str, Abi]):
    """Every generation, oldest first."""

    _NAMES = ("v1", "v2", "rfc3", "y1", "y2", "v3", "g4")

    def __getitem__(self, name: str) -> Abi:
        if name not in self._NAMES:
            raise KeyError(name)
        abi = import_module(f"msharefs.abi_{name}").ABI
        assert isinstance(abi, Abi)
        return abi

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)
