"""The pytest plugin, for a checkout that is not installed."""

from __future__ import annotations

from importlib.metadata import entry_points

pytest_plugins = [] if entry_points(group="pytest11", name="unimmu") else ["emu.testing.plugin"]
