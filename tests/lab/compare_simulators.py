"""``python -m tests.lab.compare_simulators``: hits and misses of ChampSim and DynamoRIO's drcachesim beside ours.

The stream is written in the simulator's own format, and that file is simulated by both, with one geometry: ChampSim's
default one, or drcachesim's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from emu.lab.batch import Batch, StreamError
from emu.lab.stream import open_stream
from tests.lab.simulators import ChampSim, ComparisonError, Counts, Drcachesim, Simulator

_PROGRAM = "compare_simulators"
_EXAMPLES = """\
examples:
  unimmu run --record gups.parquet gups 4M 20000
  python -m tests.lab.compare_simulators --champsim ChampSim/bin/champsim gups.parquet
  python -m tests.lab.compare_simulators --drrun dynamorio/bin64/drrun gups.parquet

The exit status is 0 if all counters are equal, 1 if some differ, and 2 if that could not be found out.
"""


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.lab.{_PROGRAM}", description=__doc__, epilog=_EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("file", metavar="FILE", help="a stream of one process: what unimmu tlb sim takes")
    add("--champsim", type=Path, metavar="BINARY", help="a build of ChampSim with its default configuration")
    add("--drrun", type=Path, metavar="BINARY", help="drrun of a build or a release of DynamoRIO")
    add(
        "--policy", choices=("lru", "fifo", "lfu"), default="lru",
        help="how drcachesim's TLBs replace (default: lru; releases that know only lfu need that)",
    )  # fmt: skip
    add("--keep", type=Path, metavar="DIR", help="keep the traces and results there")
    chosen = parser.parse_args(words)
    try:
        return _compare(chosen)
    except (ComparisonError, StreamError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{_PROGRAM}: {error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def _compare(chosen: argparse.Namespace) -> int:
    """Whether something differs."""
    if chosen.champsim is None and chosen.drrun is None:
        raise ComparisonError("no simulator: --champsim or --drrun names a build (docs/tlb-lab.md)")
    with tempfile.TemporaryDirectory(prefix=f"{_PROGRAM}-") as temporary:
        directory = Path(temporary) if chosen.keep is None else chosen.keep
        directory.mkdir(parents=True, exist_ok=True)
        simulators: list[Simulator] = []
        if chosen.champsim is not None:
            simulators.append(ChampSim(_executable(chosen.champsim), directory))
        if chosen.drrun is not None:
            simulators.append(Drcachesim(_executable(chosen.drrun), directory, chosen.policy))
        equal = [_agrees(simulator, chosen.file) for simulator in simulators]
    return 0 if all(equal) else 1


def _agrees(simulator: Simulator, file: str) -> bool:
    """Whether it counts what we count; says so."""
    accesses = simulator.write(_of_one_process(file))
    if not accesses:
        raise ComparisonError(f"{file}: there is no load and no store in it")
    printed, seconds = _run(simulator.command(accesses))
    theirs = simulator.read(printed)
    ours, our_seconds = _ours(simulator)
    print(f" {simulator.name}: {accesses:,} loads and stores of {file}\n")
    print(f" {'':5}{'hits':>14}{'misses':>14}{'our hits':>16}{'our misses':>14}")
    for name, counts in theirs.items():
        said = "equal" if counts == ours[name] else "different"
        cells = f"{counts.hits:14,}{counts.misses:14,}{ours[name].hits:16,}{ours[name].misses:14,}"
        print(f" {name:5}{cells}  {said}")
    times = seconds / max(our_seconds, 1e-3)
    print(
        f"\n CPU time: {seconds:.2f} s; of unimmu tlb sim {our_seconds:.2f} s ({times:.1f} times; {simulator.caution})"
    )
    return theirs == ours


def _of_one_process(file: str) -> Iterator[Batch]:
    """The accesses of a file.  :class:`ComparisonError` where they are of several address spaces."""
    spaces: set[int] = set()
    for batch in open_stream(file, ("vaddr", "kind", "space")):
        spaces.update(np.unique(batch.space).tolist())
        if len(spaces) > 1:
            raise ComparisonError(f"{file}: it is of several address spaces, and these simulators' TLBs have one")
        yield batch


def _ours(simulator: Simulator) -> tuple[dict[str, Counts], float]:
    """What ``unimmu tlb sim`` counts of the simulator's trace, and the CPU time that it takes."""
    result = simulator.directory / f"unimmu-{simulator.name}.json"
    words = ["tlb", "sim", str(simulator.trace), "--tlb", simulator.geometry(), "--json", str(result)]
    _, seconds = _run([sys.executable, "-m", "emu.cli.main", *words])
    model = json.loads(result.read_bytes())["models"][0]["tlb"]
    arrays = {name: counts for level in model.values() for name, counts in level.items()}
    return {name: Counts(arrays[name]["hits"], arrays[name]["misses"]) for name in simulator.arrays}, seconds


def _run(command: Sequence[str]) -> tuple[str, float]:
    """What a command prints, and its CPU time, user and system.  :class:`ComparisonError` if it fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    with tempfile.TemporaryFile() as file:
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        printed = file.read().decode("utf-8", "replace")
    if process.returncode != 0:
        last = (printed.strip().splitlines() or ["it said nothing"])[-1]
        raise ComparisonError(f"{Path(command[0]).name} ended with {process.returncode}: {last[:200]}")
    return printed, usage.ru_utime + usage.ru_stime


def _executable(path: Path) -> Path:
    """The path.  :class:`ComparisonError` if that is no program."""
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ComparisonError(f"{path}: not a program that can be run")
    return path.resolve()


if __name__ == "__main__":
    sys.exit(main())
