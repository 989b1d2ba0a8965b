"""Unicorn asks importlib.resources for the directory of its package; for the answer that imports archives, compression
and temporary files.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_NAME = "importlib.resources"


class _Resources(ModuleType):
    """Stands in for importlib.resources until somebody asks for anything else."""

    def files(self, anchor: Any) -> Any:
        """The directory of a package that is being imported."""
        from pathlib import Path

        package = sys.modules.get(anchor) if anchor == "unicorn" else None
        return self.real().files(anchor) if package is None else Path(package.__path__[0])

    def real(self) -> Any:
        """The module that this is not."""
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]
        return importlib.import_module(_NAME)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real(), name)


def stand_in() -> None:
    """Answer ``files("unicorn")`` without importlib.resources, unless that is there already."""
    sys.modules.setdefault(_NAME, _Resources(_NAME))
