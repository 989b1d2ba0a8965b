"""For tests of what is raised within the engine: exceptions, Ctrl-C, and that nothing is left of them."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator

import pytest


class Broken(Exception):
    pass


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Python may take it away at any moment, and prints what __del__ raises outside a run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def nothing_is_left(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed, and the previous hooks for SIGINT and lost exceptions are installed again."""
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before
    assert capfd.readouterr() == ("", "")


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def break_it() -> None:
    raise Broken


RAISES = {Broken: break_it, KeyboardInterrupt: interrupt}
