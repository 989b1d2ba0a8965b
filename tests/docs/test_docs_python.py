"""The Python and C of every page is right: a page's Python blocks, one after the other, are a module that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import guests.build
from tests.docs.pages import PAGES, ROOT, blocks, in_recipe
from tests.docs.test_docs_commands import needs_installation

PYTHON = {page: [b for b in blocks(page) if b.language == "python" and not in_recipe(b)] for page in PAGES}


@needs_installation
@pytest.mark.parametrize("page", [p for p in PAGES if PYTHON[p]], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python(page: Path, tmp_path: Path) -> None:
    module = "\n".join(block.text for block in PYTHON[page])
    if '#include "' in module and guests.build.compiler() is None:
        pytest.skip("there is no gcc on the PATH")
    (tmp_path / "test_page.py").write_text(module)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    nothing_to_test = ran.returncode == 5 and "def test_" not in module
    assert ran.returncode == 0 or nothing_to_test, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout, ran.stdout


@pytest.mark.parametrize("page", [p for p in PAGES if any(block.language == "c" for block in blocks(p))])
def test_c_is_quoted_from_a_header(page: Path) -> None:
    """Or from a guest; without its comments, and with the kernel's names of types."""

    def bare(text: str) -> str:
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
        return " ".join(re.sub(r"\b__([us]\d\d)\b", r"\1", text).split())

    files = [*sorted((ROOT / "guests" / "include").glob("*.h")), *sorted((ROOT / "guests" / "src").glob("*.c"))]
    headers = bare("\n".join(path.read_text() for path in files))
    for block in blocks(page):
        if block.language == "c":
            assert bare(block.text) in headers, block.where
