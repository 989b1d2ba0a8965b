"""Says in the end which guests could not be held against this host, but only against what was recorded."""

from __future__ import annotations

from typing import Any

import pytest

ONLY_RECORDED = "held against the recording only"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line a reason."""
    names: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("passed", ()):
        for key, reason in getattr(report, "user_properties", ()):
            if key == ONLY_RECORDED:
                names.setdefault(reason, []).append(report.nodeid.rpartition("[")[2].rstrip("]"))
    for reason, guests in names.items():
        shown = ", ".join(guests[:8]) + (", ..." if len(guests) > 8 else "")
        terminalreporter.write_line(f"tests/native: {len(guests)} {ONLY_RECORDED}, since {reason}: {shown}")


@pytest.fixture
def only_recorded(record_property: Any) -> Any:
    """A function to be told why a guest could not be held against this host."""
    return lambda reason: record_property(ONLY_RECORDED, reason)
