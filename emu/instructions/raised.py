"""Exceptions of the processor (SDM vol. 3, chapter 6) that an instruction raises."""

from __future__ import annotations

DB, OF, UD, SS, GP, MF, AC, XM = 1, 4, 6, 12, 13, 16, 17, 19


class Raised(Exception):
    """An instruction raises an exception of the processor.

    A fault, RIP is at the instruction; a ``trap``, behind it.
    """

    def __init__(self, vector: int, error_code: int = 0, *, trap: bool = False) -> None:
        super().__init__(f"exception {vector}, error code {error_code:#x}")
        self.vector, self.error_code, self.trap = vector, error_code, trap
