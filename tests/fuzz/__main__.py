"""``python -m tests.fuzz NAME``: attack unimmu with generated input, for as long as wanted."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path

from tests.fuzz import ledger
from tests.fuzz.attacks import ATTACKS
from tests.fuzz.campaign import Campaign, deadline

_EXAMPLES = """\
examples:
  python -m tests.fuzz --list
  python -m tests.fuzz elf --hours 2 --seed 1000 --keep /tmp/found
  python -m tests.fuzz elf --seed 1234 --cases 1     one case again
  python -m tests.fuzz all --hours 8 --record        half a working day, into the table
  python -m tests.fuzz --table > docs/robustness.md
"""


def main(words: list[str] | None = None) -> int:
    """The command; exit status 1 if something was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, epilog=_EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("name", nargs="?", choices=[*ATTACKS, "all"], metavar="NAME", help="an attack, or all")
    add("--list", action="store_true", help="say what attacks there are")
    add("--table", action="store_true", help="print docs/robustness.md")
    add("--seed", type=int, default=0, metavar="S", help="of the first case; the others follow (default: 0)")
    add("--cases", type=int, metavar="N", help="so many of each (default: nine times what the suite runs)")
    add("--hours", type=float, metavar="H", help="as many as go into H hours")
    add("--keep", type=Path, metavar="DIR", help="keep the files of each case that finds something")
    add("--record", action="store_true", help="add the numbers to those of the table")
    chosen = parser.parse_args(words)
    if chosen.list:
        for attack in ATTACKS.values():
            print(f"{attack.name:9} {attack.target}: {attack.means}")
        return 0
    if chosen.table:
        print(ledger.table(), end="")
        return 0
    if chosen.name is None:
        parser.error("an attack is needed, or --list or --table")
    os.nice(10 if chosen.hours else 0)
    names = list(ATTACKS) if chosen.name == "all" else [chosen.name]
    found = [_attack(name, chosen, len(names)) for name in names]
    return 1 if any(found) else 0


def _attack(name: str, chosen: argparse.Namespace, share: int) -> bool:
    """Whether it found something."""
    attack = ATTACKS[name]
    cases = chosen.cases if chosen.cases is not None else None if chosen.hours else attack.cases
    seeds = itertools.count(chosen.seed) if cases is None else iter(range(chosen.seed, chosen.seed + cases))
    until = deadline(chosen.hours / share) if chosen.hours else lambda: False
    tally = Campaign(attack, chosen.keep).run(seeds, until)
    print(tally.line(attack, chosen.seed))
    for seed, what in tally.findings.items():
        print(f"\npython -m tests.fuzz {name} --seed {seed} --cases 1\n{what}")
    sys.stdout.flush()
    if chosen.record:
        ledger.record(name, tally)
    return bool(tally.findings)


if __name__ == "__main__":
    sys.exit(main())
