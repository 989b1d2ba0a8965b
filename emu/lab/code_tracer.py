"""A tracer that notes where code of files is mapped while accesses are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.tracer import Tracer
from emu.lab.code_map import CodeMap
from emu.trace.code import mapped_code
from emu.trace.stat.image import Mapping

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

_ALL = 0, (1 << 64) - 1


class CodeTracer(Tracer):
    """Fills a :class:`CodeMap`; ``number_of`` gives the number of an address space in the stream."""

    each_signal = False
    maps = True

    def __init__(self, number_of: Callable[[AddressSpace], int]) -> None:
        self._number_of = number_of
        self.code = CodeMap()

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        self.mapped(task, *_ALL)

    def mapped(self, task: Task, start: int, end: int) -> None:
        number = self._number_of(task.mm)
        for one in mapped_code(task.mm, start, end):
            self.code.add(number, Mapping(one.start, one.start + one.length, one.offset, one.path, one.build_id))

    def fork(self, parent: Task, child: Task) -> None:
        self.code.copy(self._number_of(parent.mm), self._number_of(child.mm))
