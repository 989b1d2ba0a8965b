"""The interface generations, by the name that the mount option ``abi=`` has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.fs.inode import NewOwner
from msharefs.abi_rfc3 import create_rfc3
from msharefs.abi_v2 import DirectoryV2, create_v2
from msharefs.abi_v3 import create_v3
from msharefs.abi_y1 import create_y1
from msharefs.abi_y2 import create_y2
from msharefs.filesystem import ClosedDirectory, MshareDirectory

if TYPE_CHECKING:
    from msharefs.filesystem import MshareSuperBlock, RegionInode


def _never(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionInode:
    raise AssertionError(f"abi={sb.abi.name}: its directory does not make files")


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
    #: Every mount shows the same instance.
    single: bool = False


ABIS: Mapping[str, Abi] = {
    abi.name: abi
    for abi in (
        Abi(
            "v1",
            "Khalid Aziz, first series, April 2022",
            directory=ClosedDirectory,
            root_mode=0o755,
            has_info=False,
            calls=True,
            single=True,
        ),
        Abi("v2", "Khalid Aziz, second series, June 2022", create_v2, directory=DirectoryV2),
        Abi("rfc3", "Anthony Yznaga, RFC v3, September 2024", create_rfc3),
        Abi("y1", "Anthony Yznaga, first series, January 2025", create_y1),
        Abi("y2", "Anthony Yznaga, second series, April 2025", create_y2),
        Abi("v3", "Anthony Yznaga, third series, August 2025", create_v3, calls=True),
    )
}
