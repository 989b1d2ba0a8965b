"""How the pictures of a trace look: dark where the page is dark.  Every colour also differs in lightness
(tests/report/test_report_look.py): some people see no other difference.
"""

from __future__ import annotations

from emu.trace.report.svg import Style

WIDTH = 1060.0
SOFT = "#555555"
WALKS = Style(fill="#2b6cb0", name="walks")
MISSES = Style(fill="#c9862a", name="misses")
FAULTS = Style(fill="#6d1111", name="faults")
OTHER = Style(fill="#a7b6c8", name="other")
STRIP = Style(fill="#f1f3f6", name="strip")
#: From few to many.
HEAT = tuple(
    Style(fill=fill, name=f"h{number}")
    for number, fill in enumerate(("#f6d9b8", "#eda86f", "#d9713c", "#ab3a1f", "#6b1212"))
)

CSS = """
@media (prefers-color-scheme: dark) {
  svg text { fill: #e6e8ec } svg .soft { fill: #aab2bf }
  svg .paper { fill: #14171c } svg .strip { fill: #1f242c } svg .axis { stroke: #98a3b5 }
  svg .walks { fill: #6ea8e6 } svg .misses { fill: #f0c878 } svg .faults { fill: #c2483c } svg .other { fill: #586577 }
  svg .h0 { fill: #45250f } svg .h1 { fill: #7c3d16 } svg .h2 { fill: #bd6425 } svg .h3 { fill: #efa05b }
  svg .h4 { fill: #ffe9c9 }
}
"""
