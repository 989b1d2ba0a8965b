"""The pytest plugin: machines as fixtures, levels, interface generations and TLB presets as parameters.

pytest imports this module in every project where unimmu is installed, so it imports nothing of unimmu by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emu.kernel.modules import Init
    from emu.testing.events import MmuEvents
    from emu.testing.machine import GuestMachine, GuestResult

#: What the mark chooses, and the command-line option that gives a list of each.
_AXES = {"level": "--unimmu-levels", "abi": "--unimmu-abis", "tlb": "--unimmu-tlbs"}
_HELP = {
    "level": "levels of shared tables: pte,pmd,pud",
    "abi": "interface generations, as the mounted file system names them",
    "tlb": "TLB presets ('unimmu presets' lists them) or off",
}
_MARK = (
    "unimmu(level=, abi=, tlb=, memory=, cpus=, seed=, ...): what the test's machines are like. "
    "level, abi and tlb may be sequences: the test then runs with each. The rest is as for emu.testing.GuestMachine."
)


@dataclass(frozen=True)
class Settings:
    """What the machines of one test are made with."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join(str(value) for value in self.options.values())


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("unimmu", "machines whose processes share page tables")
    for name, option in _AXES.items():
        group.addoption(option, metavar="LIST", help=f"run tests that use a machine with each of these {_HELP[name]}")
    group.addoption("--unimmu-memory", metavar="SIZE", help="memory of machines, such as 256M (default: 64M)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)


# -- parameters --------------------------------------------------------------------------------------------------------


def _marked(node: pytest.Item | pytest.Collector) -> dict[str, Any]:
    """The arguments of the marks, the closest to the test last."""
    found: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("unimmu"))):
        if mark.args:
            pytest.fail(f"{node.nodeid}: pytest.mark.unimmu takes keywords only, such as level='pmd'", pytrace=False)
        found |= mark.kwargs
    return found


def _listed(value: object) -> list[str]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [str(value)]


def _wanted(config: pytest.Config, name: str) -> list[str] | None:
    """What the command line asks for."""
    text = config.getoption(_AXES[name].lstrip("-").replace("-", "_"))
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _choices(config: pytest.Config, name: str, marked: Mapping[str, Any]) -> list[str]:
    """With which values of one kind a test runs: those that its mark allows and the command line wants."""
    fits = _listed(marked[name]) if name in marked else None
    wanted = _wanted(config, name)
    if fits is None or wanted is None:
        return fits if fits is not None else wanted or []
    return [choice for choice in fits if choice in wanted]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "unimmu_settings" not in metafunc.fixturenames:
        return
    marked, config = _marked(metafunc.definition), metafunc.config
    axes = {name: _choices(config, name, marked) for name in _AXES}
    asked = [name for name in _AXES if name in marked or _wanted(config, name) is not None]
    if not asked:
        return
    empty = [name for name in asked if not axes[name]]
    if empty:
        reason = "; ".join(f"runs with {name} {', '.join(_listed(marked.get(name, ())))} only" for name in empty)
        skipped = pytest.param(Settings(), marks=pytest.mark.skip(reason))
        metafunc.parametrize("unimmu_settings", [skipped], indirect=True)
        return
    sets = [Settings(dict(zip(asked, values, strict=True))) for values in product(*(axes[name] for name in asked))]
    if len(sets) > 1 or any(_wanted(config, name) is not None for name in asked):
        metafunc.parametrize("unimmu_settings", sets, ids=str, indirect=True)


@pytest.fixture
def unimmu_settings(request: pytest.FixtureRequest) -> Settings:
    """What the test's machines are made with: the mark, the command line and the parameters, put together."""
    options = {name: _listed(value)[0] if name in _AXES else value for name, value in _marked(request.node).items()}
    memory = options.get("memory", request.config.getoption("unimmu_memory"))
    if memory is not None:
        options["memory"] = memory
    if hasattr(request, "param"):
        options |= request.param.options
    return Settings(options)


