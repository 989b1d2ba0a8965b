"""The pytest plugin, for a checkout that is not installed, and what tests the plugin itself."""

from __future__ import annotations

from importlib.metadata import entry_points

_INSTALLED = bool(entry_points(group="pytest11", name="unimmu"))

pytest_plugins = ["pytester"] if _INSTALLED else ["pytester", "emu.testing.plugin"]
