"""Builds guests and records what they do on this host. From the top of the repository:

    python -m tests.native.record                    all whose source is not that of their recording
    python -m tests.native.record fds/pipe_... ...   these (a name, or the beginning of names)
    python -m tests.native.record --show NAME ...    only print what they do on the host and where the machine differs
    python -m tests.native.record --seeds 50 NAME    those that call chance(), with 50 other seeds; nothing is kept

What the machine does otherwise is printed, and such a guest is not recorded unless its source says "// differs: WHY".
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.native import host, machine
from tests.native.guest import Guest, all_guests
from tests.native.outcome import Outcome, Recording

#: How often a guest must do the same on the host before it is kept.
_RUNS = 5


def difference(linux: Outcome, ours: Outcome, whose: str = "the machine") -> str:
    """What the machine did otherwise, line by line; empty if nothing."""
    if linux == ours:
        return ""
    changed = difflib.unified_diff(linux.text, ours.text, "Linux", whose, lineterm="", n=2)
    return "\n".join(changed)


def fresh(guest: Guest) -> bool:
    """Whether its program and its recording are those of its source."""
    if not (guest.program.exists() and guest.recording.exists()):
        return False
    return Recording.load(guest.recording.read_text("utf-8")).source == guest.digest


def record(guest: Guest, *, only_show: bool = False) -> bool:
    """Build a guest, run it on both sides and keep what it did on the host; False if something is wrong."""
    guest.build()
    if reason := host.why_not(guest):
        print(f"{guest.name}: not recorded: {reason}")
        return False
    linux, ran = host.run(guest), machine.run(guest)
    if only_show:
        print(*linux.text, sep="\n")
    wrong = [*ran.findings]
    for again in (host.run(guest) for _ in range(_RUNS - 1)):
        if linux != again:
            wrong.append(f"two runs on the host differ:\n{difference(linux, again, 'again')}")
            break
    differs = difference(linux, ran.outcome)
    if differs and not guest.differs:
        wrong.append(f"the machine differs:\n{differs}")
    if guest.differs and not differs:
        wrong.append("it says that the machine differs, and it does not")
    print(f"{guest.name}:", "\n".join(wrong) or "as on the host", f"({guest.program.stat().st_size} bytes)")
    if not wrong and not only_show:
        kept = Recording(host.release(), guest.digest, linux, ran.calls)
        guest.recording.write_text(kept.dump(), "utf-8")
    return not wrong


def try_seeds(guest: Guest, number: int) -> bool:
    """Run a guest with other seeds on both sides; prints where the machine differs, and whether it never does."""
    good = True
    with tempfile.TemporaryDirectory() as directory:
        copy = Guest(guest.name, Path(directory) / guest.source.name)
        shutil.copy(guest.source, copy.source)
        for seed in range(2, 2 + number):
            copy.build(f"-DSEED={seed}")
            ran = machine.run(copy)
            if wrong := [*filter(None, [difference(host.run(copy), ran.outcome)]), *ran.findings]:
                print(f"{guest.name}, seed {seed}:", *wrong, sep="\n")
                good = False
    print(f"{guest.name}: {number} seeds, {'as on the host' if good else 'not always as on the host'}")
    return good


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 if a guest was not recorded."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.record", description="Builds and records guests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="guests, or beginnings of names (those that changed)")
    parser.add_argument("--show", action="store_true", help="only print what they do")
    parser.add_argument("--seeds", type=int, metavar="N", help="run them with N other seeds, and keep nothing")
    options = parser.parse_args(argv)
    chosen = [g for g in all_guests() if (g.name.startswith(tuple(options.names)) if options.names else not fresh(g))]
    if options.names and not chosen:
        parser.error("there is no such guest in tests/native/guests")
    good = True
    for guest in chosen:
        try:
            good &= try_seeds(guest, options.seeds) if options.seeds else record(guest, only_show=options.show)
        except (subprocess.CalledProcessError, AssertionError) as error:
            print(f"{guest.name}: {error}")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
