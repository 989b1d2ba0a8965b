"""The page in a real browser: it is shown, light and dark, at a laptop's width, and the console does not complain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.conftest import Traces

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
#: What the page says of itself: it fetched nothing, nothing is wider than the window, and keys lead everywhere.
SCRIPT = """<script>addEventListener("load", () => {
  const root = document.documentElement, broken = [];
  if (root.scrollWidth > root.clientWidth) broken.push("it is wider than the window: " + root.scrollWidth);
  for (const one of document.querySelectorAll(".wide, summary, a"))
    if (one.tabIndex < 0) broken.push("no key leads to a " + one.tagName);
  for (const one of document.querySelectorAll("svg"))
    if (!one.querySelector("title") || !one.getBoundingClientRect().width) broken.push("a picture is not shown");
  if (performance.getEntriesByType("resource").length) broken.push("it fetches something");
  document.title = "checked: " + (broken.join("; ") || "well") + " at " + innerWidth;
})</script>"""


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
        _, said = browse(page, "--window-size=1280,5000", f"--screenshot={picture}", *options)
        assert "CONSOLE" not in said, said
        pictures.append(picture.read_bytes())
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 50_000 for picture in pictures)
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("width", [1280, 1024])
@pytest.mark.parametrize("run", ["shootdowns", "accesses"])
def test_it_fits_and_is_reached_by_keyboard(run: str, width: int, traces: Traces, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(traces(run).page.replace("</head>", f"{SCRIPT}</head>"), "utf-8")
    shown, _ = browse(page, f"--window-size={width},900", "--dump-dom")
    assert "<title>checked: well at " in shown, shown[:2000]
