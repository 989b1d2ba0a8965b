"""The product's own fixtures, with msharefs whether or not it is installed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import msharefs.module
from emu.kernel.modules import Init


@pytest.fixture
def unimmu_modules() -> Mapping[str, Init]:
    return {"msharefs": msharefs.module.init}
