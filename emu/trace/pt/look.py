"""How the pictures of page tables look: dark where the page is dark."""

from __future__ import annotations

from emu.trace.report.svg import Style

PANEL = Style(fill="#f6f7f9", stroke="#c3c8d0", name="panel")
OWN = Style(name="own")
SHARED = Style(fill="#14365c", ink="#ffffff", stroke="#000000", width=1.6, name="shared")
PAGE = Style(fill="#e4efe0", stroke="#3c6e2f", width=1.4, name="page")
FAULT = Style(fill="#fbe3e0", stroke="#a3261b", width=2.0, name="fault")
BITS = Style(fill="#eef1f6", stroke="#5b6675", name="bits")
CHOSEN = Style(fill="#fff3c4", stroke="#7a5b00", width=1.6, name="chosen")
SOFT = "#555555"
LINK = "#14365c"
FAULT_LINK = "#a3261b"

#: Presentation attributes hold the light theme, which every program draws; this is for those that know style sheets.
CSS = """
svg a { cursor: pointer }
svg a:focus { outline: none }
svg a:focus rect { stroke: #d06000; stroke-width: 4 }
@media (prefers-color-scheme: dark) {
  svg text { fill: #e6e8ec }
  svg .soft { fill: #aab2bf }
  svg .paper { fill: #14171c }
  svg .panel { fill: #1b1f26; stroke: #434b58 }
  svg .own { fill: #232934; stroke: #98a3b5 }
  svg .shared { fill: #a9cbf5; stroke: #ffffff }
  svg .shared-text { fill: #08192e }
  svg .page { fill: #23361e; stroke: #8fc47e }
  svg .fault { fill: #4a1d19; stroke: #f08a7f }
  svg .bits { fill: #262c37; stroke: #8d98aa }
  svg .chosen { fill: #4b3d0c; stroke: #e3c158 }
  svg .down { stroke: #98a3b5 } svg .down-head { fill: #98a3b5 }
  svg .fault-link { stroke: #f08a7f } svg .fault-link-head { fill: #f08a7f }
  svg .link { stroke: #a9cbf5 } svg .link-head { fill: #a9cbf5 }
}
"""
