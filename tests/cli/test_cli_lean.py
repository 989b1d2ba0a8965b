"""Libraries as a command imports them are what everybody else imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import environment


def said(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LEAN = "import sys\nfrom emu.cli.lean import import_engine\nimport_engine()\nimport unicorn\n"
FACTS = "print(unicorn.unicorn_py3.unicorn.uclib._name, unicorn.uc_version(), sorted(vars(unicorn)))"


def test_it_is_the_same() -> None:
    assert said(f"{LEAN}{FACTS}") == said(f"import unicorn\n{FACTS}")


def test_nothing_stands_in_for_a_module_afterwards() -> None:
    out = said(
        f"{LEAN}print({{'inspect', 'importlib.resources'}} & sys.modules.keys())\n"
        "import inspect, importlib.resources\n"
        "print(inspect.signature(import_engine), importlib.resources.files('unicorn').name)"
    )
    assert out == "set()\n() -> 'None' unicorn\n"


BASICS = "import sys\nfrom emu.cli.lean import import_basics\nimport_basics()\nimport argparse, pathlib\n"


def test_the_basics_do_what_they_do() -> None:
    usage = "argparse.ArgumentParser('x', add_help=False).format_usage()"
    program = f"print({usage}, pathlib.Path('/a b').as_uri(), argparse._('options'), argparse.ngettext('a', 'b', 2))"
    assert said(f"{BASICS}{program}") == said(f"import argparse, pathlib\n{program}")
    slow = "{'gettext', 'locale', 'urllib.parse', 'ipaddress'}"
    assert said(f"{BASICS}print({slow} & sys.modules.keys())") == "set()\n"
    assert (
        said(f"{BASICS}import gettext, urllib.parse\nprint(gettext.dgettext, urllib.parse.urlparse)").count("func") == 2
    )


@pytest.mark.parametrize("name", ["inspect", "importlib.resources"])
def test_what_is_imported_already_stays(name: str) -> None:
    assert said(
        f"import {name}, sys\nbefore = sys.modules['{name}']\n{LEAN}print(before is sys.modules['{name}'])"
    ) == ("True\n")


def test_somebody_who_asks_for_more_is_answered() -> None:
    """unicorn asks for no more; whoever does has the real module."""
    assert said(
        "import sys\nfrom emu.cli.lean import _StandIn\nsys.modules['inspect'] = _StandIn('inspect', getfile=len)\n"
        "import inspect\nprint(inspect.getfile('four'), inspect.isclass(int), sys.modules['inspect'] is inspect)"
    ) == ("4 True False\n")  # fmt: skip


def test_a_library_that_cannot_be_loaded_is_an_error_as_before() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import ctypes\nctypes.cdll.LoadLibrary = lambda _: 1 / 0\n{LEAN}"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
