"""Kernel modules are found by their entry points, wherever they are installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.kernel.modules import GROUP, ModuleError, find_modules

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install("a", "name = m:f", ...): a distribution in a separate directory at the front of the path."""

    def install(distribution: str, text: str, *, suffix: str = "-1.0.dist-info", where: str = "site") -> None:
        info = tmp_path / where / (distribution + suffix)
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(text)
        name = distribution.replace("-", "_")
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (info / "PKG-INFO").write_text(f"Name: {name}\nVersion: 1.0\n")
        if str(tmp_path / where) not in sys.path:
            monkeypatch.syspath_prepend(tmp_path / where)

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "other_sharing.py").write_text(
        "def init(kernel):\n    kernel.append('init')\n\nclass Inner:\n    start = init\n"
    )
    return install


ENTRIES = f"""
[console_scripts]
x = y:z

[{GROUP}]
# a comment = no:entry
other = other_sharing:init
b=other_sharing:Inner.start [extra]
[more]
c = d:e
"""


@pytest.mark.parametrize("suffix", ["-1.0.dist-info", ".egg-info", "-1.0-py3.11.egg-info"])
def test_an_installed_module_is_found(install: Install, suffix: str) -> None:
    install("other_sharing", ENTRIES, suffix=suffix)
    assert {"other", "b"} <= find_modules().keys()


def test_it_is_called_as_it_is_named(install: Install) -> None:
    install("other-sharing", ENTRIES)
    modules = find_modules()
    assert list(modules) == sorted(modules)
    kernel: list[str] = []
    for name in ("other", "b"):
        modules[name](kernel)  # type: ignore[arg-type]
    assert kernel == ["init", "init"]


def test_one_that_cannot_be_loaded_is_named(install: Install) -> None:
    install("broken", f"[{GROUP}]\nbroken = no_such_module_anywhere:init\n")
    with pytest.raises(ModuleError, match=r"^kernel module broken \(no_such_module_anywhere:init\) cannot be loaded"):
        find_modules()
