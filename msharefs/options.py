"""Mount options: one frozen record whose fields are the table of names, values, defaults and meanings.

``level=pud,tlb=all,quirk=a,b`` is read by :func:`parse`; a mount shows its options in /proc/mounts, and
``mount -o remount`` changes those that may change under a mounted instance.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from emu.linux.errors import LinuxError
from emu.mm.tlbflush import TLB_POLICIES
from mmu.record import field, fields, record, replace
from msharefs.quirks import Quirk

if TYPE_CHECKING:
    from dataclasses import Field

#: The shared table: see msharefs.region.
LEVELS = ("pte", "pmd", "pud")
ON_OFF = ("on", "off")


def _option(default: str, values: Collection[str], meaning: str, *, fixed: bool = False) -> Any:
    """A field: its values (empty: those passed to :func:`parse`), and whether it is ``fixed`` once mounted."""
    return field(default=default, metadata={"values": tuple(values), "meaning": meaning, "fixed": fixed})


@record(frozen=True)
class MountOptions:
    """What a mounted instance does.  An option's name is the field's, with ``-`` for ``_``; the bare name of an on/off
    option means on.  ``quirk=`` can be given several times and be followed by more names; ``quirk=none`` clears the
    earlier ones.
    """

    level: str = _option("pmd", LEVELS, "the table that is shared; with it the unit", fixed=True)
    abi: str = _option("v3", (), "the interface generation of region files", fixed=True)
    owner: str = _option(
        "", ("die", "persist"), "whether a region ends with its owner (default: as the interface has it)"
    )
    tlb: str = _option(
        "", TLB_POLICIES, "which vCPUs hear of a change of shared tables (default: sharers with abi=g4, else all)"
    )
    strict_prot: str = _option("off", ON_OFF, "a window must allow whatever the region's objects allow")
    gup: str = _option(
        "strict",
        ("strict", "resolve"),
        "whether process_vm_readv, futex and their like see pages that this process has not touched yet",
    )
    anonymous: str = _option("off", ON_OFF, "whether MAP_SHARED|MAP_ANONYMOUS memory from 2 MiB on becomes a region")
    strict_fd: str = _option("off", ON_OFF, "a descriptor for reading only changes nothing")
    quirks: frozenset[Quirk] = field(
        default=frozenset(),
        metadata={"values": tuple(Quirk), "meaning": "defects of the postings that are to be there", "fixed": False},
    )
    syscalls: str = _option(
        "", ON_OFF, "mshare(2) and mshare_unlink(2) (default: on with abi=v1 and abi=v3, off with the others)"
    )

    def value(self, name: str) -> str | None:
        """What the option of this name is (of ``quirk``: all, separated by commas); None if there is none such.

        >>> MountOptions(level="pte").value("level"), MountOptions().value("abi"), MountOptions().value("size")
        ('pte', 'v3', None)
        """
        if name == "quirk":
            return ",".join(sorted(self.quirks))
        option = _BY_NAME.get(name)
        return None if option is None else str(getattr(self, option.name))

    def shown(self) -> str:
        """The options for /proc/mounts: the level, which no posting has, and all that differ from the default."""
        words = [f"level={self.level}"]
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "quirks":
                words += [f"quirk={quirk}" for quirk in sorted(value)]
            elif value != option.default and option.name != "level":
                words.append(f"{_name(option)}={value}")
        return "".join(f",{word}" for word in words)


def _name(option: Field[Any]) -> str:
    return "quirk" if option.name == "quirks" else option.name.replace("_", "-")


_BY_NAME = {_name(f): f for f in fields(MountOptions)}


def parse(text: str, abis: Collection[str], before: MountOptions | None = None) -> MountOptions:
    """The options of a mount, or of a remount that changes ``before``.  LinuxError(EINVAL) says what is wrong."""
    start = before or MountOptions()
    values: dict[str, Any] = {}
    quirks = set(start.quirks)
    in_quirks = False
    for word in filter(None, text.split(",")):
        name, given, value = word.partition("=")
        in_quirks = name == "quirk" or (in_quirks and not given and name in tuple(Quirk))
        if in_quirks:
            _add_quirk(quirks, value if given else name)
            continue
        option = _BY_NAME.get(name)
        if option is None:
            raise LinuxError(errno.EINVAL, f"unknown parameter '{name}' (there are: {', '.join(_BY_NAME)})")
        known = tuple(abis) if name == "abi" else option.metadata["values"]
        if not given and known == ON_OFF:
            value = "on"
        if value not in known:
            raise LinuxError(errno.EINVAL, f"{name}={value}: the {_plural(name)} are {', '.join(known)}")
        if before is not None and option.metadata["fixed"] and value != getattr(before, option.name):
            raise LinuxError(errno.EINVAL, f"{name} cannot change from {getattr(before, option.name)} to {value}")
        values[option.name] = value
    return replace(start, quirks=frozenset(quirks), **values)


def _add_quirk(quirks: set[Quirk], name: str) -> None:
    if name == "none":
        quirks.clear()
    elif name in tuple(Quirk):
        quirks.add(Quirk(name))
    else:
        raise LinuxError(errno.EINVAL, f"quirk={name}: the quirks are {', '.join(Quirk)}")


def _plural(name: str) -> str:
    return f"{name}s" if name in ("level", "abi") else f"values of {name}"
