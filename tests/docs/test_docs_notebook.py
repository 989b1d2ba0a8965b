"""Each notebook for teaching is its script with cells, it runs, and it shows what it says."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_docs_commands import needs_installation

MADE = runpy.run_path(str(ROOT / "docs" / "make_notebook.py"))
Cell, cells_of, notebook_of, run_cell = (MADE[name] for name in ("Cell", "cells_of", "notebook_of", "run_cell"))
WALK, LESSON = (ROOT / "examples" / f"{name}.py" for name in ("cr3_to_the_byte", "tlb_misses_and_cow"))


@pytest.mark.parametrize("script", [WALK, LESSON], ids=lambda path: path.stem)
def test_the_notebook_is_that_of_the_script(script: Path) -> None:
    """What it has stored beside that may be older: addresses of frames are no promise."""
    stored = json.loads(script.with_suffix(".ipynb").read_text("utf-8"))
    cells = [Cell(cell["cell_type"], "".join(cell["source"])) for cell in stored["cells"]]
    assert cells == cells_of(script.read_text("utf-8")), f"python docs/make_notebook.py {script.relative_to(ROOT)}"


@pytest.mark.parametrize(("script", "steps", "said"), [(WALK, 10, "ten steps"), (LESSON, 7, "seven steps")])
def test_there_are_as_many_steps_as_it_says(script: Path, steps: int, said: str) -> None:
    text = "\n".join(cell.source for cell in cells_of(script.read_text("utf-8")) if cell.kind == "markdown")
    assert said in text and [int(found) for found in re.findall(r"## Step (\d+):", text)] == [*range(1, steps + 1)]


def made_and_printed(script: Path, pictures: set[str], directory: Path) -> str:
    """What all cells of a notebook print, which has just been made of the script in this working directory."""
    made = notebook_of(script.read_text("utf-8"))
    stored = json.loads(script.with_suffix(".ipynb").read_text("utf-8"))
    shown = []
    for new, old in zip(made["cells"], stored["cells"], strict=True):
        kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in (new, old)]
        assert kinds[0] == kinds[1]
        for output in new.get("outputs", []):
            if "data" in output:
                shown.append(ElementTree.fromstring("".join(output["data"]["image/svg+xml"])))
    assert len(shown) == len(pictures)
    assert {path.name for path in directory.iterdir()} == pictures
    return "".join(
        line for cell in made["cells"] for output in cell.get("outputs", []) for line in output.get("text", ())
    )


@needs_installation
def test_its_cells_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = made_and_printed(WALK, {"walk.svg", "fault.svg", "sharing.svg"}, tmp_path)
    assert printed.count("holds 0x") == 3
    assert len({line.split()[-1] for line in printed.splitlines() if "holds 0x" in line}) == 1, "one and the same table"


@needs_installation
def test_misses_grow_with_the_table_and_a_write_makes_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = made_and_printed(LESSON, {"misses.svg", "not_allowed.svg", "parent_and_child.svg"}, tmp_path)
    shares = [float(share) for share in re.findall(r"pages: +([\d.]+) %", printed)]
    assert len(shares) == 6 and shares == sorted(shares) and shares[0] < 1 < 20 < shares[-1]
    frames = re.findall(r"process (\d+): frame (\d+), R/W (\d)", printed)
    (parent, child), (still, copy) = frames[:2], frames[2:]
    assert parent[1:] == child[1:] == (still[1], "0") and copy[1] != still[1] and copy[2] == "1"


def test_a_cell_s_last_line_is_what_it_shows() -> None:
    names: dict[str, object] = {}
    assert run_cell("x = 1\nprint(x)\nx", names) == [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    assert run_cell("x = 2", names) == []
    assert names["x"] == 2


@pytest.mark.parametrize("script", ["x = 1\n", "# %% [markdown]\nno comment\n"])
def test_what_is_no_script_with_cells_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match=r"a script with cells|is no comment"):
        cells_of(script)
