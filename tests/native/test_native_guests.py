"""Each guest does in the machine what it did on Linux, and what it does on this host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.native import host, machine
from tests.native.guest import Guest, all_guests, files_of
from tests.native.outcome import Outcome, Recording
from tests.native.record import difference

_TIMES = 3


@pytest.mark.parametrize("guest", all_guests(), ids=lambda guest: guest.name)
def test_a_guest_does_what_it_does_on_linux(
    guest: Guest, only_recorded: Callable[[str], None], request: pytest.FixtureRequest
) -> None:
    if guest.differs:
        request.applymarker(pytest.mark.xfail(reason=guest.differs, strict=True))
    hold(guest, only_recorded)


def hold(guest: Guest, only_recorded: Callable[[str], None]) -> None:
    """AssertionError where the machine does otherwise; a host that is not as the recorded one is told of."""
    recorded = Recording.load(guest.recording.read_text("utf-8"))
    assert recorded.source == guest.digest, "the source has changed: python -m tests.native.record"
    ran = machine.run(guest)
    assert not (wrong := difference(recorded.outcome, ran.outcome)), wrong
    assert not ran.findings
    if reason := host.why_not(guest):
        only_recorded(reason)
    elif wrong := _host_differs(guest, ran.outcome):
        peculiar = host.peculiarities(recorded.version)
        assert peculiar, f"this host is not as it was recorded:\n{wrong}"
        only_recorded(f"this host is not as Linux {recorded.kernel}: {peculiar}")


def _host_differs(guest: Guest, outcome: Outcome) -> str:
    """What the host does otherwise each time: a busy one may be late once."""
    wrong = ""
    for _ in range(_TIMES):
        wrong = difference(host.run(guest), outcome)
        if not wrong:
            break
    return wrong


def test_every_guest_is_built_and_recorded() -> None:
    sources = [guest.source for guest in all_guests()]
    assert sources
    for suffix in (".elf", ".json"):
        assert [file.with_suffix(".c") for file in files_of(suffix)] == sources, suffix


def test_guests_are_small() -> None:
    sizes = {guest.name: guest.program.stat().st_size for guest in all_guests()}
    assert sum(sizes.values()) < 3 << 20
    assert not {name: size for name, size in sizes.items() if size > 16 << 10}


def test_a_peculiar_host_is_told_from_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    guest, told = all_guests()[0], list[str]()
    recorded = Recording.load(guest.recording.read_text("utf-8"))
    other = replace(recorded.outcome, stdout=("sandboxed",))
    monkeypatch.setattr(host, "why_not", lambda guest: "")
    monkeypatch.setattr(host, "run", lambda guest: other)
    monkeypatch.setattr(host, "peculiarities", lambda version: "seccomp filters its system calls")
    hold(guest, told.append)
    assert told == [f"this host is not as Linux {recorded.kernel}: seccomp filters its system calls"]
    monkeypatch.setattr(host, "peculiarities", lambda version: "")
    with pytest.raises(AssertionError, match="this host is not as it was recorded"):
        hold(guest, told.append)
    ran = machine.run(guest)
    monkeypatch.setattr(machine, "run", lambda guest: ran._replace(outcome=other))
    with pytest.raises(AssertionError, match=r"\+sandboxed"):
        hold(guest, told.append)
