"""Some of the events of a trace: of some kinds, of some processes, at some addresses, at some time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from emu.trace.columns import Mask


@dataclass(frozen=True)
class Choice:
    """What is chosen; what is empty or None chooses all.

    ``pids`` are processes or threads; ``addresses`` a first and a last virtual address, and an event with a range has
    all of it; ``begin`` and ``end`` count instructions, and the events at ``end`` are not chosen.
    """

    kinds: frozenset[str] = frozenset()
    pids: frozenset[int] = frozenset()
    addresses: tuple[int, int] | None = None
    begin: int | None = None
    end: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that :meth:`mask` looks at."""
        return (
            *(["event"] if self.kinds else []),
            *(["pid", "tid"] if self.pids else []),
            *(["vaddr", "length"] if self.addresses else []),
            *(["clock"] if self.begin is not None or self.end is not None else []),
        )

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is chosen."""
        return (
            (not self.kinds or event["event"] in self.kinds)
            and (not self.pids or event.get("pid") in self.pids or event.get("tid") in self.pids)
            and (self.addresses is None or _meets(event, *self.addresses))
            and (self.begin is None or event["clock"] >= self.begin)
            and (self.end is None or event["clock"] < self.end)
        )

    def mask(self, rows: pa.RecordBatch) -> Mask | None:
        """Which rows are chosen; None: all."""
        import numpy as np

        if not self.columns:
            return None
        mask = np.ones(rows.num_rows, bool)
        if self.kinds:
            names = [at for at, name in enumerate(rows.column("event").dictionary.to_pylist()) if name in self.kinds]
            mask &= np.isin(np.asarray(rows.column("event").indices.fill_null(-1)), names)
        if self.pids:
            wanted = np.array(sorted(self.pids), np.uint64)
            columns = (rows.column(name).fill_null(0) for name in ("pid", "tid"))
            mask &= np.logical_or(*(np.isin(np.asarray(column).astype(np.uint64), wanted) for column in columns))
        if self.addresses:
            first, last = map(np.uint64, self.addresses)
            vaddr, length = (np.asarray(rows.column(name).fill_null(0)) for name in ("vaddr", "length"))
            mask &= np.asarray(rows.column("vaddr").is_valid()) & (vaddr <= last)
            mask &= (vaddr >= first) | (first - vaddr < length)
        clock = np.asarray(rows.column("clock").fill_null(0)) if "clock" in self.columns else None
        if clock is not None and self.begin is not None:
            mask &= clock >= np.uint64(self.begin)
        if clock is not None and self.end is not None:
            mask &= clock < np.uint64(self.end)
        return mask


ALL = Choice()


def _meets(event: Mapping[str, Any], first: int, last: int) -> bool:
    vaddr, length = event.get("vaddr"), event.get("length") or 1
    return vaddr is not None and vaddr <= last and vaddr + length > first
