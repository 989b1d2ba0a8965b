"""A point of a sweep: what it runs, the key of its content, and running it in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emu.lab.scratch import scratch_directory
from emu.linux.event_kind import printable

#: What a process is that runs one point: it ends when the one that waits for it does (prctl PR_SET_PDEATHSIG).
_PROGRAM = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv.pop(1)): sys.exit(70)
from emu.cli.entry import main
main()
"""
#: Bytes of a file's name, at most (Linux's PATH_MAX): a word that is longer names none.
_MOST_NAME = 4096
#: The last lines of what a run complains of that are kept.
_TOLD = 2000
#: How much of that is read at a time.
_PIECE = 1 << 16
#: How lines begin that say what a run does, and not why it failed.
_NOTES = ("unimmu: compiling ", "unimmu run: the program starts in ")
#: How often somebody who waits for a run looks whether to stop, in seconds.
_LOOK_S = 0.2


class Killed(Exception):
    """The process of a point was ended by a signal that nobody expected: another attempt may go well."""


@dataclass(frozen=True)
class Point:
    """The words of the command behind ``unimmu``, those of ``unimmu tlb sim`` for the stream of that run, if there are
    any, and what else decides what comes of it: the contents of the files that they name, as path and SHA-256, and the
    code.

    ``directory``, ``timeout_s`` and ``ends``, the exit statuses that are no failure, say how to run it, and are no part
    of its key.
    """

    words: tuple[str, ...]
    replay: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    code: str
    directory: str
    timeout_s: float
    ends: tuple[int, ...]

    @property
    def key(self) -> str:
        """Its content in 32 hexadecimal digits."""
        content = json.dumps([self.words, self.replay, self.inputs, self.code])
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """As it travels to another process."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Point:
        """What :meth:`to_bytes` has made."""
        held = json.loads(data)
        for name in ("words", "replay", "ends"):
            held[name] = tuple(held[name])
        held["inputs"] = tuple((path, digest) for path, digest in held["inputs"])
        return cls(**held)


def point_of(
    words: tuple[str, ...],
    directory: Path,
    timeout_s: float,
    replay: tuple[str, ...] = (),
    ends: tuple[int, ...] = (0,),
) -> Point:
    """The point that runs this command in a directory."""
    inputs = tuple(_inputs((*words, *replay), directory))
    return Point(words, replay, inputs, code_digest(), str(directory), timeout_s, ends)


def _inputs(words: tuple[str, ...], directory: Path) -> Iterator[tuple[str, str]]:
    """The files that a command names: a word, or a part of one between commas, behind the = of an option, or before a
    colon; and guests that come with us."""
    import guests

    values = [value for word in words for value in (word, word.partition("=")[2] if word.startswith("-") else "")]
    parts = [part for value in values for part in (value, *value.split(","))]
    names = [name for part in parts for name in (part, part.partition(":")[0]) if name]
    for name in dict.fromkeys(names):
        path = directory / name
        if len(name) < _MOST_NAME and path.is_file():
            yield name, file_digest(path, path.stat().st_mtime_ns)
        elif words[0] == "run" and name in guests.NAMES:
            yield name, file_digest(Path(guests.path(name)), 0)


@functools.cache
def file_digest(path: Path, _changed: int) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def code_digest() -> str:
    """The digest of all code that a run may use, kernel modules among it: with another one, other results may come."""
    modules = {point.module.partition(".")[0] for point in entry_points(group="unimmu.modules")}
    digest = hashlib.sha256(sys.version.encode())
    for package in sorted({"mmu", "emu", "guests", *modules}):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations if spec is not None else None) or ():
            for path in sorted(Path(place).rglob("*")):
                if path.suffix in (".py", ".toml"):
                    digest.update(f"{package}/{path.relative_to(place)}".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def run_point(data: bytes, stopped: threading.Event | None = None) -> bytes:
    """Run a point, given by its :meth:`Point.to_bytes`; returns JSON: ``figures``, or an ``error`` in a line; and
    ``seconds``.  :class:`Killed`, also where somebody sets ``stopped``.
    """
    point = Point.from_bytes(data)
    begun = time.monotonic()
    outcome = _refused(point) or _run(point, stopped or threading.Event())
    return json.dumps({**outcome, "seconds": round(time.monotonic() - begun, 3)}).encode()


def _refused(point: Point) -> dict[str, Any] | None:
    """Why a point cannot be run here, where it came from another host."""
    if not os.path.isdir(point.directory):
        return {"error": f"{os.uname().nodename}: there is no directory {point.directory}"}
    if code_digest() != point.code:
        return {"error": f"{os.uname().nodename}: another unimmu than where the sweep was started"}
    if dict(_inputs((*point.words, *point.replay), Path(point.directory))) != dict(point.inputs):
        return {"error": f"{os.uname().nodename}: the files that the command names are others here"}
    return None


def _run(point: Point, stopped: threading.Event) -> dict[str, Any]:
    with scratch_directory() as scratch:
        figures, stream = (os.path.join(scratch, name) for name in ("figures.json", "stream.parquet"))
        verbs = 2 if point.words[0] == "tlb" else 1
        output = ["--record", stream] if point.replay else ["--json", figures]
        commands = [[*point.words[:verbs], *output, *point.words[verbs:]]]
        if point.replay:
            commands.append(["tlb", "sim", "--json", figures, *point.replay, stream])
        for command, ends in zip(commands, (point.ends, (0,)), strict=False):
            if error := _error_of(command, ends, point, stopped):
                return {"error": error}
        try:
            return {"figures": flat(_like_a_run(json.loads(Path(figures).read_bytes())))}
        except (OSError, ValueError) as error:
            return {"error": f"the run wrote no figures: {error}"}


def _error_of(words: list[str], ends: tuple[int, ...], point: Point, stopped: threading.Event) -> str:
    """Run ``unimmu`` with these words; what went wrong, or nothing.  :class:`Killed`."""
    status, told = _ended(words, point, stopped)
    if status is None:
        return f"not ready after {point.timeout_s:g} seconds"
    if status < 0:
        raise Killed(f"ended by {signal.Signals(-status).name}")
    if status in ends:
        return ""
    said = told.decode("utf-8", "replace").splitlines()
    lines = [line for line in said if line.strip() and not line.startswith(_NOTES)]
    return f"exit status {status}{f': {printable(lines[-1])}' if lines else ''}"


def _ended(words: list[str], point: Point, stopped: threading.Event) -> tuple[int | None, bytes]:
    """The exit status of ``unimmu`` with these words, None if it took too long, and the end of what it has told: a
    guest may write to standard error for as long as it runs."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(os.getpid()), *words], cwd=point.directory, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    until, told = time.monotonic() + point.timeout_s, b""
    assert process.stderr is not None
    with process:
        try:
            poll = select.poll()
            poll.register(process.stderr, select.POLLIN)
            while (left := until - time.monotonic()) > 0 and not stopped.is_set():
                if not poll.poll(1000 * min(left, _LOOK_S)):
                    continue
                some = os.read(process.stderr.fileno(), _PIECE)
                told = (told + some)[-_TOLD:]
                if not some:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return process.wait(min(left, _LOOK_S)), told
        finally:
            process.kill()
    return -signal.SIGKILL if stopped.is_set() else None, told


def _like_a_run(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a replay of one model by the names that a run's have."""
    match figures:
        case {"models": [{**model}], "accesses": int(accesses)}:
            return {"accesses": accesses, "mmu": model, "left_out": figures.get("left_out", {})}
    return figures


def flat(figures: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers of a run's JSON by their paths: ``mmu.walks``.  Of a list of objects, how many they are
    (``processes.count``), and the sums of their numbers (``processes.minor_faults``)."""
    found: dict[str, int | float] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            found.update((f"{name}.{inner}", number) for inner, number in flat(value).items())
        elif isinstance(value, list):
            objects = [flat(one) for one in value if isinstance(one, dict)]
            found[f"{name}.count"] = len(value)
            for inner in dict.fromkeys(key for one in objects for key in one):
                found[f"{name}.{inner}"] = sum(one.get(inner, 0) for one in objects)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found
