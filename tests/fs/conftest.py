"""The machine of these tests."""

from __future__ import annotations

import pytest

from tests.fs.machine import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()
