"""Sequences of calls on memory by chance, on this host and in the machine: mappings, entries, counts, errors and faults
are compared after every step.  From the top of the repository:

    python -m tests.native.memory_fuzz --build                     compile the guest
    python -m tests.native.memory_fuzz --first 1000 --count 5000   compare these sequences, as long as it takes
    python -m tests.native.memory_fuzz --huge --count 300          the same on huge pages
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from emu.testing import GuestMachine
from tests.native.guest import FLAGS, HERE
from tests.native.outcome import version_of

SOURCE = HERE / "fuzz" / "random_mappings.c"
GUEST, HUGE_GUEST = SOURCE.with_suffix(".elf"), SOURCE.with_name("random_huge_pages.elf")
#: The first version of Linux that does all of it.
SINCE = (6, 18)
STEPS = 40
#: Those that the suite compares begin here.
FIRST_OF_TESTS = 1000
FIRST_OF_HUGE = 1080
#: How many sequences one process does.
_BATCH = 10
_CONTEXT, _TIMES = 14, 3
#: Seconds on a busy host: a second or two of CPU.
_BUSY_S = 900


def build() -> None:
    """Compile the guests.  CalledProcessError, with the compiler's own words on stderr, if that fails."""
    for guest, more in ((GUEST, []), (HUGE_GUEST, ["-DHUGE"])):
        words = ["gcc", *FLAGS, *more, f'-DDIGEST="{digest()}"', "-I", str(HERE / "include"), str(SOURCE)]
        subprocess.run([*words, "-o", str(guest)], check=True)
        guest.chmod(0o755)


def digest() -> str:
    """Of the guest's source; the guest prints it first."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]


def on_the_host(first: int, count: int, steps: int, guest: Path = GUEST) -> str:
    """What the host prints."""
    words = [str(guest), str(first), str(count), str(steps)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env={}, process_group=0)
    try:
        out, _ = process.communicate(timeout=_BUSY_S)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # children too
        except ProcessLookupError:
            pass
        process.wait()
    assert process.returncode == 0, f"on the host it ended with {process.returncode}"
    return out.decode()


def in_the_machine(first: int, count: int, steps: int, guest: Path = GUEST) -> str:
    """What the machine prints.  AssertionError if the audit finds something."""
    machine = GuestMachine(modules={}, record=False)
    path = machine.install(guest, f"/bin/{guest.stem}")
    task = machine.spawn(path, [str(first), str(count), str(steps)], in_guest=True, argv0=guest.stem)
    machine.finish(_BUSY_S)
    end = machine.ending(task)
    text = bytes(machine.out).decode()
    findings = machine.close()
    assert not findings, "\n".join(findings)
    assert end == 0, f"{end}: {bytes(machine.err).decode()}"
    return text


def sequences(text: str) -> Iterator[tuple[str, list[str]]]:
    """The output, by sequence."""
    for part in text.split("sequence ")[1:]:
        number, _, rest = part.partition("\n")
        yield number, rest.splitlines()


def first_difference(linux: list[str], ours: list[str]) -> str:
    """The steps before the first line that differs, and that line twice; empty if there is none."""
    for at, (theirs, mine) in enumerate(zip(linux, ours, strict=False)):
        if theirs != mine:
            before = "\n".join(linux[max(0, at - _CONTEXT) : at])
            return f"{before}\n- {theirs}\n+ {mine}"
    return "" if len(linux) == len(ours) else "one of them has ended"


def differences(first: int, count: int, steps: int = STEPS, guest: Path = GUEST) -> Iterator[str]:
    """Each sequence that differs each time, with its first difference: a busy host may once take pages away."""
    for start in range(first, first + count, _BATCH):
        number = min(_BATCH, first + count - start)
        ours = dict(sequences(in_the_machine(start, number, steps, guest)))
        found: dict[str, str] = {}
        for _ in range(_TIMES):
            linux = dict(sequences(on_the_host(start, number, steps, guest)))
            assert linux.keys() == ours.keys()
            asked = found or linux
            found = {name: text for name in asked if (text := first_difference(linux[name], ours[name]))}
            if not found:
                break
        for name, text in found.items():
            yield f"sequence {name}\n{text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--huge", action="store_true", help="on huge pages")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    if asked.build:
        build()
        return 0
    found = 0
    for text in differences(asked.first, asked.count, asked.steps, HUGE_GUEST if asked.huge else GUEST):
        found += 1
        print(text, end="\n\n", flush=True)
    print(f"{asked.count} sequences, {found} differ", file=sys.stderr)
    return 1 if found else 0


def newest_enough(release: str) -> bool:
    """Whether a host with this kernel can be held to it."""
    return version_of(release) >= SINCE


if __name__ == "__main__":
    raise SystemExit(main())
