"""importlib.resources is imported by those who ask it for more than the directory of Unicorn."""

from __future__ import annotations

import subprocess
import sys

import pytest

_START = "import sys; from emu.cli.resources import stand_in; stand_in(); "


@pytest.mark.parametrize(
    "program",
    [
        "import unicorn; assert 'zipfile' not in sys.modules",
        "import unicorn; import importlib.resources as r; assert r.files('emu').joinpath('cli').is_dir()",
        "from importlib.resources import as_file, files; assert files('unicorn').joinpath('lib').is_dir()",
        "import importlib.resources.abc; assert importlib.resources.abc.Traversable",
        "import importlib.resources as first; stand_in(); assert sys.modules['importlib.resources'].abc",
    ],
)
def test_it_is_there_for_whoever_asks(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", _START + program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
