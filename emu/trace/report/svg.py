"""Drawing: the few shapes that the reports need, as SVG 1.1 text that browsers, slides and printers all take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree

_NAMESPACE = "http://www.w3.org/2000/svg"
_SANS = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
_MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"
_HEAD_LENGTH, _HEAD_WIDTH = 9.0, 8.0


@dataclass(frozen=True)
class Style:
    """How a shape looks; ``dash`` is SVG's stroke-dasharray.  Colours differ in lightness too, for printing without.

    ``name`` is the class of the shape, and of the text on it with ``-text`` behind, for a style sheet.
    """

    fill: str = "#ffffff"
    ink: str = "#000000"  # of text on the fill
    stroke: str = "#333333"
    width: float = 1.2
    dash: str = ""
    name: str = ""


class Drawing:
    """A picture of ``width`` by ``height`` units on white, with a title and a description for who cannot see it.

    ``css`` is a style sheet for it, by which dark pages have it dark; a picture with ``links`` in it is no single image
    to a screen reader.
    """

    def __init__(
        self, width: float, height: float, title: str, description: str, *, css: str = "", links: bool = False
    ) -> None:
        self.width, self.height = width, height
        role = "group" if links else "img"
        self._root = ElementTree.Element(
            "svg",
            {"xmlns": _NAMESPACE, "viewBox": f"0 0 {width:g} {height:g}", "role": role, "font-family": _SANS},
        )
        if links:
            self._root.set("aria-label", title)
        self._into = self._root
        self._root.set("width", f"{width:g}")  # how large a program that places the picture makes it
        self._root.set("height", f"{height:g}")
        ElementTree.SubElement(self._root, "title").text = title
        ElementTree.SubElement(self._root, "desc").text = description
        if css:
            ElementTree.SubElement(self._root, "style").text = css
        self._add("rect", width=width, height=height, fill="#ffffff", **{"class": "paper" if css else ""})

    def _add(self, tag: str, **attributes: object) -> ElementTree.Element:
        words = {name.replace("_", "-"): _word(value) for name, value in attributes.items() if value != ""}
        return ElementTree.SubElement(self._into, tag, words)

    @contextmanager
    def link(self, to: str, label: str) -> Iterator[None]:
        """What is drawn meanwhile leads to another place of the page; ``label`` says what it is."""
        self._into = ElementTree.SubElement(self._root, "a", {"href": to, "aria-label": label})
        yield
        self._into = self._root

    def to_text(self) -> str:
        """The SVG element, without an XML declaration."""
        ElementTree.indent(self._root)
        return ElementTree.tostring(self._root, encoding="unicode") + "\n"

    # -- shapes ----------------------------------------------------------------------------------------------------

    def text(
        self, x: float, y: float, words: str, size: float = 14, *, anchor: str = "start", bold: bool = False,
        mono: bool = False, ink: str = "#000000", then: str = "", then_size: float = 13, name: str = "",
    ) -> None:  # fmt: skip
        """Words whose base line is at ``y``; ``anchor`` is start, middle or end.  ``then`` follows in plain letters."""
        element = self._add(
            "text", x=x, y=y, font_size=size, fill=ink, text_anchor="" if anchor == "start" else anchor,
            font_weight="bold" if bold else "", font_family=_MONO if mono else "", **{"class": name},
        )  # fmt: skip
        element.text = words
        if then:
            style = {"dx": f"{then_size * 0.6:g}", "font-size": f"{then_size:g}", "font-weight": "normal"}
            ElementTree.SubElement(element, "tspan", style).text = then

    def box(
        self, x: float, y: float, width: float, height: float, style: Style, *, hint: str = "", round: float = 3
    ) -> None:
        """A rectangle; ``hint`` is shown when the pointer rests on it."""
        element = self._add(
            "rect", x=x, y=y, width=width, height=height, rx=round, fill=style.fill, stroke=style.stroke,
            stroke_width=style.width, stroke_dasharray=style.dash, **{"class": style.name},
        )  # fmt: skip
        if hint:
            ElementTree.SubElement(element, "title").text = hint

    def cells(self, places: Iterable[tuple[float, float, float, float]], style: Style) -> None:
        """Many rectangles (x, y, width, height) of one look as a single shape."""
        path = "".join(f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}z" for x, y, width, height in places)
        if path:
            self._add("path", d=path, fill=style.fill, **{"class": style.name})

    def line(
        self, points: list[tuple[float, float]], *, ink: str = "#333333", width: float = 1, dash: str = "",
        name: str = "",
    ) -> None:  # fmt: skip
        """A line through the points."""
        self._add(
            "polyline", points=_points(points), fill="none", stroke=ink, stroke_width=width, stroke_dasharray=dash,
            **{"class": name},
        )  # fmt: skip

    def pile(self, x: float, y: float, width: float, height: float, style: Style, *, hint: str = "") -> None:
        """A pile of sheets, the top one at the given place, the others looking out on both sides above it."""
        for sheet in (3, 2, 1, 0):
            inset = 3.0 * sheet
            self.box(x + inset, y - 4.0 * sheet, width - 2 * inset, height, style, hint=hint)

    def arrow(
        self, points: list[tuple[float, float]], *, ink: str = "#000000", width: float = 1.4, dash: str = "",
        name: str = "",
    ) -> None:  # fmt: skip
        """A line through the points, with a head at the last."""
        (from_x, from_y), (x, y) = points[-2:]
        length = math.hypot(x - from_x, y - from_y)
        along_x, along_y = (x - from_x) / length, (y - from_y) / length
        back_x, back_y = x - along_x * _HEAD_LENGTH, y - along_y * _HEAD_LENGTH
        self._add(
            "polyline", points=_points([*points[:-1], (back_x, back_y)]), fill="none", stroke=ink, stroke_width=width,
            stroke_dasharray=dash, **{"class": name},
        )  # fmt: skip
        wing_x, wing_y = -along_y * _HEAD_WIDTH / 2, along_x * _HEAD_WIDTH / 2
        corners = [(x, y), (back_x + wing_x, back_y + wing_y), (back_x - wing_x, back_y - wing_y)]
        self._add("polygon", points=_points(corners), fill=ink, **{"class": f"{name}-head" if name else ""})


def _points(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in points)


def _word(value: object) -> str:
    return f"{round(value, 2):.10g}" if isinstance(value, (int, float)) else str(value)
