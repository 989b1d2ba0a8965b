"""Threads of which nothing is special come and go by a short way: nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest

from emu.kernel import threads
from tests.exhaustive import by_default
from tests.machine.test_machine_fast_path import Ran, run


def _run_both(words: str, monkeypatch: pytest.MonkeyPatch, **kind: Any) -> tuple[Ran, Ran, list[str]]:
    """The run by the short ways, and by the long ones alone; and which short ways were gone to their end."""
    done: list[str] = []
    made, ended = threads.new_thread, threads.end_thread

    def new_thread(*arguments: Any) -> int | None:
        number = made(*arguments)
        done.extend(["new"] if number is not None else [])
        return number

    def end_thread(*arguments: Any) -> bool:
        has = ended(*arguments)
        done.extend(["end"] if has else [])
        return has

    with monkeypatch.context() as patch:
        patch.setattr(threads, "new_thread", new_thread)
        patch.setattr(threads, "end_thread", end_thread)
        short = run(words, **kind)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "new_thread", lambda *_: None)
        patch.setattr(threads, "end_thread", lambda *_: False)
        return short, run(words, **kind), done


KINDS: tuple[dict[str, Any], ...] = ({}, {"cpus": 2}, {"tlb": "skylake-sp"}, {"turn": (500, 5000)})
WORDS = ("pthreads", "threads", "joins 40 5", "costs joins 20")


@pytest.mark.parametrize(
    ("words", "kind"),
    by_default(
        [(words, KINDS[(first + second) % 4]) for first, words in enumerate(WORDS) for second in (0, 1)],
        [(words, kind) for words in WORDS for kind in KINDS],
    ),
)
def test_programs_with_threads(words: str, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    short, long, done = _run_both(words, monkeypatch, **kind)
    assert short.seen == long.seen
    assert {"new", "end"} <= set(done)
