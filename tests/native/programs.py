"""Programs of this system, run with ``--root /`` and by the host: the cases, and the table of docs/programs.md.

A case is a file in ``scripts/``, whose first line says which program it is about, and what it does.
``python -m tests.native.programs`` prints the page.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from emu.cli.running.rooted import SEARCHED

ROOT = Path(__file__).resolve().parents[2]
#: How long a program may take on the host, or in the machine (s).
_TIMEOUT_S = 200
#: What unimmu says of a call that is not there.
_MISSING = re.compile(r"^unimmu: (?:system call \d+ \((\w+)\) is not implemented|(.*?)(?: is|:) not supported)", re.M)
#: How a text is run, by the suffix of its file.
_RUNNERS = {".sh": "/bin/sh -c", ".bash": "bash -c", ".pl": "perl -e", ".py": "/usr/bin/python3 -c"}


class Case(NamedTuple):
    """A program, and what it does, as a command."""

    program: str
    what: str
    command: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether this host has the program."""
        return any(os.access(os.path.join(place, self.program), os.X_OK) for place in SEARCHED.split(":"))


class Ran(NamedTuple):
    """What came of a run; ``cpu_s`` is user and system time."""

    status: int
    out: str
    err: str
    cpu_s: float


def cases() -> list[Case]:
    """All of them, by file name."""
    found = []
    for file in sorted((Path(__file__).parent / "scripts").iterdir()):
        if file.suffix in _RUNNERS:
            text = file.read_text("utf-8")
            program, _, what = text.partition("\n")[0].removeprefix("# ").partition(": ")
            found.append(Case(program, what, (*_RUNNERS[file.suffix].split(), text)))
    return found


def on_host(case: Case) -> Ran:
    """Run a case in an empty directory."""
    with tempfile.TemporaryDirectory() as directory:
        return _run(list(case.command), directory, {"PATH": SEARCHED, "HOME": "/root"})


def in_machine(case: Case) -> Ran:
    """Run a case in a machine whose root is this system's, in its empty /tmp, with the same environment."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    words = ["--root", "/", "--cwd", "/tmp", "--env", "HOME=/root", "--timeout", "180"]
    command = [sys.executable, "-m", "emu.cli.main", "run", *words, *case.command]
    return _run(command, "/", {**os.environ, "PYTHONPATH": path})


def _run(command: list[str], directory: str, environment: dict[str, str]) -> Ran:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    ) as ran:  # fmt: skip
        try:
            out, err = ran.communicate(timeout=_TIMEOUT_S)
        except BaseException:
            _end_session(ran.pid)  # stopped jobs and what else would keep the pipes open
            raise
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(ran.returncode, out, err, cpu_s)


def _end_session(leader: int) -> None:
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == leader:
                os.kill(int(entry), signal.SIGKILL)
        except ProcessLookupError:
            pass


def _page() -> str:
    lines = []
    for case in cases():
        if not case.installed:
            lines.append(f"| {case.program} | {case.what} | not installed here | | |\n")
            continue
        host, machine = on_host(case), in_machine(case)
        result = "as on the host" if (host.status, host.out) == (machine.status, machine.out) else "**differs**"
        asked = ", ".join(dict.fromkeys(name or what for name, what in _MISSING.findall(machine.err)))
        lines.append(f"| {case.program} | {case.what} | {result} | {machine.cpu_s:.1f} s | {asked} |\n")
        print(case.program, result, file=sys.stderr)
    return _HEAD + "".join(lines)


_HEAD = """\
# Programs of this system, tried

Each was run with `unimmu run --root /` and by the host; its output and exit status are compared. What they do is in
`tests/native/scripts/`. The times are user and system time of unimmu, on Debian 12. What a program asked for
that is not there, and did without, is in the last column: each is a line of unimmu's on standard error.
`python -m tests.native.programs` makes this page.

| program | does | result | CPU time | asked in vain for |
|---|---|---|---|---|
"""

if __name__ == "__main__":
    print(_page(), end="")
