"""The formats of a trace, by name and by the suffix of a file's name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, cast

from emu.trace.formats.sink import Sink, Write


class UnknownFormat(ValueError):
    """There is no such format; the message says which there are."""


class Format(NamedTuple):
    """A format: where its writer is, and its reader, if it can be read back."""

    name: str
    suffixes: tuple[str, ...]
    meaning: str
    writer: str
    reader: str = ""
    #: Whether it has nothing but single accesses, which only a modelled TLB sees.
    of_accesses: bool = False

    def sink(self, write: Write) -> Sink:
        """A writer, which gives ``write`` the pieces of the file."""
        module, _, name = self.writer.partition(":")
        return cast("Callable[[Write], Sink]", getattr(import_module(f"emu.trace.formats.{module}"), name))(write)


FORMATS = (
    Format(
        "parquet", (".parquet",), "a table, a row an event: DuckDB, Polars, pandas", "parquet:Parquet",
        "parquetfile:read",
    ),
    Format("jsonl", (".jsonl", ".ndjson"), "a line of JSON an event", "jsonlines:JsonLines", "jsonlines:read"),
    Format("csv", (".csv",), "the same table as text, addresses in hexadecimal", "csv:Csv"),
    Format("perfetto", (".pftrace", ".perfetto-trace"), "a time line for ui.perfetto.dev", "perfetto:Perfetto"),
    Format("chrome", (".json",), "a time line for chrome://tracing, Perfetto and Speedscope", "chrome:Chrome"),
    Format("perf-script", (".perf.txt",), "what perf script prints, for its tools", "perfscript:PerfScript"),
    Format(
        "champsim", (".champsim",), "the instructions that access memory, for ChampSim", "champsim:ChampSim",
        of_accesses=True,
    ),
    Format(
        "memtrace", (".memtrace",), "accesses and their physical pages, for DynamoRIO",
        "memtrace:Memtrace", of_accesses=True,
    ),
    Format(
        "lackey", (".lackey",), "accesses as valgrind's lackey prints them", "lackey:Lackey", of_accesses=True
    ),
)  # fmt: skip
BY_NAME = {form.name: form for form in FORMATS}


def format_of(path: str, name: str | None = None, *, option: str = "--trace-format") -> Format:
    """The format that is named, or the one that the file's name ends with.  :class:`UnknownFormat`, whose message says
    that ``option`` names one."""
    if name is not None:
        if name not in BY_NAME:
            raise UnknownFormat(f"there is no trace format {name!r}; the formats are {', '.join(BY_NAME)}")
        return BY_NAME[name]
    found = [(suffix, form) for form in FORMATS for suffix in form.suffixes if path.endswith(suffix)]
    if not found:
        suffixes = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
        raise UnknownFormat(
            f"{path}: its name does not end as a trace's does ({suffixes}); {option} NAME says what it is to be"
        )
    return max(found, key=lambda one: len(one[0]))[1]
