"""The pytest plugin, for a checkout that is not installed, and what tests the plugin itself."""

from __future__ import annotations

import signal
from importlib.metadata import entry_points

_INSTALLED = bool(entry_points(group="pytest11", name="unimmu"))

pytest_plugins = ["pytester"] if _INSTALLED else ["pytester", "emu.testing.plugin"]

# A shell ignores SIGINT for what it runs in the background, and Python leaves it so; tests of Ctrl-C need the handler.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
