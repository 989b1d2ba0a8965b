"""The picture of a walk: the address in its fields, below each the table that it indexes, and where that leads."""

from __future__ import annotations

import textwrap

from emu.linux.event_kind import printable
from emu.mm.pagetable import span
from emu.trace.pt.look import BITS, CHOSEN, CSS, FAULT, FAULT_LINK, LINK, OWN, PAGE, SOFT
from emu.trace.pt.text import table_name
from emu.trace.pt.walk import WalkedEntry, WalkStory
from emu.trace.report.svg import Drawing
from emu.trace.report.units import size_text
from mmu.entries import ENTRY_NAME, P, decode, fields_of, is_leaf
from mmu.faults import ErrorCode
from mmu.memory import PAGE_SHIFT

#: A column: its box, and how far it is to the next; where the rows begin.
_BOX, _PITCH, _LEFT = 166.0, 206.0, 16.0
_FIELDS_Y, _FIELD_HEIGHT, _TABLES_Y, _TABLE_HEIGHT, _ROW = 84.0, 58.0, 220.0, 190.0, 62.0


#: How wide a letter is, in sizes of the letters: where it is bold, and where not.
_BOLD, _PLAIN = 0.68, 0.6


def draw_walk(story: WalkStory) -> str:
    """An SVG: from CR3, table by table, to the page or to where the walk faults."""
    return _WalkPicture(story).draw()


