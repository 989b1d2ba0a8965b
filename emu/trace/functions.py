"""A function as the region of interest: from its entry to the return of its outermost activation, thread by thread.

Code is known by its file and the place there, so a program may lie anywhere, and be run by many processes.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emu.instructions.watch import Watch
from emu.kernel.tracer import Tracer
from emu.linux.errors import LinuxError
from emu.mm.pagetable import ADDRESS, PS, P
from emu.trace.region import NoRegion, RegionAsked, WatchedRegion
from emu.trace.stat.symbols import FUNC, IFUNC, NOTYPE, SHF_EXECINSTR, SYMBOL, content_of
from mmu import GeneralProtection, PageFault
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.fs.inode import Inode
    from emu.instructions.instruction import Instruction
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: Where a library is looked for by its name alone.
_DIRECTORIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
#: The most that is read of a file.
_MOST = 1 << 30
#: Of places of return those that are remembered; a program may make up one for each call.
_MOST_RETURNS = 1 << 16


class Activation(NamedTuple):
    """An activation of the function: RSP at its entry, and where it returns to."""

    rsp: int
    returns_to: int


class FunctionRegion(WatchedRegion):
    """Within a function."""

    def __init__(self, kernel: Kernel, asked: RegionAsked, program: str, cwd: str = "/") -> None:
        """``program`` is the path in the machine of what is about to run, as seen from ``cwd``.  :class:`NoRegion`."""
        super().__init__(kernel, asked)
        self._cwd = cwd
        self._path = self._find(asked.file) if asked.file else self._from_here(program)
        self._inode: Inode = kernel.vfs.walker(None).resolve(self._path).inode
        try:
            self._offsets = find_function(self._path, kernel.vfs.read_file(self._path, _MOST), asked.function)
        except NoRegion as error:
            elsewhere = f" (one of another file is FILE:{asked.function}, as libc.so.6:qsort)"
            raise NoRegion(f"{error}{'' if asked.file else elsewhere}") from None
        self._in_order = sorted(self._offsets)
        self._returns: set[int] = set()
        #: By thread, its outermost activation.
        self._inside: dict[Task, Activation] = {}
        self.tracer = _Processes(self)
        kernel.region.set_inside(False)
        kernel.scheduler.on_current = self._current
        kernel.cpu.blocks.watch(Watch(self._places, self._reached))

    def never(self) -> str:
        return f"{self.asked.function} of {self._path} was not called"

    def _find(self, name: str) -> str:
        """The path of a file in the machine."""
        walker = self._kernel.vfs.walker(None)
        tried = [self._from_here(name)] if "/" in name else [f"{directory}/{name}" for directory in _DIRECTORIES]
        for path in tried:
            try:
                if walker.resolve(path).inode.is_regular:
                    return path
            except LinuxError:
                continue
        elsewhere = "" if "/" in name else "; FILE may be a path"
        raise NoRegion(f"{self.asked.text}: there is no file {' or '.join(tried)} in the machine{elsewhere}")

    def _from_here(self, path: str) -> str:
        """A path that is absolute: the program's working directory is not that of who looks for the file."""
        return os.path.join(self._cwd, path.removeprefix("./"))

    # -- where the code is -----------------------------------------------------------------------------------------

    def _places(self, address: int, size: int) -> list[int]:
        places = [address] if address in self._returns else []
        offset = self._offset(address)
        if offset is not None:
            first, behind = (bisect_left(self._in_order, each) for each in (offset, offset + size))
            places += [address + each - offset for each in self._in_order[first:behind]]
        return places

    def _offset(self, address: int) -> int | None:
        """Where an address is in the file; None if it is not."""
        task = self._kernel.scheduler.current
        vma: Any = None if task is None else task.mm.vmas.find(address)
        if vma is None or vma.file is None or vma.file.inode is not self._inode:
            return None
        return int(vma.pgoff << PAGE_SHIFT) + address - int(vma.start)

    # -- while it runs ---------------------------------------------------------------------------------------------

    def _reached(self, instruction: Instruction) -> None:
        """A place has been reached: the function's entry, or where it may return to."""
        task, kernel, address = self._kernel.scheduler.current, self._kernel, instruction.address
        assert task is not None
        rsp, activation = kernel.cpu.stack_pointer, self._inside.get(task)
        if activation is not None and address == activation.returns_to and rsp > activation.rsp:
            self._settle()
            self._leave(task)
        if self._offset(address) in self._offsets:
            called = Activation(rsp, self._word_at(task, rsp))
            if not self._is_within(task, called):
                self._settle()
                self._enter(task, called)

    def _is_within(self, task: Task, called: Activation) -> bool:
        """Whether a thread is in an activation from which it has not jumped away (longjmp), when it enters one."""
        activation = self._inside.get(task)
        if activation is None:
            return False
        if called.rsp <= activation.rsp:
            return called.rsp < activation.rsp or called == activation  # a loop may go back to the entry
        return task.mm.vmas.find(called.rsp) is not task.mm.vmas.find(activation.rsp)

    def _word_at(self, task: Task, address: int) -> int:
        """What is on the stack; 0 where the function is going to fail there."""
        mmu, slot = self._kernel.cpu.mmu, task.mm.tables.leaf_slot(address)
        entry = 0 if slot is None else mmu.ram.qwords[slot]
        if entry & (P | PS) == P and address % 8 == 0:  # as nearly always
            return int(mmu.ram.qwords[(entry & ADDRESS | address % PAGE_SIZE) // 8])
        if address + 8 > 1 << 64:
            return 0
        try:
            return int.from_bytes(mmu.read(address, 8), "little")
        except (PageFault, GeneralProtection):
            return 0

    def _enter(self, task: Task, activation: Activation) -> None:
        self._inside[task] = activation
        returns_to = activation.returns_to
        if returns_to and returns_to not in self._returns:
            if len(self._returns) >= _MOST_RETURNS:
                self._returns = {each.returns_to for each in self._inside.values()}
            self._returns.add(returns_to)
            self._look_anew(returns_to)
        self._region.enter()
        self._set(True)

    def _look_anew(self, address: int) -> None:
        """Have the code at an address be looked through again, if it has run."""
        try:
            self._kernel.cpu.blocks.watch_also(address)
        except (PageFault, GeneralProtection):
            pass  # it has not: the function was entered by a jump

    def _leave(self, task: Task) -> None:
        del self._inside[task]
        self._set(False)

    def _set(self, inside: bool) -> None:
        self._region.ahead = self._kernel.cpu.trap.ahead
        self._region.set_inside(inside)
        self._region.ahead = 0

    def _current(self, task: Task) -> None:
        self._region.set_inside(task in self._inside)

    # -- processes -------------------------------------------------------------------------------------------------

    def forked(self, parent: Task, child: Task) -> None:
        """A child goes on in the middle of the function; a thread has a stack of its own, and begins outside."""
        if parent in self._inside and child.group is not parent.group:
            self._inside[child] = self._inside[parent]

    def gone(self, task: Task) -> None:
        """Another program runs, or none."""
        if self._inside.pop(task, None) is not None and task is self._kernel.scheduler.current:
            self._region.set_inside(False)


class _Processes(Tracer):
    """Tells of processes."""

    def __init__(self, region: FunctionRegion) -> None:
        self._region = region

    def fork(self, parent: Task, child: Task) -> None:
        self._region.forked(parent, child)

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        self._region.gone(task)

    def exit(self, task: Task, status: int) -> None:
        self._region.gone(task)


# -- symbols -----------------------------------------------------------------------------------------------------------


def find_function(path: str, data: bytes, name: str) -> frozenset[int]:
    """Where the code of a function begins in an ELF file; in several places, where several have that name.
    :class:`NoRegion`.
    """
    from elftools.common.exceptions import ELFError

    try:
        symbols = _Symbols(data)
        found, indirect, names = symbols.places(name), symbols.is_indirect(name), symbols.names_like(name)
    except (ELFError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise NoRegion(f"{path}: this is not an ELF file of x86-64, or a damaged one, so it has no functions") from None
    if found:
        return found
    if indirect:
        raise NoRegion(f"{path}: {name} is chosen when the program starts (STT_GNU_IFUNC): name one of its variants")
    if symbols.stripped:
        raise NoRegion(f"{path} is stripped: it has no symbols, so {name} cannot be found in it")
    near = difflib.get_close_matches(name, names, 4)
    raise NoRegion(f"{path} has no function {name}" + (f"; it has {', '.join(near)}" if near else ""))


class _Symbols:
    """The symbols of code of an ELF file: more than one may stand for a function."""

    def __init__(self, data: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        elf = ELFFile(io.BytesIO(data))
        if elf["e_machine"] != "EM_X86_64" or elf["e_ident"]["EI_CLASS"] != "ELFCLASS64":
            raise ValueError
        self._segments = [each.header for each in elf.iter_segments() if each["p_type"] == "PT_LOAD"]
        code = [number for number, section in enumerate(elf.iter_sections()) if section["sh_flags"] & SHF_EXECINSTR]
        self._tables: list[tuple[npt.NDArray[Any], bytes]] = []
        for table in filter(None, map(elf.get_section_by_name, (".symtab", ".dynsym"))):
            content = content_of(table)
            symbols = np.frombuffer(content, SYMBOL, len(content) // SYMBOL.itemsize)
            symbols = symbols[np.isin(symbols["section"], np.array(code, np.uint16)) & (symbols["name"] != 0)]
            kind = symbols["info"] & 15
            symbols = symbols[(kind == FUNC) | (kind == IFUNC) | (kind == NOTYPE)]
            self._tables.append((symbols, content_of(elf.get_section(table["sh_link"]))))

    @property
    def stripped(self) -> bool:
        """Whether there are none."""
        return not any(len(symbols) for symbols, _ in self._tables)

    def names_like(self, name: str) -> set[str]:
        """All names that are not so much longer than another that nobody could mean them."""
        most = 4 * len(os.fsencode(name))
        ends = (
            (names, begin, names.find(b"\0", begin, begin + most))
            for symbols, names in self._tables
            for begin in symbols["name"].tolist()
        )
        return {names[begin:end].decode("utf-8", "replace") for names, begin, end in ends if end >= 0}

    def _named(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """The symbols with a name, which may be the end of another one."""
        for symbols, names in self._tables:
            begins = [found.start() for found in re.finditer(re.escape(os.fsencode(name)) + b"\0", names)]
            yield symbols[np.isin(symbols["name"], np.array(begins, np.uint32))]

    def is_indirect(self, name: str) -> bool:
        """Whether it is a function that is chosen at run time."""
        return any(bool((symbols["info"] & 15 == IFUNC).any()) for symbols in self._named(name))

    def places(self, name: str) -> frozenset[int]:
        """Where it begins in the file."""
        return frozenset(
            value - each["p_vaddr"] + each["p_offset"]
            for symbols in self._named(name)
            for value in symbols["value"][symbols["info"] & 15 != IFUNC].tolist()
            for each in self._segments
            if each["p_vaddr"] <= value < each["p_vaddr"] + each["p_filesz"]
        )
