"""The interface generations, by the name that the mount option ``abi=`` has for them.

Each is a module ``abi_NAME`` whose ``ABI`` says what an instance that is mounted with it has; it is imported when the
first one is mounted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from emu.fs.inode import NewOwner
from msharefs.filesystem import MshareDirectory

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall
    from msharefs.filesystem import MshareSuperBlock, RegionInode
    from msharefs.module import Mshare


def _never(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionInode:
    raise AssertionError(f"abi={sb.abi.name}: its directory does not make files")


def _none(mshare: Mshare) -> tuple[Syscall, ...]:
    return ()


@dataclass(frozen=True)
class Abi:
    """One generation: what an instance that is mounted with it has."""

    name: str
    #: The posting.
    source: str
    #: creat(2) of a region's file: the instance, the name, the owner.
    create: Callable[[MshareSuperBlock, str, NewOwner], RegionInode] = _never
    #: What the root and the directories in it are.
    directory: type[MshareDirectory] = MshareDirectory
    root_mode: int = 0o777
    #: There is a file mshare_info in the root.
    has_info: bool = True
    #: mshare(2) and mshare_unlink(2) act on the instance, unless the mount option ``syscalls`` says otherwise.
    calls: bool = False
    #: System calls of its own, which the machine has once an instance has been mounted.
    own_calls: Callable[[Mshare], tuple[Syscall, ...]] = _none
    #: Every mount shows the same instance.
    single: bool = False


class Generations(Mapping[str, Abi]):
    """Every generation, oldest first."""

    _NAMES = ("v1", "v2", "rfc3", "y1", "y2", "v3", "g4")

    def __getitem__(self, name: str) -> Abi:
        if name not in self._NAMES:
            raise KeyError(name)
        abi = import_module(f"msharefs.abi_{name}").ABI
        assert isinstance(abi, Abi)
        return abi

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)
