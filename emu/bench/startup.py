"""What the command costs before the guest runs: `unimmu run hello` as a whole process."""

from __future__ import annotations

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, median_ratio, seconds

#: A fixed measure: what a tool imports that has native hooks made by a compiler.  unimmu itself loads them without it.
LEAST = "import numpy, unicorn, llvmlite.binding"
#: What the installed `unimmu` script does.
COMMAND = "import sys; from emu.cli.entry import main; sys.exit(main())"


def startup(rounds: int) -> Measurement:
    """`unimmu run hello` against the imports alone, both warm, from the start of the process to its end."""
    hello = str(guests.path("hello"))
    with tempfile.TemporaryDirectory(prefix="unimmu-bench-") as cache:
        environment = environment_of(cache)
        taken = alternate(
            rounds,
            {
                "run hello": lambda: seconds(lambda: _python(environment, COMMAND, "run", hello)),
                "imports": lambda: seconds(lambda: _python(environment, LEAST)),
            },
        )
    figures = (
        Figure(
            "startup_ratio",
            f"unimmu run hello, warm, whole process / python -c '{LEAST}'",
            median_ratio(taken["run hello"], taken["imports"]),
            aim=Aim(2.0),
        ),
        Figure("startup_run_ms", "  unimmu run hello", statistics.median(taken["run hello"]) * 1e3, "ms"),
        Figure("startup_imports_ms", "  the imports", statistics.median(taken["imports"]) * 1e3, "ms"),
    )
    return Measurement("startup", taken, figures)


def environment_of(bytecode: str) -> dict[str, str]:
    """Ours, but so that this very package is found, installed or not, and that Python keeps its bytecode.

    Warm means that no source is compiled any more; ``bytecode`` is a directory for it, where Python leaves none beside
    the sources, because the user has asked for that or may not write there.
    """
    package = pathlib.Path(__file__).resolve().parents[1]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package.parent), environment.get("PYTHONPATH"))))
    if sys.dont_write_bytecode or not os.access(package, os.W_OK):
        environment["PYTHONPYCACHEPREFIX"] = bytecode
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _python(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-c", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        what = " ".join(arguments[1:]) or arguments[0]
        raise RuntimeError(f"bench: {what} ended with {done.returncode}: {done.stderr.strip()}")
