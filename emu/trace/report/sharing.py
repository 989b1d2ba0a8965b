"""The picture of what sharing page tables saves: two sets of tables, and the bytes and faults of each to one scale."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from emu.mm.pagetable import level_name, span
from emu.trace.report.snapshot import HostTables, ProcessTables, Snapshot, Tables
from emu.trace.report.svg import Drawing, Style
from emu.trace.report.units import kib, plural, size_text
from mmu.entries import TABLE_NAME
from mmu.memory import PAGE_SHIFT

#: Pages show it 640 pixels wide and wider: the least letters then have 11 pixels.
WIDTH, SMALL = 960.0, 17.0
#: Where the columns of processes begin and how far apart they are, how wide a table is, and the region's column.
_LEFT, _PITCH, _BOX, _HOST_X = 166.0, 124.0, 114.0, 828.0
_SHARED_BOX = 240.0
_MAX_COLUMNS = 5
_ROW_HEIGHT, _ROW_GAP = 34.0, 26.0
_LINK_GAP = 26.0  # more room where the processes' arrows meet
_PILE = 12.0  # how far a pile looks out above its top sheet
_BAR_HEIGHT = 26.0
#: Characters of a line of small letters.
_LINE = 90

_OWN = Style()
_SHARED = Style(fill="#14365c", ink="#ffffff", stroke="#000000", width=1.6)
_HOST = Style(stroke="#14365c", width=1.6, dash="5 3")
_DATA = Style(fill="#dddddd", stroke="#777777")
_PANEL = Style(fill="#fafafa", stroke="#bbbbbb")
_SOFT = "#555555"


def draw_sharing(apart: Snapshot, shared: Snapshot) -> str:
    """An SVG, 960 units wide, of the same work done without and with shared tables.

    Only what the two snapshots hold is drawn: a table is dark where a region owns it.
    """
    count = len(shared.processes)
    title = f"{size_text(shared.length)} of memory, {plural(count, 'process', 'processes')}: who has which page tables"
    panels = [_Panel(snapshot) for snapshot in (apart, shared)]
    tops = [112.0, 112.0 + panels[0].height + 12]
    below = tops[1] + panels[1].height
    notes = textwrap.wrap(_footnote(apart, shared), _LINE)
    charts = 1 if count == 1 else 2
    drawing = Drawing(
        WIDTH, below + 112 * charts + 24 + 24 * len(notes), title, " ".join(describe_sharing(apart, shared))
    )
    drawing.text(20, 36, title, 24, bold=True)
    _legend(drawing, 52)
    for panel, top in zip(panels, tops, strict=True):
        panel.draw(drawing, top)
    _bars(drawing, below + 34, apart, shared)
    for number, note in enumerate(notes):
        drawing.text(20, below + 112 * charts + 30 + 24 * number, note, SMALL, ink=_SOFT)
    return drawing.to_text()


def describe_sharing(apart: Snapshot, shared: Snapshot) -> tuple[str, str]:
    """What was saved, in two sentences."""
    count = len(shared.processes)
    saved = (
        f"{plural(count, 'process', 'processes')}: {size_text(apart.pagetable_bytes)} of page tables without sharing, "
        f"{size_text(shared.pagetable_bytes)} with."
    )
    if count == 1:
        return saved, "With one process there is nobody to share with."
    return saved, (
        f"The {plural(count - 1, 'process', 'processes')} that came after the first took "
        f"{_followers_faults(shared):,} minor faults instead of {_followers_faults(apart):,}."
    )


def _followers_faults(snapshot: Snapshot) -> int:
    return sum(process.minor_faults for process in snapshot.processes[1:])


@dataclass(frozen=True)
class _Column:
    """One process, or several that there is no room for."""

    x: float  # the middle
    processes: tuple[ProcessTables, ...]

    @property
    def one(self) -> ProcessTables | None:
        return self.processes[0] if len(self.processes) == 1 else None


def _columns(processes: Sequence[ProcessTables]) -> list[_Column]:
    """Up to five columns; of more processes, the first three, the last, and the rest in one between them."""
    if len(processes) <= _MAX_COLUMNS:
        groups: list[tuple[ProcessTables, ...]] = [(process,) for process in processes]
    else:
        alone = _MAX_COLUMNS - 2
        groups = [(p,) for p in processes[:alone]] + [tuple(processes[alone:-1]), (processes[-1],)]
    room = _MAX_COLUMNS * _PITCH
    return [_Column(_LEFT + room * (2 * i + 1) / (2 * len(groups)), group) for i, group in enumerate(groups)]


def _entry_above(process: ProcessTables, level: int) -> int | None:
    """Where the entry lies through which a process's walk comes to the table of this level; None for the PGD."""
    return process.walk[len(process.walk) - level - 1].paddr if level < len(process.walk) else None