# -- machines ----------------------------------------------------------------------------------------------------------

_MACHINES = pytest.StashKey["list[GuestMachine]"]()


@pytest.fixture
def unimmu_modules() -> Mapping[str, Init] | None:
    """The kernel modules that machines load, by name; None for every installed one.

    Override this fixture to try a module that is not installed.
    """
    return None


@pytest.fixture
def make_machine(
    request: pytest.FixtureRequest, unimmu_settings: Settings, unimmu_modules: Mapping[str, Init] | None
) -> Iterator[Callable[..., GuestMachine]]:
    """Makes machines with the test's settings; keywords, as for :class:`GuestMachine`, come on top.

    Each is audited when the test is over, and whatever is wrong then fails the test.
    """
    from emu.testing.machine import GuestMachine

    made = request.node.stash.setdefault(_MACHINES, [])

    def make(**options: Any) -> GuestMachine:
        machine = GuestMachine(**{"modules": unimmu_modules, **unimmu_settings.options, **options})
        made.append(machine)
        return machine

    yield make
    for machine in made:  # where the test never came to its end
        machine.close()


@pytest.fixture
def machine(make_machine: Callable[..., GuestMachine], unimmu_settings: Settings) -> GuestMachine:
    """A fresh small machine (64 MiB), audited when the test is over."""
    if unknown := [name for name in unimmu_settings.options if name not in _keywords()]:
        there_are = f"there are: {', '.join(_keywords())}"
        mounts = f"what a file system is mounted with goes into mount_options={{{unknown[0]!r}: ...}}"
        pytest.fail(f"pytest.mark.unimmu has no {unknown[0]!r}; {mounts}; {there_are}", pytrace=False)
    from mmu.presets import UnknownPreset

    try:
        return make_machine()
    except (ValueError, UnknownPreset) as error:
        wanted = ", ".join(f"{name}={value!r}" for name, value in unimmu_settings.options.items())
        pytest.fail(f"there can be no machine with {wanted}: {error}", pytrace=False)


def _keywords() -> list[str]:
    """What a machine for tests can be made with, besides its streams."""
    from emu.machine import Machine
    from emu.testing.machine import GuestMachine

    names = [name for made in (GuestMachine, Machine) for name in inspect.signature(made).parameters]
    return [name for name in dict.fromkeys(names) if name not in ("options", "stdout", "stderr", "log")]


@pytest.fixture
def run_guest(machine: GuestMachine) -> Callable[..., GuestResult]:
    """Runs a guest on ``machine`` to its end: ``run_guest(program, *arguments, env=None)``.

    ``program`` is a path, the name of a prebuilt guest, or the text of a C program, which without a compiler skips the
    test.
    """
    return machine.run_guest


@pytest.fixture
def mmu_events(machine: GuestMachine) -> MmuEvents:
    """What happens in ``machine`` from here on: walks, fills, faults, links, flushes and more, to be filtered."""
    return machine.record_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """The audit belongs to the test: what it finds fails the test itself, not its teardown."""
    try:
        result = yield
    except BaseException:
        _add_reports(item)
        for machine in item.stash.get(_MACHINES, ()):
            if findings := machine.close():
                item.add_report_section("call", "audit", "\n".join(findings))
        raise
    findings = [finding for machine in item.stash.get(_MACHINES, ()) for finding in machine.close()]
    if findings:
        _add_reports(item)
        count = "1 thing" if len(findings) == 1 else f"{len(findings)} things"
        pytest.fail(f"the audit after the test found {count} wrong:\n" + "\n".join(findings), pytrace=False)
    return result


def _add_reports(item: pytest.Item) -> None:
    """What guests printed and what the machine said, below the failure."""
    for machine in item.stash.get(_MACHINES, ()):
        for name, text in (
            ("guest stdout", machine.stdout), ("guest stderr", machine.stderr), ("machine", "\n".join(machine.logged))
        ):  # fmt: skip
            if text:
                item.add_report_section("call", name, text)
