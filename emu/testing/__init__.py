"""Regression tests on what processes share: a pytest plugin, machines made for tests, and assertions in sentences.

A region at 2 TiB, a process that makes it, and a child that reads it:

>>> from emu.testing import GuestMachine, assert_shares_table
>>> machine = GuestMachine(level="pmd")
>>> parent = machine.guest("calls", '''
...     fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate fd 1G; create fd 0 8K RW OBJECT
...     w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; store w 1
...     fork c; load w; pause; end; pause''')
>>> machine.run_until_idle()
>>> (child,) = machine.children_of(parent)
>>> assert_shares_table(parent, child, 2 << 40, level="pmd")

The examples of single functions go on from there.

Nothing here but the plugin needs pytest.  The names are loaded when they are first used: pytest imports the plugin in
every project where unimmu is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.testing.assertions import (
        assert_allows,
        assert_does_not_share_table,
        assert_no_fault,
        assert_pagetable_bytes,
        assert_same_frame,
        assert_shares_table,
    )
    from emu.testing.compiled import GuestBuildError, NoCompiler, compile_guest
    from emu.testing.events import MmuEvent, MmuEvents
    from emu.testing.machine import GuestMachine, GuestResult
    from emu.testing.walks import PageWalk, side_by_side, walk_of

_HOMES = {
    "assertions": (
        "assert_allows", "assert_does_not_share_table", "assert_no_fault", "assert_pagetable_bytes",
        "assert_same_frame", "assert_shares_table",
    ),
    "compiled": ("GuestBuildError", "NoCompiler", "compile_guest"),
    "events": ("MmuEvent", "MmuEvents"),
    "machine": ("GuestMachine", "GuestResult"),
    "walks": ("PageWalk", "side_by_side", "walk_of"),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "assert_shares_table", "assert_does_not_share_table", "assert_same_frame", "assert_no_fault", "assert_allows",
    "assert_pagetable_bytes", "GuestMachine", "GuestResult", "MmuEvent", "MmuEvents", "PageWalk", "walk_of",
    "side_by_side", "compile_guest", "NoCompiler", "GuestBuildError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
