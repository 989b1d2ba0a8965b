"""Makes a notebook of a script with cells: runs it, and stores what each cell prints and shows.

    python docs/make_notebook.py examples/cr3_to_the_byte.py        (writes examples/cr3_to_the_byte.ipynb)

A line ``# %%`` begins a cell of code, ``# %% [markdown]`` one of comments that are text.  Nothing but the standard
library is needed, neither to make it nor to run its cells.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

_MARK, _TEXT = "# %%", "# %% [markdown]"


class Cell(NamedTuple):
    """A cell: ``markdown`` or ``code``, and its source."""

    kind: str
    source: str


def cells_of(script: str) -> list[Cell]:
    """The cells of a script, which begins with one.  ValueError if it does not."""
    if not script.startswith(_MARK):
        raise ValueError(f"a script with cells begins with {_MARK!r}")
    found = []
    for piece in ("\n" + script).split(f"\n{_MARK}")[1:]:
        head, _, body = piece.partition("\n")
        if _MARK + head != _TEXT:
            found.append(Cell("code", body.strip("\n")))
            continue
        lines = body.strip("\n").split("\n")
        if wrong := [line for line in lines if line != "#" and not line.startswith("# ")]:
            raise ValueError(f"a cell of text has a line that is no comment: {wrong[0]!r}")
        found.append(Cell("markdown", "\n".join(line[2:] for line in lines)))
    return found


def run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell with the names of those before; returns its outputs as a notebook has them."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value: Any = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue().splitlines(keepends=True):
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    if hasattr(value, "_repr_svg_"):
        picture = {"image/svg+xml": value._repr_svg_().splitlines(keepends=True), "text/plain": ["a picture"]}
        outputs.append({"data": picture, "metadata": {}, "output_type": "display_data"})
    return outputs


def notebook_of(script: str) -> dict[str, Any]:
    """The notebook (nbformat 4.5), its cells run in the current directory."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells: list[dict[str, Any]] = []
    for number, cell in enumerate(cells_of(script)):
        source = cell.source.splitlines(keepends=True)
        made: dict[str, Any] = {"cell_type": cell.kind, "id": f"cell-{number}", "metadata": {}, "source": source}
        if cell.kind == "code":
            made |= {"execution_count": None, "outputs": run_cell(cell.source, names)}
        cells.append(made)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def main(path: Path) -> None:
    """Write the notebook beside the script."""
    script = path.read_text("utf-8")
    target, here = path.with_suffix(".ipynb").resolve(), os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)  # where the cells write their pictures
        try:
            notebook = notebook_of(script)
        finally:
            os.chdir(here)
    target.write_text(json.dumps(notebook, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
