"""The specification of a sweep, a file of TOML: what is run at each point, and along which axes.

A point is one value of each axis, and runs one command.  ``{NAME}`` in the texts of ``program``, ``trace``,
``options`` and ``replay`` stands for the point's value of that axis; the axes of :data:`OPTIONS` become options by
themselves.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from emu.linux.event_kind import printable

#: Axes that need not be named in a text, and their options.
OPTIONS: Mapping[str, str] = {
    "tlb": "--tlb", "seed": "--seed", "cpus": "--cpus", "mem": "--mem", "mount": "--mount", "slice": "--slice",
}  # fmt: skip
#: Of these, those that a replay has.
_OF_REPLAY = ("tlb", "seed")
_KNOWN = {
    "": {"title", "program", "trace", "options", "replay", "timeout", "ends", "axes", "report"},
    "report": {"across", "measures", "names"},
}
#: Points of a sweep, at most.
MOST_POINTS = 100_000
#: Of a number on an axis.
_MOST_BITS = 128
_TIMEOUT_S = 3600.0
#: What is drawn where nothing is said: of runs, and of streams that are replayed.
_MEASURES = ["mmu.walks", "instructions"]
_OF_SIM = ["mmu.perf.dTLB-load-misses per mmu.perf.dTLB-loads", "mmu.perf.PAGE_WALKER_LOADS per 1000 accesses"]
_MEASURE = re.compile(r"(\S+)(?: per (?:([0-9]{1,18}) )?(\S+))?")


class BadSpec(ValueError):
    """A specification that is none; the message gives the file, the line, and the field."""


class Value(NamedTuple):
    """A value on an axis: what it is called, and what stands for it in the command."""

    label: str
    text: str


class Measure(NamedTuple):
    """A figure, or ``factor`` times one by another: ``mmu.walks per 1000 instructions``."""

    text: str
    figure: str
    by: str | None
    factor: int

    def of(self, figures: Mapping[str, Any]) -> float | None:
        """Its value for a point's figures; None if they do not have it."""
        value = figures.get(self.figure)
        if value is None or self.by is None:
            return None if value is None else float(value)
        whole = figures.get(self.by)
        return self.factor * value / whole if whole else None


class Task(NamedTuple):
    """What is run at a point: its labels by axis, the words of the command behind ``unimmu``, and those behind
    ``unimmu tlb sim`` for the stream of that run, if it is to be replayed."""

    labels: dict[str, str]
    words: tuple[str, ...]
    replay: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A sweep.  Files that are named in it are found from the directory of the specification."""

    path: Path
    title: str
    program: str | None
    trace: str | None
    options: str
    replay: str | None
    timeout_s: float
    ends: tuple[int, ...]
    axes: dict[str, tuple[Value, ...]]
    across: str
    measures: tuple[Measure, ...]
    names: dict[str, str]

    def called(self, what: str) -> str:
        """What an axis or a measure is called in tables and pictures."""
        return self.names.get(what, what)

    @property
    def directory(self) -> Path:
        """Where commands run."""
        return self.path.resolve().parent

    def tasks(self) -> list[Task]:
        """All points, the last axis first to change.  :class:`BadSpec` if the command of one cannot be split."""
        return [self._at(dict(zip(self.axes, values, strict=True))) for values in product(*self.axes.values())]

    def _at(self, values: Mapping[str, Value]) -> Task:
        try:
            return self._task(values)
        except ValueError as error:  # a quotation mark that a value has
            named = " ".join(f"{name}={value.label}" for name, value in values.items())
            raise BadSpec(f"{self.path}: {named:.200}: {error}") from None

    def _task(self, values: Mapping[str, Value]) -> Task:
        texts = {name: value.text for name, value in values.items()}
        options, replay = shlex.split(self.options.format_map(texts)), list[str]()
        if self.replay is not None:
            replay = shlex.split(self.replay.format_map(texts))
        for name, value in texts.items():
            if name in OPTIONS and name not in self._named() and value:
                (replay if name == "tlb" and self.replay is not None else options).extend([OPTIONS[name], value])
        labels = {name: value.label for name, value in values.items()}
        if self.trace is not None:
            return Task(labels, ("tlb", "sim", *options, self.trace.format_map(texts)))
        assert self.program is not None
        return Task(labels, ("run", *options, *shlex.split(self.program.format_map(texts))), tuple(replay))

    def _named(self) -> set[str]:
        texts = (self.program, self.trace, self.options, self.replay)
        return {name for text in texts if text for name in _fields(text)}


def read_spec(path: str | Path) -> Spec:
    """Read a file.  :class:`BadSpec` for one that is no specification; OSError as opening has it."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
        return _Reader(path, text, tomllib.loads(text)).spec()
    except UnicodeDecodeError as error:
        raise BadSpec(f"{path}: not UTF-8 at byte {error.start}: this is no TOML") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise BadSpec(f"{path}{f':{line[1]}' if line else ''}: {error}") from None
    except ValueError as error:
        raise error if isinstance(error, BadSpec) else BadSpec(f"{path}: {error}") from None
    except RecursionError:
        raise BadSpec(f"{path}: too many brackets in one another: this is no sweep") from None


