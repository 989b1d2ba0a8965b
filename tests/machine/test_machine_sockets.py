"""Sockets: one Python program, on the host and in the machine, prints the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.booted import MIB, MakeMachine
from tests.exhaustive import by_default
from tests.machine.native_host import needs_host, skip_before

SCRIPT = Path(__file__).with_name("sockets_script.py")
RANDOM = Path(__file__).with_name("sockets_random.py")
PYTHON = os.path.realpath(sys.executable)
OPTIONS = ["-I", "-S"]


def has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists() and "00000000000000000000000000000001" in Path(
        "/proc/net/if_inet6"
    ).read_text("ascii")


def in_machine(machine: MakeMachine, arguments: list[str], script: Path = SCRIPT, **options: object) -> str:
    booted = machine(256 * MIB, root="/", **options)
    booted.kernel.vfs.write_file("/tmp/script.py", script.read_bytes())
    program = [*OPTIONS, "/tmp/script.py", *arguments]
    ended = booted.outcome_of(booted.spawn(PYTHON, program, {"PYTHONDONTWRITEBYTECODE": "1"}, in_guest=True))
    assert (ended.stderr, ended.exit_status) == ("", 0), ended
    return ended.stdout


@needs_host
@pytest.mark.parametrize("cpus", by_default([1], [1, 2]))
def test_every_call_as_on_the_host(machine: MakeMachine, cpus: int) -> None:
    arguments = [] if has_ipv6() else ["no6"]
    command = [PYTHON, *OPTIONS, str(SCRIPT), *arguments]
    native = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert in_machine(machine, arguments, cpus=cpus) == native.stdout


@needs_host
def test_random_calls_as_on_the_host(machine: MakeMachine) -> None:
    skip_before((6, 18))  # what an urgent byte does to the bytes that wait has changed often
    seeds = ["0", by_default("8", "40")]
    command = [PYTHON, *OPTIONS, str(RANDOM), *seeds]
    native = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert in_machine(machine, seeds, RANDOM, cpus=2) == native.stdout
