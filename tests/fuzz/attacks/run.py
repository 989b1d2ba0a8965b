"""``unimmu run`` with any options around a program, and what it must say in the end."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence

from tests.fuzz.room import Ran, Room

_TIMEOUT_S = 1.0
_CLEAN = "unimmu: audit: every table and every frame is accounted for"
#: Exit statuses of `unimmu run` that a guest can have too.
_STOPPED, _IDLE = 124, 125


def run_program(chance: random.Random, room: Room, options: Sequence[str], *program: str) -> str:
    """Run it on a machine of any kind; a word for how it ended."""
    memory = chance.choice((4, 16, 64, 64))
    words = ["run", "--audit", "--timeout", f"{_TIMEOUT_S:g}", "--mem", f"{memory}M", "--json", "figures", *options]
    for more, probability in (
        (("--cpus", chance.choice("234"), "--slice", chance.choice(("50", "333", "5000"))), 0.3), (("--la57",), 0.15),
        (("--strace",), 0.2), (("--strace", "-o", "calls.txt"), 0.2), (("--trace", "events.jsonl"), 0.15),
        (("--tlb", "textbook", "--check-tlb"), 0.08), (("--stats",), 0.1), (("--hugepages", "1"), 0.1),
    ):  # fmt: skip
        if chance.random() < probability and not set(more) & set(words):
            words += more
    ran = room.unimmu(*words, *program, memory_mib=memory, limit_s=_TIMEOUT_S)
    return ending(ran, room)


def ending(ran: Ran, room: Room) -> str:
    """A word for how a run with --audit and --json figures ended; Finding if it says otherwise than it did."""
    if re.match("unimmu run: ", ran.err) and ran.status in (2, 126, 127) and _CLEAN not in ran.err:
        if ran.err.count("\n") != 1:
            ran.wrong("a refusal is one line")
        return "refused"
    try:
        figures = json.loads((room.work / "figures").read_bytes())
    except (OSError, ValueError) as error:
        ran.wrong(f"no figures: {error}")
    if figures["audit"]["findings"] != [] or _CLEAN not in ran.err:
        ran.wrong(f"no audit, or {figures['audit']}")
    if figures["exit_status"] != ran.status:
        ran.wrong(f"the figures say {figures['exit_status']}")
    reason = str(figures["ended_by"])
    if reason == "signal" and " was killed by SIG" not in ran.err:
        ran.wrong("does not say that a signal ended it")
    return {"exit": "ended", "timeout": "stopped", "idle": "waits for ever"}.get(reason, reason)
