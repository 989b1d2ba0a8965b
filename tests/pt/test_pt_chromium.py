"""The page in a real browser: it is shown, light and dark, and the console has nothing to complain of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emu.trace.pt.page import tables_page
from emu.trace.pt.sharing import find_sharing
from emu.trace.pt.walk import walk
from mmu import Access
from tests.pt.conftest import Sharing3

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")


def browse(page: Path, *options: str) -> str:
    """What Chromium says on standard error, with its console in it."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={page.parent / 'profile'}", "--window-size=1280,1600", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stderr


def test_light_and_dark(sharers: Sharing3, tmp_path: Path) -> None:
    snapshot = sharers()
    story = walk(snapshot, snapshot.spaces[0], 2 << 40, Access.READ)
    page = tmp_path / "page.html"
    page.write_text(tables_page(snapshot, find_sharing(snapshot), [story]), "utf-8")
    pictures = []
    for name, options in (("light", ()), ("dark", ("--blink-settings=preferredColorScheme=0",))):
        picture = tmp_path / f"{name}.png"
        said = browse(page, f"--screenshot={picture}", *options)
        assert "CONSOLE" not in said, said
        pictures.append(picture.read_bytes())
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 50_000 for picture in pictures)
    assert pictures[0] != pictures[1]
