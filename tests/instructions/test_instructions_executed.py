"""What native code calls of the engine is tried before it is relied on."""

from __future__ import annotations

import pytest

from emu.instructions.executed import build
from mmu.unicorn_abi import UnicornMismatch


@pytest.mark.parametrize(
    ("field", "other"),
    [("load16", "load8"), ("load64", "load32"), ("store32", "store16"), ("store8", "store64")],
)
def test_another_function_is_noticed(monkeypatch: pytest.MonkeyPatch, field: str, other: str) -> None:
    monkeypatch.setitem(build.FUNCTIONS, field, build.FUNCTIONS[other])
    with pytest.raises(UnicornMismatch, match=build.FUNCTIONS[other]):
        build.self_test.__wrapped__()