class _Reader:
    """The fields of a file, each of the type that it must have."""

    def __init__(self, path: Path, text: str, tables: dict[str, Any]) -> None:
        self._path, self._text, self._tables = path, text, tables

    def _wrong(self, table: str, key: str, message: str) -> BadSpec:
        line = _line_of(self._text, table, key)
        where = f"{table}.{key}" if table and key else table or key
        return BadSpec(f"{self._path}{f':{line}' if line else ''}: {f'{where}: ' if where else ''}{message}")

    def spec(self) -> Spec:
        """The whole."""
        report = self._table("report", required=False)
        for table, found in (("", self._tables), ("report", report)):
            for key in found.keys() - _KNOWN[table]:
                raise self._wrong(table, key, f"not known; there are {', '.join(sorted(_KNOWN[table]))}")
        program, trace = self._string("program"), self._string("trace")
        if (program is None) == (trace is None):
            raise self._wrong("", "trace" if trace else "", "a sweep has either a program or a trace")
        replay = self._string("replay")
        if replay is not None and program is None:
            raise self._wrong("", "replay", "a trace is replayed by itself: its options are in options")
        axes = self._axes()
        spec = Spec(
            path=self._path,
            title=self._string("title") or self._path.name,
            program=program,
            trace=trace,
            options=self._string("options") or "",
            replay=replay,
            timeout_s=self._timeout(),
            ends=self._ends(),
            axes=axes,
            across=self._across(report, axes),
            measures=self._measures(report, _MEASURES if program is not None and replay is None else _OF_SIM),
            names=self._names(report),
        )
        self._check_names(spec)
        return spec

    def _table(self, name: str, *, required: bool) -> dict[str, Any]:
        found = self._tables.get(name, None if required else {})
        if not isinstance(found, dict):
            raise self._wrong(name, "", f"a table is needed: [{name}]")
        return found

    def _string(self, key: str) -> str | None:
        found = self._tables.get(key)
        if found is not None and (not isinstance(found, str) or not found.isprintable()):
            raise self._wrong("", key, f"a text is needed, not {found!r:.60}")
        return found

    def _timeout(self) -> float:
        found = self._tables.get("timeout", _TIMEOUT_S)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e7:
            raise self._wrong("", "timeout", f"seconds are needed, not {found!r:.60}")
        return float(found)

    def _ends(self) -> tuple[int, ...]:
        found = self._tables.get("ends", [0])
        if not isinstance(found, list) or not found or not all(type(one) is int and 0 <= one < 256 for one in found):
            raise self._wrong("", "ends", f"a list of exit statuses is needed, not {found!r:.60}")
        return tuple(found)

    def _axes(self) -> dict[str, tuple[Value, ...]]:
        axes, points = {}, 1
        for name, values in self._table("axes", required=True).items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise self._wrong("axes", name, "letters, digits and _ make the name of an axis")
            if not isinstance(values, list) or not values:
                raise self._wrong("axes", name, "a list of values is needed")
            points *= len(values)
            if points > MOST_POINTS:
                raise self._wrong("axes", name, f"more than {MOST_POINTS:,} points")
            axes[name] = tuple(self._value(name, value) for value in values)
            labels = [value.label for value in axes[name]]
            if len({*labels}) < len(labels):
                double = next(label for label, times in Counter(labels).items() if times > 1)
                raise self._wrong("axes", name, f"{double!r:.60} is there twice")
        if not axes:
            raise self._wrong("axes", "", "there is none")
        return axes

    def _value(self, axis: str, value: Any) -> Value:
        if isinstance(value, dict):
            if value.keys() != {"name", "value"}:
                raise self._wrong("axes", axis, "a value that is a table has a name and a value")
            return Value(self._value(axis, value["name"]).label, self._value(axis, value["value"]).text)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._wrong("axes", axis, f"a text or a number is needed, not {value!r:.60}")
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise self._wrong("axes", axis, f"a number of more than {_MOST_BITS} bits")
        return Value(printable(str(value)), str(value))

    def _across(self, report: Mapping[str, Any], axes: Mapping[str, Any]) -> str:
        found = report.get("across", next(reversed([name for name in axes if name != "seed"] or [*axes])))
        if not isinstance(found, str) or found not in axes:
            raise self._wrong("report", "across", f"there is no axis {found!r:.60}; there are {', '.join(axes)}")
        return found

    def _measures(self, report: Mapping[str, Any], default: list[str]) -> tuple[Measure, ...]:
        found = report.get("measures", default)
        if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
            raise self._wrong("report", "measures", "a list of texts is needed")
        measures = []
        for text in found:
            match = _MEASURE.fullmatch(text)
            if match is None:
                raise self._wrong(
                    "report", "measures", f"{text!r:.60} is neither FIGURE nor FIGURE per [NUMBER] FIGURE"
                )
            measures.append(Measure(text, match[1], match[3], int(match[2] or 1)))
        return tuple(measures)

    def _names(self, report: Mapping[str, Any]) -> dict[str, str]:
        found = report.get("names", {})
        if not isinstance(found, dict):
            raise self._wrong("report", "names", "a table is needed: [report.names]")
        for key, name in found.items():
            if not isinstance(name, str) or not name or not name.isprintable():
                raise self._wrong("report.names", key, f"a text is needed, not {name!r:.60}")
        return dict(found)

    def _check_names(self, spec: Spec) -> None:
        """Every name in a text is an axis, every axis is used, and every command can be split into words."""
        named = [*spec.axes, *(measure.text for measure in spec.measures)]
        for name in spec.names:
            if name not in named:
                there = ", ".join(named)
                raise self._wrong("report.names", name, f"neither an axis nor a measure; there are {there}")
        used: set[str] = set()
        for key in ("program", "trace", "options", "replay"):
            text = getattr(spec, key)
            if text is None:
                continue
            try:
                used |= (names := _fields(text))
                if names <= spec.axes.keys():
                    shlex.split(text.format_map({name: values[0].text for name, values in spec.axes.items()}))
            except ValueError as error:
                raise self._wrong("", key, f"{error}") from None
            for name in sorted(names - spec.axes.keys()):
                raise self._wrong("", key, f"there is no axis {name!r}; there are {', '.join(spec.axes)}")
        allowed = OPTIONS if spec.trace is None else _OF_REPLAY
        for name in spec.axes:
            if name not in used and name not in allowed:
                raise self._wrong("axes", name, f"used nowhere: write {{{name}}} in program or options")


def _fields(text: str) -> set[str]:
    """The names in braces.  ValueError for what is no text with such names."""
    names = set()
    for _, name, form, conversion in Formatter().parse(text):
        if name is not None:
            if not name.isidentifier() or form or conversion:
                raise ValueError(f"{{{name}}} is no name of an axis; {{{{ stands for a brace")
            names.add(name)
    return names


def _line_of(text: str, table: str, key: str) -> int:
    """The line of a key of a table, else of the table's heading, from 1; 0 if neither is found."""
    here, heading = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"\s*\[\s*([^\]]*?)\s*\]", line):
            here = found[1]
            heading = number if here == table else heading
        elif here == table and key and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
    return heading
