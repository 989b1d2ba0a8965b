"""The pytest plugin: machines as fixtures, levels, interface generations and TLB presets as parameters.

pytest imports this module in every project where unimmu is installed, so it imports nothing of unimmu by itself.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emu.kernel.modules import Modules
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
    "level, abi and tlb may be lists: the test then runs with each. docs/testing.md has all keywords."
)


@dataclass(frozen=True)
class Settings:
    """What the machines of one test are made with."""

    options: Mapping[str, Any] = field(default_factory=dict)
    #: The kernel modules that the fixture and the mark ask for.
    modules: Modules | None = None
    #: Why the test cannot run with what the command line asks for.
    skip: str = ""

    def __str__(self) -> str:
        return "-".join(str(value) for value in self.options.values())


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("unimmu", "machines whose processes share page tables")
    for name, option in _AXES.items():
        group.addoption(option, metavar="LIST", help=f"run tests that use a machine with each of these {_HELP[name]}")
    group.addoption("--unimmu-memory", metavar="SIZE", help="memory of machines, such as 256M (default: 64M)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)
    if any(_wanted(config, name) is not None for name in _AXES) or config.getoption("unimmu_memory") is not None:
        _check_command_line(config)


# -- parameters --------------------------------------------------------------------------------------------------------


def _marked(node: pytest.Item | pytest.Collector) -> dict[str, Any]:
    """The arguments of the marks, the closest to the test last; what is None is as if it were not there."""
    found: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("unimmu"))):
        if mark.args:
            pytest.fail(f"{node.nodeid}: pytest.mark.unimmu takes keywords only, such as level='pmd'", pytrace=False)
        found |= mark.kwargs
    return {name: value for name, value in found.items() if value is not None}


def _wanted(config: pytest.Config, name: str) -> list[str] | None:
    """What the command line asks for."""
    text = config.getoption(_AXES[name].lstrip("-").replace("-", "_"))
    return None if text is None else list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _check_command_line(config: pytest.Config) -> None:
    """UsageError for an option that names what there is not.  Of interfaces only machines know which there are."""
    from emu.cli.arguments import parse_size
    from emu.testing.keywords import unknown

    for name, option in _AXES.items():
        wanted = _wanted(config, name)
        if wanted is not None and not wanted:
            raise pytest.UsageError(f"{option} names nothing")
        for word in wanted or ():
            if words := unknown(name, word):
                raise pytest.UsageError(f"{option}: {words}")
    if config.getoption("unimmu_memory") is not None:
        try:
            parse_size(config.getoption("unimmu_memory"))
        except ArgumentTypeError as error:
            raise pytest.UsageError(f"--unimmu-memory: {error}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A mark that is wrong is an error, whether or not the test uses a machine, or would be skipped."""
    if marked := {name: value for mark in item.iter_markers("unimmu") for name, value in mark.kwargs.items()}:
        from emu.testing.keywords import complaint

        if words := complaint({**marked, **_marked(item)}):
            pytest.fail(words, pytrace=False)


def _choices(config: pytest.Config, marked: Mapping[str, Any]) -> dict[str, list[Any]]:
    """With which values of each kind a test runs: those that its mark allows and the command line wants.

    A kind of which neither says anything is not there.
    """
    from emu.testing.keywords import listed

    found: dict[str, list[Any]] = {}
    for name in _AXES:
        wanted = _wanted(config, name)
        if name in marked:
            found[name] = [one for one in listed(marked[name]) if wanted is None or one in wanted]
        elif wanted is not None:
            found[name] = list(wanted)
    return found


def _reason(marked: Mapping[str, Any], choices: Mapping[str, list[Any]]) -> str:
    """Why a test fits nothing of what the command line asks for; empty if it fits."""
    from emu.testing.keywords import listed

    empty = [name for name, values in choices.items() if not values]
    return "; ".join(f"runs with {name} {', '.join(map(str, listed(marked[name])))} only" for name in empty)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "unimmu_settings" not in metafunc.fixturenames:
        return
    marked, config = _marked(metafunc.definition), metafunc.config
    if not any(name in marked or _wanted(config, name) is not None for name in _AXES):
        return
    choices = _choices(config, marked)
    if reason := _reason(marked, choices):
        metafunc.parametrize("unimmu_settings", [Settings(skip=reason)], indirect=True, ids=["unimmu"])
        return
    sets = [Settings(dict(zip(choices, values, strict=True))) for values in product(*choices.values())]
    if len(sets) > 1 or any(_wanted(config, name) is not None for name in choices):
        metafunc.parametrize("unimmu_settings", sets, indirect=True, ids=str)


