"""Kernel modules are found by their entry points: unimmu's own always, any other when it is asked for."""

from __future__ import annotations

import errno
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import emu.kernel.modules
from emu.kernel.modules import (
    DISTRIBUTION,
    GROUP,
    ModuleError,
    UnknownModule,
    find_modules,
    load_modules,
    with_modules,
)
from emu.linux.errors import LinuxError
from emu.machine import Machine

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
def test_an_installed_module_is_found_by_its_name(install: Install, suffix: str) -> None:
    install("other_sharing", ENTRIES, suffix=suffix)
    assert list(load_modules(["other", "b"])) == ["other", "b"]


def test_a_module_is_loaded_only_when_it_is_asked_for(install: Install) -> None:
    install("unasked", f"[{GROUP}]\nunasked = unasked:init\nbroken = no_such_module_anywhere:init\n")
    (Path(sys.path[0]) / "unasked.py").write_text("def init(kernel):\n    pass\n")
    assert not {"unasked", "broken"} & find_modules().keys()
    Machine(8 << 20)
    assert "unasked" not in sys.modules
    Machine(8 << 20, modules=["unasked"])
    assert sys.modules.pop("unasked")


@pytest.mark.parametrize("suffix", ["-1.0.dist-info", ".egg-info", "-1.0-py3.11.egg-info"])
def test_ours_are_there_by_default(install: Install, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
    lines = [f"{name} = {value}\n" for name, value in project["entry-points"][GROUP].items()]
    install(f"{DISTRIBUTION}_extra", f"[{GROUP}]\nunasked = unasked:init\n", where="before")
    install(DISTRIBUTION, f"[other]\na = b:c\n[{GROUP}]\n# ours\n{''.join(lines)}\n[more]\nc = d:e\n", suffix=suffix)
    assert list(find_modules()) == sorted(project["entry-points"][GROUP])
    monkeypatch.setattr(emu.kernel.modules, "DISTRIBUTION", "not-installed")
    assert find_modules() == {}


def test_it_is_called_as_it_is_named(install: Install) -> None:
    install("other-sharing", ENTRIES)
    kernel: list[str] = []
    for init in load_modules(["other", "b"]).values():
        init(kernel)  # type: ignore[arg-type]
    assert kernel == ["init", "init"]


def test_a_machine_has_those_that_are_named_and_ours(install: Install) -> None:
    install("noted", f"[{GROUP}]\nnoted = noted:init\n")
    (Path(sys.path[0]) / "noted.py").write_text("def init(kernel):\n    kernel.reporters['noted'] = lambda: 1\n")
    ours, both = Machine(8 << 20), Machine(8 << 20, modules=["noted"])
    del sys.modules["noted"]
    assert set(both.kernel.reporters) - set(ours.kernel.reporters) == {"noted"}
    assert set(ours.kernel.reporters) <= set(both.kernel.reporters)


def test_one_that_is_not_there_is_an_error_that_names_what_is(install: Install) -> None:
    install("other-sharing", ENTRIES)
    with pytest.raises(UnknownModule, match=r"^no kernel module 'othr' is installed; there are: b, .*\bother\b"):
        Machine(8 << 20, modules=["othr"])


def test_two_of_one_name_are_refused(install: Install) -> None:
    install("other-sharing", ENTRIES)
    install("second", f"[{GROUP}]\nother = elsewhere:init\n")
    says = (
        r"^2 kernel modules are called 'other': elsewhere:init \(of second\), other_sharing:init \(of other_sharing\)"
    )
    with pytest.raises(UnknownModule, match=says):
        load_modules(["other"])


def test_a_name_alone_is_no_list() -> None:
    with pytest.raises(ValueError, match=r"modules='other': a list of names is wanted, such as modules=\['other'\]"):
        with_modules({}, "other")


def test_one_that_cannot_be_loaded_is_named(install: Install) -> None:
    install("broken", f"[{GROUP}]\nbroken = no_such_module_anywhere:init\nplain = other_sharing:__name__\n")
    with pytest.raises(ModuleError, match=r"^kernel module broken \(no_such_module_anywhere:init\) cannot be loaded"):
        load_modules(["broken"])
    says = r"^kernel module plain \(other_sharing:__name__\) is no function init\(kernel\), but 'other_sharing'$"
    with pytest.raises(ModuleError, match=says):
        load_modules(["plain"])


def test_one_that_does_not_start_is_named() -> None:
    def wrong(kernel: object) -> None:
        raise KeyError("quota")

    def twice(kernel: object) -> None:
        raise LinuxError(errno.EEXIST, "there is such a file")

    def small(kernel: object) -> None:
        raise LinuxError(errno.ENOMEM)

    with pytest.raises(ModuleError, match=r"^kernel module wrong does not start: KeyError: 'quota' \(.*\.py:\d+\)$"):
        Machine(8 << 20, modules={"wrong": wrong})
    with pytest.raises(ModuleError, match=r"^kernel module twice does not start: LinuxError: .*there is such a file"):
        Machine(8 << 20, modules={"twice": twice})
    with pytest.raises(ValueError, match=r"^a machine with 8388608 bytes of memory cannot start"):
        Machine(8 << 20, modules={"small": small})
