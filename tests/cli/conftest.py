"""The command, called in this process or as a process of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import emu.machine
import guests
import msharefs.module
from emu.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


class Ran(NamedTuple):
    status: int
    out: str
    err: str


Unimmu = Callable[..., Ran]


@pytest.fixture
def unimmu(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Unimmu:
    """``unimmu("run", "hello")`` in this process; msharefs is available even if the distribution is not installed."""
    monkeypatch.setattr(emu.machine, "find_modules", lambda: {"msharefs": msharefs.module.init})

    def call(*words: object) -> Ran:
        capfd.readouterr()
        with open(os.devnull) as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            status = main([str(word) for word in words])
        return Ran(status, *capfd.readouterr())

    return call


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **more}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "emu.cli.entry", *(str(word) for word in words)]


def start(
    *words: object, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None
) -> subprocess.Popen[str]:
    """The command as a separate process."""
    return subprocess.Popen(command(*words), env=environment(), text=True, stdin=stdin, stdout=stdout, stderr=stderr)


@pytest.fixture
def hello_with(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the guest `hello` in which bytes were changed: ``hello_with({offset: bytes}, length)``."""

    def make(changes: dict[int, bytes] | None = None, length: int | None = None) -> Path:
        image = bytearray(guests.path("hello").read_bytes()[:length])
        for offset, data in (changes or {}).items():
            image[offset : offset + len(data)] = data
        path = tmp_path / "program"
        path.write_bytes(image)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make
