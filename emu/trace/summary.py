"""The table of strace -c: how often each system call was made, how often it failed, and what it took."""

from __future__ import annotations

from dataclasses import dataclass

_COLUMNS = ("% time", "seconds", "usecs/call", "calls", "errors", "syscall")
_RULE = "------ ----------- ----------- --------- --------- ----------------"


@dataclass
class _Row:
    """One system call; ``number`` orders those that took the same time."""

    number: int
    calls: int = 0
    errors: int = 0
    ns: int = 0


class Summary:
    """Counts calls that have returned.

    ``latency`` (-w): their time is that between begin and end; else the kernel's work for them.
    """

    def __init__(self, *, latency: bool = False) -> None:
        self.latency = latency
        self._rows: dict[str, _Row] = {}

    def count(self, number: int, name: str, ns: int, *, failed: bool) -> None:
        """A call has returned."""
        row = self._rows.setdefault(name, _Row(number))
        row.calls += 1
        row.errors += failed
        row.ns += ns

    def lines(self) -> list[str]:
        """The table, the call that took most first."""
        rows = sorted(self._rows.items(), key=lambda item: (-item[1].ns, item[1].number))
        total = _Row(0)
        for _, row in rows:
            total.calls += row.calls
            total.errors += row.errors
            total.ns += row.ns
        head = "{:>6} {:>11} {:>11} {:>9} {:>9} {}".format(*_COLUMNS)
        body = [_line(name, row, total.ns) for name, row in rows]
        last = _line("total", total, total.ns or 1, whole=True)
        return [head, _RULE, *body, _RULE, last]


def _line(name: str, row: _Row, all_ns: int, *, whole: bool = False) -> str:
    share = 100.0 if whole else 100 * row.ns / all_ns if all_ns else 0.0
    each = row.ns // row.calls // 1000 if row.calls else 0
    return f"{share:6.2f} {row.ns / 1e9:11.6f} {each:11} {row.calls:9} {row.errors or '':>9} {name}"
