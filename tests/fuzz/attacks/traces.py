"""Damaged traces: a bit, a line, a value of JSON, a declared row."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.fuzz.attack import Attack
from tests.fuzz.numbers import damaged, edge
from tests.fuzz.room import Ran, Room

_EXAMPLE = Path(__file__).resolve().parents[2] / "trace" / "example.jsonl"
_RECORDED = (
    ("hello_musl",), ("mshare_donor",), ("--cpus", "2", "--slice", "500", "region_churn", "2", "1", "1"),
    ("--tlb", "textbook", "--trace-accesses", "hello"), ("faults", "regs"), ("pipes",),
)  # fmt: skip
_LINES = 200
_TEXTS = ("", "\n", "\x1b[2J", "\u202e", "\ud800", "é", "0x", "0x1_0", " 0x10", "-0x1", "0x" + "f" * 16,
          "0x" + "f" * 17, "{}", "{0}", "{pid!r}", "{x.__class__}", "nan", "x" * 3000)  # fmt: skip
_FILTERS = (("--kind", "walk,fault"), ("--pid", "100"), ("--kind", "migrate"), ("--pid", "-1"))
_FORMATS = ("parquet", "jsonl", "csv", "perfetto", "chrome", "perf-script", "memtrace")
_COUNTED = ("stat", "--by", "process,region,page-size,sharing")
#: The header of a trace with rows of a module.
_KINDS = [{"name": "migrate", "meaning": "a page moves", "forms": [{"when": "", "words": "from {source}", "fields": [
    {"name": "source", "type": "number", "meaning": "the node", "choices": ["0", "1"]},
    {"name": "target", "type": "hex", "meaning": "the place", "nullable": True, "optional": True},
]}]}]  # fmt: skip


class Lines:
    """A trace that is being changed, line by line."""

    def __init__(self, chance: random.Random, data: bytes) -> None:
        self.chance = chance
        self.lines = data.splitlines(keepends=True)
        if len(self.lines) > _LINES:
            self.lines[_LINES - 2 : -1] = []

    def change(self) -> None:
        """One thing."""
        chance = self.chance
        at = chance.randrange(len(self.lines)) if chance.random() < 0.75 else 0
        kind = chance.randrange(10)
        if kind == 0:
            self.lines.insert(at, chance.choice(self.lines))
        elif kind == 1 and len(self.lines) > 1:
            del self.lines[at]
        elif kind == 2:
            self.lines[at:] = [self.lines[at][: chance.randrange(len(self.lines[at]) + 1)]]
        elif kind == 3:
            self.lines[at] = chance.choice((b"\n", b"[]\n", b"{}\n", b"null\n", b"\xff\xfe\n", b"[" * 5000 + b"\n",
                                            b"1" * 5000 + b"\n", b'{"event":' * 900 + b"\n"))  # fmt: skip
        elif kind == 4:
            self._declare()
        else:
            self._value(at)

    def _declare(self) -> None:
        try:
            header = json.loads(self.lines[0])
            header["kinds"] = json.loads(json.dumps(_KINDS))
        except (ValueError, TypeError, RecursionError):
            return
        self.lines[0] = self._changed(header) if self.chance.random() < 0.8 else _dump(header)
        number = self.chance.choice((0, 1, 2, 1 << 64))
        self.lines.insert(1, _dump({"n": 0, "t": 0, "pid": 1, "event": "migrate", "source": number}))

    def _value(self, at: int) -> None:
        try:
            self.lines[at] = self._changed(json.loads(self.lines[at]))
        except (ValueError, RecursionError):
            self.lines[at] = damaged(self.chance, self.lines[at])

    def _changed(self, tree: Any) -> bytes:
        """With one value, or one name, replaced by another."""
        chance, node = self.chance, tree
        while True:
            if not isinstance(node, dict | list) or not node:
                return _dump(self._other())
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if isinstance(node[key], dict | list) and node[key] and chance.random() < 0.8:
                node = node[key]
                continue
            kind = chance.random()
            if kind < 0.15 and isinstance(node, dict):
                node[chance.choice((*_TEXTS, "event", "pid", "kinds"))] = node.pop(key)
            elif kind < 0.25:
                del node[key]
            else:
                node[key] = self._other()
            return _dump(tree)

    def _other(self) -> Any:
        chance = self.chance
        return chance.choice(
            (None, True, False, -1, 0, edge(chance), 1 << 64, 1 << 200, -(1 << 70), 1.5, 1e300, float("nan"),
             float("inf"), [], {}, [[]], {"1": "0x0"}, [1, "x"], *_TEXTS)
        )  # fmt: skip


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


class Traces(Attack):
    """`unimmu trace view`, `convert` and `stat`."""

    name = "traces"
    target = "trace view"
    means = "traces of seven runs with changed bytes, lines, values, names and declared rows"
    cases = 200

    def prepare(self, room: Room) -> None:
        self._traces = [_EXAMPLE.read_bytes()]
        for words in _RECORDED:
            room.unimmu("run", "--trace", "trace.jsonl", *words)
            self._traces.append((room.work / "trace.jsonl").read_bytes())

    def run(self, chance: random.Random, room: Room) -> str:
        lines = Lines(chance, chance.choice(self._traces))
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            if lines.lines:
                lines.change()
        data = b"".join(lines.lines)
        if chance.random() < 0.25:
            data = damaged(chance, data)
        words = ["trace", "view", room.file("trace", data)]
        if chance.random() < 0.2:
            words[2:2] = chance.choice(_FILTERS)
        if chance.random() < 0.3:
            words = ["trace", "convert", "--format", chance.choice(_FORMATS), *words[2:], "out"]
        elif chance.random() < 0.3:
            words[1:2] = _COUNTED
        return self._judge(room.unimmu(*words))

    def _judge(self, ran: Ran) -> str:
        lines = ran.err.splitlines()
        if any(not line.isprintable() for line in ran.out.split("\n") + ran.err.split("\n")):
            ran.wrong("prints control characters")
        if any(not line.startswith("unimmu trace: ") for line in lines) or len(lines) > 1 + (ran.status == 2):
            ran.wrong("says more than a line")
        if ran.status == 2 and "--kind" not in lines[-1]:
            if not any(says in lines[-1] for says in (" line ", "the file is empty", "there are no accesses")):
                ran.wrong("does not say which line")
            return "refused"
        return "incomplete" if lines else "read"
