"""The pytest plugin, for a checkout that is not installed, and what tests the plugin itself."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

_INSTALLED = bool(entry_points(group="pytest11", name="unimmu"))

pytest_plugins = ["pytester"] if _INSTALLED else ["pytester", "emu.testing.plugin"]

# A shell ignores SIGINT for what it runs in the background, and Python leaves it so; tests of Ctrl-C need the handler.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before pytest-xdist starts its processes: compile what has not been compiled here before, once, so that no test
    is the first and has the line about it among its output.
    """
    if getattr(session.config.option, "numprocesses", None):
        modules = native_modules()
        program = "import sys\nfrom mmu.objectcode import load\nfor module in sys.argv[1:]: load(module)"
        halves = [[sys.executable, "-c", program, *modules[half::2]] for half in (0, 1)]
        for compiling in [subprocess.Popen(half) for half in halves]:
            assert compiling.wait() == 0, compiling.args


def pytest_collection_finish(session: pytest.Session) -> None:
    """What has been imported and collected stays to the end: the collector of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


def native_modules() -> list[str]:
    """The modules that have entry points in native code."""
    top = Path(__file__).resolve().parent.parent
    sources = [source for room in ("mmu", "emu") for source in sorted((top / room).rglob("*.py"))]
    native = [source for source in sources if "\n@entry(" in source.read_text(encoding="utf-8")]
    return [".".join(source.relative_to(top).with_suffix("").parts) for source in native]