class _Panel:
    """One snapshot: the processes side by side, each above its tables, level below level."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._columns = _columns(snapshot.processes)
        self._levels = max(snapshot.processes[0].tables)
        self._first_shared = next((level for level in (3, 2, 1) if snapshot.is_shared(level)), 0)
        self._middle = _LEFT + _MAX_COLUMNS * _PITCH / 2
        self._rows: dict[int, float] = {}  # the top of each level's boxes; 0 is the data
        y = 114.0
        for level in range(self._levels, -1, -1):
            y += _LINK_GAP if self._first_shared and level == self._first_shared else 0
            y += _PILE if self._is_pile(level) else 0
            self._rows[level] = y
            y += _ROW_HEIGHT + _ROW_GAP
        self.height = y + 40

    def _name(self, level: int) -> str:
        return level_name(level, self._levels).upper()

    def _is_pile(self, level: int) -> bool:
        return any(len(process.tables.get(level, ())) > 1 for process in self._snapshot.processes)

    def draw(self, drawing: Drawing, top: float) -> None:
        """Draw everything, from ``top`` down."""
        snapshot = self._snapshot
        self._drawing = drawing
        self._rows = {level: y + top for level, y in self._rows.items()}
        drawing.box(8, top, WIDTH - 16, self.height, _PANEL)
        faults = sum(process.minor_faults for process in snapshot.processes)
        total = f"{kib(snapshot.pagetable_bytes)} KiB of tables, {faults:,} minor faults"
        drawing.text(20, top + 30, f"{snapshot.title}:", 21, bold=True, then=total, then_size=21)
        drawing.text(20, top + 56, self._says(), 18)
        for level in range(self._levels, 0, -1):
            self._row_label(self._rows[level], self._name(level), TABLE_NAME[level], span(level))
        for column in self._columns:
            self._process(column)
        if self._first_shared:
            self._shared_tables()
            self._host(snapshot.hosts[0])
        self._data()
        self._sums(self._rows[0] + _ROW_HEIGHT + 28)

    def _says(self) -> str:
        level = self._first_shared
        if not level:
            return "each process has all tables for itself"
        tables = self._snapshot.processes[0].tables[level]
        name = self._name(level)
        which = f"one and the same {name} table" if len(tables) == 1 else f"the same {len(tables)} {name} tables"
        return f"all processes reach {which}, and everything below it"

    def _row_label(self, y: float, name: str, manual_name: str, covers: int) -> None:
        self._drawing.text(20, y + 14, name, 18, bold=True, then=f"({manual_name})", then_size=SMALL)
        self._drawing.text(20, y + 34, f"{size_text(covers)} each", SMALL, ink=_SOFT)

    # -- tables ----------------------------------------------------------------------------------------------------

    def _process(self, column: _Column) -> None:
        process, y = column.one, self._rows[self._levels] - 12
        if process is None:
            self._drawing.text(column.x, y, f"{len(column.processes)} more", SMALL, anchor="middle")
            for level in range(self._levels, self._first_shared, -1):
                self._drawing.text(column.x, self._rows[level] + 22, "...", 20, anchor="middle")
            if self._first_shared:
                self._link(column.x)
            return
        self._drawing.text(column.x, y, f"process {process.pid}", SMALL, anchor="middle")
        for level in range(self._levels, self._first_shared, -1):
            self._tables(column.x, level, process.tables, _OWN, _entry_above(process, level))
            if level - 1 > self._first_shared:
                self._down(column.x, level)
            elif self._first_shared:
                self._link(column.x)
            else:
                self._down(column.x, level)

    def _tables(
        self, x: float, level: int, tables: Tables, style: Style, entry: int | None, width: float = _BOX
    ) -> None:
        """The tables of one level: one with its address, several as a pile with their number."""
        addresses, y, left = tables[level], self._rows[level], x - width / 2
        name = self._name(level)
        if len(addresses) == 1:
            hint = f"{name} table at {addresses[0]:#x}" + (
                f", reached through the entry at {entry:#x}" if entry else ""
            )
            self._drawing.box(left, y, width, _ROW_HEIGHT, style, hint=hint)
            self._drawing.text(x, y + 23, f"{addresses[0]:#x}", SMALL, anchor="middle", mono=True, ink=style.ink)
        else:
            hint = f"{len(addresses)} {name} tables, the first at {addresses[0]:#x}"
            self._drawing.pile(left, y, width, _ROW_HEIGHT, style, hint=hint)
            self._drawing.text(x, y + 23, f"{len(addresses):,} tables", SMALL, anchor="middle", ink=style.ink)

    def _below(self, level: int) -> float:
        """Where an arrow from this level down ends: at the edge of the next row, or of the pile that stands there."""
        return self._rows[level - 1] - (_PILE if self._is_pile(level - 1) else 0)

    def _down(self, x: float, level: int, width: float = 1.2) -> None:
        self._drawing.arrow([(x, self._rows[level] + _ROW_HEIGHT), (x, self._below(level))], width=width)

    def _link(self, x: float) -> None:
        """From a process's last table of its own to the shared one in the middle, spread along its upper edge."""
        level = self._first_shared + 1
        to_x = self._middle + (x - self._middle) / (_MAX_COLUMNS * _PITCH) * _SHARED_BOX * 0.95
        from_y, to_y = self._rows[level] + _ROW_HEIGHT, self._below(level)
        self._drawing.arrow(
            [(x, from_y), (x, from_y + 5), (to_x, to_y - 13), (to_x, to_y)], width=1.8, ink=_SHARED.fill
        )

    def _shared_tables(self) -> None:
        process = self._snapshot.processes[0]
        for level in range(self._first_shared, 0, -1):
            self._tables(self._middle, level, process.tables, _SHARED, None, _SHARED_BOX)
            self._down(self._middle, level, 2.4)
        values = {p.walk[self._levels - (self._first_shared + 1)].value for p in self._snapshot.processes}
        name = self._name(self._first_shared + 1)
        left, y = self._middle - _SHARED_BOX / 2 - 14, self._rows[self._first_shared]
        if len(values) == 1 and len(process.tables[self._first_shared]) == 1:
            number = len(self._snapshot.processes)
            entries = plural(number, f"{name} entry", f"{name} entries")
            self._drawing.text(left, y + 12, f"{entries}:", SMALL, anchor="end")
            self._drawing.text(left, y + 32, f"{values.pop():#x}", SMALL, anchor="end", mono=True)

    def _host(self, host: HostTables) -> None:
        """The region's own address space, and its way to the tables that it owns."""
        x, level = _HOST_X + _BOX / 2, self._first_shared
        y = self._rows[self._levels]
        self._drawing.text(_HOST_X + _BOX, y - 34, "the region's own,", SMALL, anchor="end")
        self._drawing.text(_HOST_X + _BOX, y - 12, "in no CPU's CR3", SMALL, anchor="end")
        for own in range(self._levels, level, -1):
            self._tables(x, own, host.tables, _HOST, None)
            if own - 1 > level:
                self._down(x, own)
        y = self._rows[level] + _ROW_HEIGHT / 2
        from_y = self._rows[level + 1] + _ROW_HEIGHT
        edge = self._middle + _SHARED_BOX / 2
        self._drawing.arrow([(x, from_y), (x, y + 8), (edge, y + 8)], ink=_HOST.stroke, dash="5 3")

    # -- data and sums ---------------------------------------------------------------------------------------------

    def _data(self) -> None:
        snapshot, y = self._snapshot, self._rows[0]
        width = _MAX_COLUMNS * _PITCH - (_PITCH - _BOX)
        self._drawing.text(20, y + 14, "data", 18, bold=True)
        self._drawing.text(20, y + 34, "4 KiB pages", SMALL, ink=_SOFT)
        self._drawing.box(_LEFT + (_PITCH - _BOX) / 2, y, width, _ROW_HEIGHT, _DATA)
        pages, mapped = snapshot.length >> PAGE_SHIFT, snapshot.mapped_pages
        count = f"{pages:,} pages" if mapped == pages else f"{mapped:,} of {pages:,} pages"
        words = f"{size_text(snapshot.length)}: {count}, in memory once, the same for all"
        self._drawing.text(self._middle, y + 23, words, SMALL, anchor="middle")

    def _sums(self, y: float) -> None:
        snapshot, drawing = self._snapshot, self._drawing
        drawing.text(20, y, "KiB of tables", SMALL)
        drawing.text(20, y + 24, "minor faults", SMALL)
        for column in self._columns:
            tables = sum(process.pagetable_bytes for process in column.processes)
            faults = sum(process.minor_faults for process in column.processes)
            drawing.text(column.x, y, kib(tables), SMALL, anchor="middle")
            drawing.text(column.x, y + 24, f"{faults:,}", SMALL, anchor="middle")
        if snapshot.hosts:
            hosts = sum(host.pagetable_bytes for host in snapshot.hosts)
            drawing.text(_HOST_X + _BOX / 2, y, kib(hosts), SMALL, anchor="middle")