@pytest.fixture
def unimmu_settings(request: pytest.FixtureRequest, unimmu_modules: Modules | None) -> Settings:
    """What the test's machines are made with: the mark, the command line and the parameters, put together."""
    marked, config = _marked(request.node), request.config
    options = {name: value for name, value in marked.items() if name not in _AXES}
    memory = options.get("memory", config.getoption("unimmu_memory"))
    if memory is not None:
        options["memory"] = memory
    modules = _modules(unimmu_modules, options.pop("modules", None))
    choices = _choices(config, marked)
    if _wanted(config, "abi") is not None:
        _check_abis(config, marked, choices["abi"], modules)
    param: Settings = getattr(request, "param", None) or _single(choices, marked)
    if param.skip:
        raise pytest.skip.Exception(param.skip, _use_item_location=True)
    return Settings({**options, **param.options}, modules)


def _single(choices: Mapping[str, list[Any]], marked: Mapping[str, Any]) -> Settings:
    """The settings of a test without parameters."""
    if reason := _reason(marked, choices):
        return Settings(skip=reason)
    if several := [name for name, values in choices.items() if len(values) > 1]:
        pytest.fail(
            f"to run with several values of {', '.join(several)}, the test (or a fixture of its) needs an argument "
            "`machine`, `make_machine` or `run_guest`: request.getfixturevalue() comes too late",
            pytrace=False,
        )
    return Settings({name: value for name, (value,) in choices.items()})


def _modules(base: Modules | None, marked: Modules | None) -> Modules | None:
    """The modules that a mark names come to those of the fixture; those that it gives with functions replace them."""
    if marked is None or isinstance(marked, Mapping) or base is None:
        return base if marked is None else marked
    if not isinstance(base, Mapping):
        return [*base, *marked]
    from emu.kernel.modules import ModuleError, with_modules

    try:
        return with_modules(base, marked)
    except (ValueError, ModuleError) as error:
        why = f"there can be no machine with modules={marked!r}: {error}"
    pytest.fail(why, pytrace=False)


_ABIS = pytest.StashKey["set[str]"]()


def _check_abis(config: pytest.Config, marked: Mapping[str, Any], chosen: list[str], modules: Modules | None) -> None:
    """The test fails if an interface with which it does *not* run is one that no machine can have.

    A word that is wrong must not just leave something out.  One with which it runs is tried when its machine is made.
    """
    from emu.kernel.modules import ModuleError
    from emu.testing.keywords import listed
    from emu.testing.machine import GuestMachine

    known = config.stash.setdefault(_ABIS, set())
    for abi in dict.fromkeys([*(_wanted(config, "abi") or ()), *listed(marked.get("abi"))]):
        if abi in known or abi in chosen:
            continue
        try:
            GuestMachine("16M", abi=abi, modules=modules, record=False)
            known.add(abi)
        except (ValueError, ModuleError) as error:
            why = f"there can be no machine with abi={abi!r}: {error}"
        if abi not in known:
            pytest.fail(why, pytrace=False)


# -- machines ----------------------------------------------------------------------------------------------------------

_MACHINES = pytest.StashKey["list[GuestMachine]"]()
#: Whether the test itself has run.
_CALLED = pytest.StashKey[bool]()


@pytest.fixture
def unimmu_modules() -> Modules | None:
    """The kernel modules that machines load; None for unimmu's own.

    Override this fixture to name installed modules that are to be there too, or to give, by name, the init functions
    of all that are to be there.
    """
    return None


@pytest.fixture
def make_machine(request: pytest.FixtureRequest, unimmu_settings: Settings) -> Iterator[Callable[..., GuestMachine]]:
    """Makes machines with the test's settings; keywords, as for :class:`GuestMachine`, come on top.

    Each is audited when the test is over, and whatever is wrong then fails the test.
    """
    from emu.testing.machine import GuestMachine

    made = request.node.stash.setdefault(_MACHINES, [])

    def make(**options: Any) -> GuestMachine:
        machine = GuestMachine(**{"modules": unimmu_settings.modules, **unimmu_settings.options, **options})
        made.append(machine)
        return machine

    yield make
    findings = [finding for machine in made for finding in (*machine.close(), *machine.unfinished())]
    if findings and request.node.stash.get(_CALLED, False):  # what fixtures did after the test
        pytest.fail("\n".join(findings), pytrace=False)


@pytest.fixture
def machine(make_machine: Callable[..., GuestMachine], unimmu_settings: Settings) -> GuestMachine:
    """A fresh small machine (64 MiB), audited when the test is over."""
    from emu.kernel.modules import ModuleError
    from mmu.presets import UnknownPreset

    try:
        return make_machine()
    except (ValueError, ModuleError, UnknownPreset) as error:
        wanted = [f"{name}={value!r}" for name, value in unimmu_settings.options.items()]
        why = f"there can be no machine{' with ' * bool(wanted)}{', '.join(wanted)}: {error}"
    pytest.fail(why, pytrace=False)  # here, where no other exception is shown above it


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
    item.stash[_CALLED] = True
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
