"""The notebook for teaching is the script with cells, it runs, and it shows what it says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_docs_commands import needs_installation

MADE = runpy.run_path(str(ROOT / "docs" / "make_notebook.py"))
Cell, cells_of, notebook_of, run_cell = (MADE[name] for name in ("Cell", "cells_of", "notebook_of", "run_cell"))
SCRIPT = ROOT / "examples" / "cr3_to_the_byte.py"


def test_the_notebook_is_that_of_the_script() -> None:
    """What it has stored beside that may be older: addresses of frames are no promise."""
    stored = json.loads(SCRIPT.with_suffix(".ipynb").read_text("utf-8"))
    cells = [Cell(cell["cell_type"], "".join(cell["source"])) for cell in stored["cells"]]
    assert cells == cells_of(SCRIPT.read_text("utf-8")), f"python docs/make_notebook.py {SCRIPT.relative_to(ROOT)}"


def test_there_are_ten_steps() -> None:
    text = "\n".join(cell.source for cell in cells_of(SCRIPT.read_text("utf-8")) if cell.kind == "markdown")
    assert [f"## Step {number}:" in text for number in range(1, 11)] == [True] * 10


@needs_installation
def test_its_cells_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = notebook_of(SCRIPT.read_text("utf-8"))
    stored = json.loads(SCRIPT.with_suffix(".ipynb").read_text("utf-8"))
    shown = []
    for new, old in zip(made["cells"], stored["cells"], strict=True):
        kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in (new, old)]
        assert kinds[0] == kinds[1]
        for output in new.get("outputs", []):
            if "data" in output:
                shown.append(ElementTree.fromstring("".join(output["data"]["image/svg+xml"])))
    assert len(shown) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"walk.svg", "fault.svg", "sharing.svg"}
    printed = "".join(
        line for cell in made["cells"] for output in cell.get("outputs", []) for line in output.get("text", ())
    )
    assert printed.count("holds 0x") == 3
    assert len({line.split()[-1] for line in printed.splitlines() if "holds 0x" in line}) == 1, "one and the same table"


def test_a_cell_s_last_line_is_what_it_shows() -> None:
    names: dict[str, object] = {}
    assert run_cell("x = 1\nprint(x)\nx", names) == [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    assert run_cell("x = 2", names) == []
    assert names["x"] == 2


@pytest.mark.parametrize("script", ["x = 1\n", "# %% [markdown]\nno comment\n"])
def test_what_is_no_script_with_cells_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match=r"a script with cells|is no comment"):
        cells_of(script)