def _legend(drawing: Drawing, y: float) -> None:
    for x, down, style, words in (
        (20, 0, _OWN, "a table of one process"),
        (300, 0, _SHARED, "a table that all share"),
        (20, 28, _HOST, "tables through which the kernel alone reaches the shared ones"),
    ):
        drawing.box(x, y + down, 26, 18, style)
        drawing.text(x + 36, y + down + 15, words, SMALL)
    drawing.text(572, y + 15, "0x...: a table's physical address", SMALL)


def _bars(drawing: Drawing, top: float, apart: Snapshot, shared: Snapshot) -> None:
    """Bytes and faults of both snapshots, each pair to one scale, a segment a process and one for the region."""
    _chart(
        drawing, 20, top, "Page tables, to scale",
        [
            (s.label, [p.pagetable_bytes for p in s.processes], sum(h.pagetable_bytes for h in s.hosts), words)
            for s, words in ((apart, size_text(apart.pagetable_bytes)), (shared, _less(apart, shared)))
        ],
    )  # fmt: skip
    if len(shared.processes) > 1:
        _chart(
            drawing, 20, top + 112, "Minor faults of the processes after the first, to scale",
            [
                (s.label, [p.minor_faults for p in s.processes[1:]], 0, f"{_followers_faults(s):,}")
                for s in (apart, shared)
            ],
        )  # fmt: skip


