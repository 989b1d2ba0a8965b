"""The table of docs/robustness.md: what is attacked, by what, how often, and what came of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.attack import Attack
from tests.fuzz.attacks import ATTACKS
from tests.fuzz.campaign import Tally
from tests.fuzz.standing import STANDING

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs" / "robustness.md"
#: What long runs have added up to, by the name of the attack.
LEDGER = Path(__file__).with_name("ledger.json")

_HEAD = """\
# How unimmu is attacked

Made by `python -m tests.fuzz --table > docs/robustness.md`; a test holds it to that.

Nothing that a guest or a file does may end the machine, hang it, or leave anything wrong behind. Generators make
hostile input out of a seed ([tests/fuzz/](../tests/fuzz)); the same seed makes the same input. The test suite runs some
seconds of each; more is run by hand:

```console
$ python -m tests.fuzz traces --cases 5
traces: 5 cases from seed 0 (
$ python -m tests.fuzz all --hours 0.5 --seed 5000  # takes minutes
```

`--keep DIR` keeps the files of each case that finds something, `--seed S --cases 1` does it again, and `--record` adds
the numbers to the table.

## What must hold, whatever the input

Each case is a process of its own, in a directory of its own.

- It ends by itself. With `--timeout T` it takes at most 1.1 T and {margin:g} seconds of CPU time; Ctrl-C ends the rest.
- It ends with an exit status that `unimmu run --help` has, never by a signal, and never with a traceback of ours. A
  refusal is one line on stderr.
- The audit finds nothing, and no translation that is used is stale. `--json` tells the same exit status.
- Memory of the host: at most what the process had at its start, `--mem`, and {host} MiB.
- Nothing is written outside the directory but the cache of object code, no program is started, and no process is
  left. (Python's audit hooks tell; Unicorn itself writes no files.)
- What is printed about damaged files has no control characters in it, and names the line.

## Generated input

"Cases" are those of long runs so far, and each had one of the ends beside it. "Found" counts the kinds of faults that
were found and mended.

| attack | what is attacked | by | cases | how they ended | found |
|---|---|---|---:|---|---:|
"""
_FOUND = """
## What was found, and what holds its cure

| attack | what was wrong | test |
|---|---|---|
"""
_STANDING = """
## Attacks that are tests with fixed input

| what is attacked | by | tests |
|---|---|---|
"""


def record(name: str, tally: Tally) -> None:
    """Add the numbers of a run; cases that found something are not among them."""
    kept = _kept()
    outcomes = Counter(kept.get(name, {})) + tally.outcomes
    kept[name] = dict(sorted(outcomes.items()))
    LEDGER.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")


def table() -> str:
    """The page."""
    from tests.fuzz.room import HOST_MIB, MARGIN_S

    kept = _kept()
    lines = [_HEAD.format(margin=MARGIN_S, host=HOST_MIB)]
    lines += [_row(attack, kept.get(attack.name, {})) for attack in ATTACKS.values()]
    lines.append(_FOUND)
    for attack in ATTACKS.values():
        lines += [f"| `{attack.name}` | {fault.what} | `{fault.test}` |\n" for fault in attack.mended]
    lines.append(_STANDING)
    lines += [f"| {what} | {means} | {', '.join(f'`{test}`' for test in tests)} |\n" for what, means, tests in STANDING]
    return "".join(lines)


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(LEDGER.read_text("utf-8")) if LEDGER.exists() else {}
    return found


def _row(attack: Attack, outcomes: dict[str, int]) -> str:
    total = sum(outcomes.values())
    ends = ", ".join(f"{word} {_share(n, total)}" for word, n in sorted(outcomes.items(), key=lambda one: -one[1]))
    cells = (f"`{attack.name}`", attack.target, attack.means, f"{total:,}", ends, str(len(attack.mended)))
    return f"| {' | '.join(cells)} |\n"


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.0f} %" if 200 * part >= total else "< 1 %"
