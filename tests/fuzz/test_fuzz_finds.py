"""What the attacks look for they find: each of these deeds is a finding, and what is harmless is none."""

from __future__ import annotations

import ctypes
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz import room as rooms
from tests.fuzz.attack import Attack
from tests.fuzz.campaign import Campaign
from tests.fuzz.ledger import TOP
from tests.fuzz.room import Room

#: How long a case may take here, and a run of the command beyond its limit.
_LIMIT_S, _MARGIN_S = 15.0, 0.1


def _raise(_: Room) -> None:
    raise ValueError("x")


def _wait_for_ever(_: Room) -> None:
    while True:
        time.sleep(1)


def _write(name: str | Path) -> None:
    with open(name, "w", encoding="ascii"):
        pass


def _write_in_silence(name: str) -> None:
    try:
        _write(name)
    except OSError:
        pass


def _through_a_link(name: str) -> None:
    os.symlink(name, "link")
    _write("link")


def _from_a_directory(name: str) -> None:
    os.mkdir(os.path.basename(name), dir_fd=os.open(os.path.dirname(name), os.O_RDONLY))


def _renamed(name: str) -> None:
    _write("x")
    os.rename("x", name)


def _all_inside(_: Room) -> None:
    _renamed("y")
    os.mkdir("d")
    _write("d/x")
    _write("/dev/null")


def _stay(_: Room) -> None:
    if os.fork() == 0:
        time.sleep(100)


def _command(body: Callable[[object], int], limit_s: float | None = None) -> Callable[[Room], None]:
    """`unimmu presets` does something else."""

    def deed(room: Room) -> None:
        import emu.cli.presets

        vars(emu.cli.presets)["run"] = body
        room.unimmu("presets", limit_s=limit_s)

    return deed


def _fail(_: object) -> int:
    raise ValueError("x")


def _take_memory(_: object) -> int:
    return len(bytearray(700 << 20)) and 0


def _take_time(_: object) -> int:
    while time.process_time() < 1:
        pass
    return 0


def _elsewhere(deed: Callable[[str], object]) -> Callable[[Room], object]:
    return lambda _: deed(OUTSIDE)


OUTSIDE = os.environ.get("UNIMMU_OUTSIDE", "")
#: What is done, and what is said then; nothing is said of what is harmless.
DEEDS: dict[str, tuple[Callable[[Room], object], str]] = {
    "nothing": (lambda _: None, ""),
    "files here": (_all_inside, ""),
    "an exception": (_raise, "ValueError: x"),
    "a crash": (lambda _: ctypes.string_at(0), "ends with -11"),
    "no end": (_wait_for_ever, "does not end within 15 seconds"),
    "much memory": (lambda _: bytearray(600 << 20), "MiB of memory, more than"),
    "a file elsewhere": (_elsewhere(_write), "outside of its directory: open"),
    "a file elsewhere, in silence": (_elsewhere(_write_in_silence), "outside of its directory: open"),
    "a file elsewhere, through a link": (_elsewhere(_through_a_link), "outside of its directory: open"),
    "a file elsewhere, from a directory": (_elsewhere(_from_a_directory), "outside of its directory: os.mkdir"),
    "a file elsewhere, renamed": (_elsewhere(_renamed), "outside of its directory: os.rename"),
    "another program": (lambda _: subprocess.run(["true"], check=False), "outside of its directory: subprocess"),
    "a process that stays": (_stay, "leaves processes behind"),
    "a traceback": (_command(_fail), "a traceback"),
    "a strange status": (_command(lambda _: 3), "an exit status that is not documented"),
    "much memory in the command": (_command(_take_memory), "MiB of memory, more than"),
    "too late": (_command(_take_time, 0.1), "s of CPU time with --timeout 0.1"),
}  # fmt: skip


class Deeds(Attack):
    """A deed a seed."""

    name, target, means, cases = "deeds", "", "", len(DEEDS)

    def run(self, chance: random.Random, room: Room) -> str:
        deed, _ = list(DEEDS.values())[int(room.directory.name)]
        deed(room)
        return "ended"


def main() -> None:
    """Print what was found, by the number of the deed."""
    campaign._LIMIT_S, rooms.MARGIN_S = _LIMIT_S, _MARGIN_S
    print(json.dumps(Campaign(Deeds()).run(iter(range(len(DEEDS))), lambda: False).findings))


def test_what_is_a_finding_and_what_is_none(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    ran = subprocess.run(
        [sys.executable, "-c", "from tests.fuzz.test_fuzz_finds import main; main()"], cwd=TOP, check=True,
        env={**os.environ, "UNIMMU_OUTSIDE": str(outside)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    findings: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    found = {name: findings.get(str(number), "") for number, name in enumerate(DEEDS)}
    assert not {name: found[name] for name, (_, says) in DEEDS.items() if says not in found[name]}
    assert not {name: found[name] for name, (_, says) in DEEDS.items() if not says and found[name]}
    assert not outside.exists()
