"""The interface generations, by the name that the mount option ``abi=`` has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.fs.inode import NewOwner
from msharefs.abi_v3 import create_v3

if TYPE_CHECKING:
    from msharefs.filesystem import MshareSuperBlock, RegionInode


@dataclass(frozen=True)
class Abi:
    """One generation: what the files of an instance that is mounted with it are."""

    name: str
    #: The posting.
    source: str
    #: creat(2) of a region's file: the instance, the name, the owner.
    create: Callable[[MshareSuperBlock, str, NewOwner], RegionInode]


ABIS: Mapping[str, Abi] = {
    abi.name: abi for abi in (Abi("v3", "Anthony Yznaga, third series, August 2025", create_v3),)
}