class _WalkPicture:
    def __init__(self, story: WalkStory) -> None:
        self._story = story
        self._columns = story.levels + 1
        self._width = 2 * _LEFT + self._columns * _PITCH - (_PITCH - _BOX)
        self._ending = self._sentences()
        self._height = _TABLES_Y + _TABLE_HEIGHT + 44 + sum(size + 8 for size, _ in self._ending)

    def _sentences(self) -> list[tuple[float, str]]:
        """How it ends, in lines that fit below the tables: the size of the letters, and the words."""
        story = self._story
        if story.paddr is not None:
            first, then = story.ending[0], " ".join(story.ending[1:])
        else:
            first = " ".join(story.entries[-1].follows if story.entries else story.ending[:1])
            then = story.ending[-1]
        lines: list[tuple[float, str]] = []
        for size, words in ((15.0, first), (13.0, then)):
            room = int((self._width - 2 * _LEFT) / (size * (_BOLD if words is first else _PLAIN)))
            lines += [(size, line) for line in textwrap.wrap(printable(words), room)]
        return lines

    def _x(self, level: int) -> float:
        """The left edge of a level's column; 0 is that of the page."""
        return _LEFT + (self._story.levels - level) * _PITCH

    def draw(self) -> str:
        """The picture as text."""
        story = self._story
        words = " ".join((*story.opening, *(line for entry in story.entries for line in entry.follows), *story.ending))
        drawing = self._drawing = Drawing(self._width, self._height, story.title, printable(words), css=CSS)
        drawing.text(_LEFT, 28, story.title, 18, bold=True)
        drawing.text(_LEFT, 50, f"CR3 holds {story.space.pgd:#x}", 14)
        drawing.text(
            self._width - _LEFT, 50, f"{story.vaddr:#0{18}x} in its fields:", 13, anchor="end", ink=SOFT, name="soft"
        )
        self._fields()
        for entry in story.entries:
            self._table(entry)
        for before, after in zip(story.entries, story.entries[1:], strict=False):
            self._to_next(before, self._x(after.level))
        self._end()
        return drawing.to_text()

    def _fields(self) -> None:
        """The bits of the address, each index above the table that it indexes."""
        story, drawing = self._story, self._drawing
        leaf = story.entries[-1].level if story.paddr is not None else 1
        for level in range(story.levels, leaf - 1, -1):
            low = PAGE_SHIFT + 9 * (level - 1)
            index = story.vaddr >> low & 511
            x = self._x(level)
            drawing.box(x, _FIELDS_Y, _BOX, _FIELD_HEIGHT, BITS)
            self._middle(x, _FIELDS_Y - 6, f"bits {low + 8}:{low}", 12, soft=True)
            self._middle(x, _FIELDS_Y + 25, f"{index:09b}", 17, mono=True)
            self._middle(x, _FIELDS_Y + 47, f"index {index}", 14)
        size = span(leaf)
        x = self._x(0)
        drawing.box(x, _FIELDS_Y, _BOX, _FIELD_HEIGHT, BITS)
        self._middle(x, _FIELDS_Y - 6, f"bits {size.bit_length() - 2}:0", 12, soft=True)
        self._middle(x, _FIELDS_Y + 25, f"{story.vaddr & (size - 1):#x}", 17, mono=True)
        self._middle(x, _FIELDS_Y + 47, "offset in the page", 14)

    def _middle(self, x: float, y: float, words: str, size: float, *, mono: bool = False, soft: bool = False) -> None:
        ink, name = (SOFT, "soft") if soft else ("#000000", "")
        self._drawing.text(x + _BOX / 2, y, words, size, anchor="middle", mono=mono, ink=ink, name=name)

    def _row_y(self, entry: WalkedEntry) -> float:
        """Where in its table an entry is: as far down as its index is."""
        return _TABLES_Y + (_TABLE_HEIGHT - _ROW) * entry.index / 511

    def _table(self, entry: WalkedEntry) -> None:
        x, y, drawing = self._x(entry.level), self._row_y(entry), self._drawing
        faults = self._story.error_code is not None and entry is self._story.entries[-1]
        name = table_name(entry.level, self._story.levels)
        drawing.text(x, _TABLES_Y - 24, f"{name} table", 14, bold=True)
        drawing.text(x, _TABLES_Y - 8, f"at {entry.table:#x}", 13, mono=True)
        drawing.box(x, _TABLES_Y, _BOX, _TABLE_HEIGHT, OWN)
        style = FAULT if faults else CHOSEN
        drawing.box(x, y, _BOX, _ROW, style, hint=" ".join(entry.follows))
        text = f"{style.name}-text"
        drawing.text(x + 8, y + 17, f"{ENTRY_NAME[entry.level]} {entry.index} at {entry.paddr:#x}", 11, name=text)
        drawing.text(x + 8, y + 35, f"{entry.value:#018x}", 13, mono=True, name=text)
        drawing.text(x + 8, y + 53, _flags(entry), 12, bold=True, name=text)
        middle = x + _BOX / 2
        self._drawing.arrow([(middle, _FIELDS_Y + _FIELD_HEIGHT), (middle, _TABLES_Y - 40)], ink=LINK, name="link")

    def _to_next(self, before: WalkedEntry, x: float) -> None:
        """From an entry to the top of the table at which it points."""
        y, from_x = self._row_y(before) + _ROW / 2, self._x(before.level) + _BOX
        turn = x - 22
        self._drawing.arrow(
            [(from_x, y), (turn, y), (turn, _TABLES_Y + 12), (x, _TABLES_Y + 12)], ink=LINK, width=1.8, name="link"
        )

    # -- how it ends -----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        story, drawing, x = self._story, self._drawing, self._x(0)
        y = _TABLES_Y + _TABLE_HEIGHT + 28
        for size, line in self._ending:
            drawing.text(_LEFT, y, line, size, bold=size > 13)
            y += size + 8
        if story.paddr is not None:
            self._page(x, story.paddr)
            return
        drawing.box(x, _TABLES_Y, _BOX, _ROW, FAULT)
        if story.error_code is None:
            self._middle(x, _TABLES_Y + 26, "no walk" if not story.entries else "no memory", 16)
        else:
            self._middle(x, _TABLES_Y + 26, "page fault", 16)
            self._middle(x, _TABLES_Y + 48, f"error code {story.error_code:#x}", 14)
            drawing.text(x, _TABLES_Y + _ROW + 22, "the error code says:", 12, ink=SOFT, name="soft")
            for number, word in enumerate(_error_words(story.error_code)):
                drawing.text(x, _TABLES_Y + _ROW + 42 + 18 * number, word, 13)
            last = story.entries[-1]
            y = self._row_y(last) + _ROW / 2
            turn = x - 22
            drawing.arrow(
                [(self._x(last.level) + _BOX, y), (turn, y), (turn, _TABLES_Y + 12), (x, _TABLES_Y + 12)],
                ink=FAULT_LINK, width=1.8, dash="6 4", name="fault-link",
            )  # fmt: skip

    def _page(self, x: float, paddr: int) -> None:
        story, drawing = self._story, self._drawing
        last = story.entries[-1]
        base = paddr & -story.page_size
        drawing.text(x, _TABLES_Y - 24, f"page of {size_text(story.page_size)}", 14, bold=True)
        drawing.text(x, _TABLES_Y - 8, f"at {base:#x}", 13, mono=True)
        drawing.box(x, _TABLES_Y, _BOX, _TABLE_HEIGHT, PAGE)
        y = _TABLES_Y + (_TABLE_HEIGHT - _ROW) * (paddr - base) / story.page_size
        drawing.box(x, y, _BOX, _ROW, CHOSEN)
        drawing.text(x + 8, y + 20, f"{paddr:#x}", 13, mono=True, name="chosen-text")
        byte = f"the byte {story.data[0]:#04x}" if story.data else "the byte"
        drawing.text(x + 8, y + 42, byte, 13, bold=True, name="chosen-text")
        self._to_next(last, x)
        middle = x + _BOX / 2
        drawing.arrow([(middle, _FIELDS_Y + _FIELD_HEIGHT), (middle, _TABLES_Y - 40)], ink=LINK, name="link")


def _flags(entry: WalkedEntry) -> str:
    """The flags of an entry that are set; of one that is not present, that."""
    if not entry.value & P:
        return "P is 0: not present"
    leaf = is_leaf(entry.level, entry.value)
    values = decode(entry.level, entry.value)
    flags = [f.name for f in fields_of(entry.level, leaf) if f.low == f.high and values[f.name]]
    return " ".join(flags)


def _error_words(code: int) -> list[str]:
    names = ("P", "W/R", "U/S", "RSVD", "I/D", "PK")
    return [f"{name} = {int(bool(code & bit))}" for name, bit in zip(names, ErrorCode, strict=True)]
