"""swapoff(2): everything that lies in an area comes back (try_to_unuse of mm/swapfile.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.mm.address_space import MmContext
    from emu.mm.swapfile import SwapArea


def try_to_unuse(context: MmContext, area: SwapArea) -> None:
    """Bring back every page of an area.  LinuxError(ENOMEM, EINTR) leaves some brought back."""
    assert not area.in_use
