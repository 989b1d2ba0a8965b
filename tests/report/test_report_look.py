"""The colours of the pictures: who sees no colours tells them apart by lightness, on white and on dark pages."""

from __future__ import annotations

import itertools
import re

import pytest

from emu.trace.pictures import look
from emu.trace.pt import look as tables_look
from emu.trace.report.svg import Style

PAPER = {"light": "#ffffff", "dark": "#14171c"}


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colour(style: Style, theme: str, css: str) -> str:
    """How a shape is filled."""
    found = re.search(rf"svg \.{style.name} {{ fill: (#[0-9a-f]{{6}})", css)
    assert found, style.name
    return style.fill if theme == "light" else found[1]


@pytest.mark.parametrize("theme", PAPER)
def test_measures_differ_in_lightness(theme: str) -> None:
    """Walks, misses and faults lie beside each other in bars; 3 is WCAG's for graphical objects."""
    shown = [colour(style, theme, look.CSS) for style in (look.WALKS, look.MISSES, look.FAULTS)]
    assert all(contrast(one, PAPER[theme]) >= 3 for one in shown)
    assert all(contrast(one, other) >= 1.5 for one, other in itertools.combinations(shown, 2))


@pytest.mark.parametrize("theme", PAPER)
def test_more_is_further_from_the_paper(theme: str) -> None:
    shown = [contrast(colour(style, theme, look.CSS), PAPER[theme]) for style in look.HEAT]
    assert shown == sorted(shown)
    assert all(more / less >= 1.25 for less, more in itertools.pairwise(shown))


@pytest.mark.parametrize("theme", PAPER)
def test_the_arrow_to_a_fault_is_seen(theme: str) -> None:
    found = re.search(r"svg \.fault-link { stroke: (#[0-9a-f]{6})", tables_look.CSS)
    assert found
    assert contrast(tables_look.FAULT_LINK if theme == "light" else found[1], PAPER[theme]) >= 3
