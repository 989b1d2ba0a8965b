"""The page in a real browser: it is shown, light and dark, at a laptop's width, and the console does not complain."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.conftest import Traces

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
#: What a page in a frame says of itself: it fetched nothing, nothing is wider than the frame, and keys lead everywhere.
SCRIPT = """<script>addEventListener("load", () => {
  const root = document.documentElement, broken = [];
  if (root.scrollWidth > root.clientWidth) broken.push("it is wider than the window: " + root.scrollWidth);
  for (const one of document.querySelectorAll(".wide, summary, a"))
    if (one.tabIndex < 0) broken.push("no key leads to a " + one.tagName);
  for (const one of document.querySelectorAll("svg"))
    if (!one.querySelector("title") || !one.getBoundingClientRect().width) broken.push("a picture is not shown");
  if (performance.getEntriesByType("resource").length) broken.push("it fetches something");
  frameElement.title = "checked: " + (broken.join("; ") || "well") + " at " + innerWidth;
})</script>"""
WIDTHS = (1280, 1024)


def browse(page: Path, *options: str) -> tuple[str, str]:
    """Standard output, and standard error with the console in it."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={page.parent / 'profile'}", *options, page.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, ran.stderr


def test_light_and_dark(traces: Traces, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(traces("shootdowns").page, "utf-8")
    pictures = []
    for name, options in (("light", ()), ("dark", ("--blink-settings=preferredColorScheme=0",))):
        picture = tmp_path / f"{name}.png"
        _, said = browse(page, "--window-size=1280,1600", f"--screenshot={picture}", *options)
        assert "CONSOLE" not in said, said
        pictures.append(picture.read_bytes())
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 50_000 for picture in pictures)
    assert pictures[0] != pictures[1]


def test_it_fits_and_is_reached_by_keyboard(traces: Traces, tmp_path: Path) -> None:
    """Each page in frames that are as wide as a laptop's window."""
    frames = ""
    frame = '<iframe width={} height=900 frameborder=0 srcdoc="{}"></iframe>'
    for run in ("shootdowns", "accesses"):
        page = html.escape(traces(run).page.replace("</head>", f"{SCRIPT}</head>"))
        frames += "".join(frame.format(width, page) for width in WIDTHS)
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html>{frames}", "utf-8")
    shown, _ = browse(file, "--window-size=1400,900", "--dump-dom")
    assert re.findall(r'title="(checked: [^"]*)"', shown) == [f"checked: well at {width}" for width in WIDTHS * 2]
