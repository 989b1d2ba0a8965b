"""A Dask scheduler of our own, and workers of one thread: processes that end with the measurement."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

_START_S = 60.0


def is_installed() -> bool:
    """Whether there is Dask."""
    return find_spec("distributed") is not None


@contextmanager
def workers(number: int) -> Iterator[str]:
    """So many workers are ready; the address of their scheduler.  RuntimeError if they are not after a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        _start(stack, directory, "dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show")
        for _ in range(number):
            words = (address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
            _start(stack, directory, "dask_worker", *words)
        _wait(address, number)
        yield address


def _start(stack: ExitStack, directory: str, module: str, *words: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", f"distributed.cli.{module}", *words], cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)


def _wait(address: str, number: int) -> None:
    distributed = import_module("distributed")
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        try:
            with distributed.Client(address, timeout=5, set_as_default=False) as client:
                client.wait_for_workers(number, timeout=max(1.0, until - time.monotonic()))
            return
        except (OSError, TimeoutError):
            continue
    raise RuntimeError(f"bench: {number} workers of Dask were not ready after {_START_S:g} seconds")
