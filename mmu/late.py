"""numpy, which is imported when something of it is asked for first.

Its import takes as long as a short program, and most of those change no page tables in great numbers.  Modules that a
run always has say ``from mmu.late import np``, and ask for nothing of it while they are imported.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
else:

    def _of_numpy(name: str) -> Any:
        import numpy

        value = getattr(numpy, name)
        setattr(np, name, value)
        return value

    np = ModuleType("numpy, later")
    np.__getattr__ = _of_numpy  # PEP 562: asked for what is not there yet


def is_here() -> bool:
    """Whether numpy has been imported: for what can be done without it, if not so fast."""
    return "numpy" in sys.modules


__all__ = ["is_here", "np"]
