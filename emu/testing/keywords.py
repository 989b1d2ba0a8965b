"""What a machine for tests can be made with: the keywords of ``pytest.mark.unimmu``, and what each may be.

docs/testing.md has the same list.  The plugin loads this when there is a mark or an option to be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emu.linux.clock import CLOCKS

#: The levels of tables that file systems share.
LEVELS = ("pte", "pmd", "pud")
#: Of these a mark may have several, each of which the test then runs with.
AXES = ("level", "abi", "tlb")

_Check = tuple[Callable[[object], bool], str]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


_NAME: _Check = (lambda value: isinstance(value, str), "a name")
_FLAG: _Check = (lambda value: isinstance(value, bool), "True or False")
_WHOLE: _Check = (_whole, "a whole number")
_SECONDS: _Check = (_number, "a number of seconds")

#: keyword -> whether a value is of its kind, and the kind in words.
KEYWORDS: Mapping[str, _Check] = {
    "memory": (lambda value: isinstance(value, str) or _whole(value), 'bytes, or a size such as "256M"'),
    "level": _NAME,
    "abi": _NAME,
    "stdin": (lambda value: isinstance(value, str), "text"),
    "mount_options": (lambda value: isinstance(value, Mapping), 'a dictionary such as {"owner": "persist"}'),
    "record": _FLAG,
    "max_instructions": _WHOLE,
    "max_guest_s": _SECONDS,
    "timeout_s": _SECONDS,
    "mounts": (_sequence, "a list of emu.machine.Mount"),
    "seed": _WHOLE,
    "tlb": _NAME,
    "check_tlb": _FLAG,
    "la57": _FLAG,
    "cpus": _WHOLE,
    "turn": (
        lambda value: _whole(value) or (isinstance(value, tuple) and len(value) == 2),
        "ns, or a tuple of the least and the most",
    ),
    "clock": (lambda value: value in CLOCKS, " or ".join(CLOCKS)),
    "hugepages": _WHOLE,
    "swap": _WHOLE,
    "root": _NAME,
    "binds": (_sequence, "a list of emu.machine.Bind"),
    "hostname": _NAME,
    "aslr": _FLAG,
    "engine_fast": _FLAG,
    "modules": (
        lambda value: isinstance(value, Mapping) or _sequence(value),
        'a list of names such as ["mine"], or a dictionary of names and init functions',
    ),
}


def listed(value: object) -> list[object]:
    """The values that a mark gives for one axis: those of a list, or the one; None gives none."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)  # in one order in every process
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def complaint(options: Mapping[str, object]) -> str:
    """What is wrong with the arguments of a mark, in one line; empty if nothing is.

    >>> complaint({"la57": "off"})
    "la57 should be True or False, and is 'off'"
    """
    for name, value in options.items():
        if name not in KEYWORDS:
            mounts = f"what a file system is mounted with goes into mount_options={{{name!r}: ...}}"
            return f"pytest.mark.unimmu has no {name!r}; {mounts}; there are: {', '.join(KEYWORDS)}"
        if value is None:
            continue  # as without it
        values = listed(value) if name in AXES else [value]
        if not values:
            return f"{name} is empty, which leaves nothing to run with"
        right, words = KEYWORDS[name]
        for one in values:
            if not right(one):
                return f"{name} should be {words}{' or a list of them' * (name in AXES)}, and is {one!r}"
            if words := unknown(name, one):
                return f"there can be no machine with {name}={one!r}: {words}"
    return ""


def unknown(name: str, value: object) -> str:
    """That there is no such level or TLB, in one line; empty if there is.

    Which interfaces there are only the file systems know, which a machine mounts.
    """
    if name == "level" and value not in LEVELS:
        return f"there is no level {value!r}; there are {', '.join(LEVELS)}"
    if name == "tlb" and value != "off":
        from mmu.presets import UnknownPreset, find_preset

        try:
            find_preset(str(value))
        except UnknownPreset as error:
            return f"{error}, off"
    return ""
