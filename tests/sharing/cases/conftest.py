"""These tests use the pytest plugin as anybody would: ``machine`` is its fixture, not that of tests.booted."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import msharefs.module
import sharing.ptshare
from emu.kernel.modules import Init
from emu.testing.plugin import machine

__all__ = ["machine"]


@pytest.fixture
def unimmu_modules() -> Mapping[str, Init]:
    return {"msharefs": msharefs.module.init, "ptshare": sharing.ptshare.init}
