"""The examples in docs/testing.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import guests.build
from mmu.objectcode import cache_directory

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
CACHE = cache_directory()
CONFTEST = """
import pytest
import msharefs.module

@pytest.fixture
def unimmu_modules():
    return {"msharefs": msharefs.module.init}
"""


@pytest.mark.skipif(guests.build.compiler() is None, reason="there is no gcc on the PATH")
def test_the_manual_s_examples(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    test, events, mark = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    test += "    " + events.strip().replace("\n", "\n    ") + "\n"
    test = test.replace("(machine):", "(machine, mmu_events):")
    test += f"\n{mark.strip()}\ndef test_marked(machine):\n    assert machine.ram.size == 128 << 20\n"
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(CACHE))
    pytester.runpytest("-p", "emu.testing.plugin").assert_outcomes(passed=7)
