"""What is known of one block of code, and what is to be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.engine.records import CodeCopy, Hit


class Patch:
    """How a piece is made of a block: ``new`` stands for ``old`` at a host address."""

    def __init__(self, host: int, old: bytes, new: bytes) -> None:
        self.host, self.old, self.new = host, old, new


class Forget:
    """Too much is known."""


FORGET = Forget()
#: What the engine has translated is no longer there.
RETRANSLATE = Patch(0, b"", b"")


class Steps:
    """At a page's end there is no room for a jump: the engine is to go there instruction by instruction."""

    def __init__(self, until: int) -> None:
        self.until = until


class Block:
    """What is known of a block, or of a piece that has been cut off one."""

    __slots__ = (
        "address", "before", "copy", "goes_on", "guards", "hit", "instructions", "keeps", "last_frame", "length",
        "patch", "size", "stops",
    )  # fmt: skip

    def __init__(self, address: int, size: int, instructions: int, last_frame: int, copy: bytes | None) -> None:
        """``last_frame``: where its code ends; ``copy``: all the code that this was made of, if its frame can be
        written unseen."""
        self.address, self.size, self.instructions, self.copy = address, size, instructions, copy
        self.last_frame, self.length = last_frame, size
        self.before = 0
        self.goes_on: int | None = None
        self.stops = False
        self.hit: Hit | None = None
        #: Guards, with the offsets, if it is to guard its aligned operands itself.
        self.guards: Any = None
        #: It is to be cut.
        self.patch: Patch | None = None
        #: The copy of the code that the native hook compares with, and where it finds that.
        self.keeps: tuple[Any, CodeCopy] | None = None

    def is_cut_as(self, other: Block) -> bool:
        """Whether the engine's code of two pieces that begin at one address is the same."""
        cut = self.size, self.goes_on, self.before, self.stops
        return cut == (other.size, other.goes_on, other.before, other.stops)