def _less(apart: Snapshot, shared: Snapshot) -> str:
    ratio = apart.pagetable_bytes / shared.pagetable_bytes
    return size_text(shared.pagetable_bytes) + (f", {ratio:.1f} times less" if ratio >= 1.05 else "")


def _chart(drawing: Drawing, x: float, top: float, title: str, rows: list[tuple[str, list[int], int, str]]) -> None:
    drawing.text(x, top, title, 18, bold=True)
    most = max(sum(own) + common for _, own, common, _ in rows) or 1
    left, room = x + 110, 540.0
    for index, (label, own, common, words) in enumerate(rows):
        y, at = top + 14 + index * (_BAR_HEIGHT + 8), left
        drawing.text(x, y + 19, label, SMALL)
        parts = [(common, _SHARED)] if common else []
        if room / len(own) < 4:  # too many to tell apart
            own = [sum(own)]
        for value, style in [*parts, *((value, _OWN) for value in own)]:
            width = room * value / most
            drawing.box(at, y, width, _BAR_HEIGHT, style, round=0)
            at += width
        drawing.text(at + 8, y + 19, words, SMALL, bold=True)


def _footnote(*snapshots: Snapshot) -> str:
    others = [snapshot.other_tables(process) for snapshot in snapshots for process in snapshot.processes]
    low, high = min(others), max(others)
    number = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"Each process also has {number} tables for its program and its stack, not drawn; they are in the sums. "
        "A process's CR3 holds the address of its PGD. Every address and number was read from the running machine."
    )
