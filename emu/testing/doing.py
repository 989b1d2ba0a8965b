"""What the processes of a machine are doing, in sentences for somebody whose test does not end."""

from __future__ import annotations

import functools
import io
import signal
from typing import TYPE_CHECKING

from emu.kernel.task import Task, TaskState
from emu.linux.errors import LinuxError
from emu.testing.walks import name_of, walk_of

if TYPE_CHECKING:
    from emu.machine import Machine
    from emu.testing.marks import Marks

_LONGEST_INSTRUCTION = 15


def ending_of(task: Task) -> int | str | None:
    """How a process has ended: its exit status, or the name of the signal that ended it; None while it lives."""
    if task.alive:
        return None
    signo = task.exit_code & 0x7F
    return signal.Signals(signo).name if signo else task.exit_code >> 8


def doings(machine: Machine, marks: Marks) -> list[str]:
    """A line for each living process, or each of its threads where it has several."""
    tasks = [task for _, task in sorted(machine.kernel.tasks.items()) if task.alive]
    return [f"{_label(task)}: {doing(machine, marks, task)}" for task in tasks]


def doing(machine: Machine, marks: Marks, task: Task) -> str:
    """What one task is doing: where it runs, in which call it waits, or how it has ended."""
    end = ending_of(task)
    if end is not None:
        return f"it was killed by {end}" if isinstance(end, str) else f"it ended with status {end}"
    if marks.stands(task):
        return "stands at a mark (resume(task) lets it go on)"
    if task.syscall is not None and (task.state == TaskState.SLEEPING or task.sleeping is not None):
        verb = "waits" if task.state == TaskState.SLEEPING else "is"  # woken, and has not run yet
        call = machine.kernel.entry.lookup(task.syscall[0])
        return f"{verb} in {call.name if call else f'system call {task.syscall[0]}'}"
    return f"runs at {task.rip:#x}{_symbol(machine, task)}{_instruction(task)}, after {_retired(task)} instructions"


def _retired(task: Task) -> str:
    return f"{task.usage.instructions:,}"


def _label(task: Task) -> str:
    return name_of(task) if task.pid == task.tgid else f"thread {task.pid} of process {task.tgid} ({task.comm})"


def _instruction(task: Task) -> str:
    """The instruction at which the task is, where its code is there to be read."""
    from capstone import CS_ARCH_X86, CS_MODE_64, Cs

    paddr = walk_of(task, task.rip).paddr
    if paddr is None:
        return ""
    code = task.mm.frames.ram.read(paddr, min(_LONGEST_INSTRUCTION, 4096 - paddr % 4096))
    for _, _, mnemonic, operands in Cs(CS_ARCH_X86, CS_MODE_64).disasm_lite(code, task.rip, 1):
        return f": {mnemonic} {operands}".rstrip()
    return ""


def _symbol(machine: Machine, task: Task) -> str:
    """The function at which the task is, if its program has symbols and stands where it was linked."""
    try:
        functions = _functions(machine.kernel.vfs.read_file(f"/proc/{task.pid}/exe"))
    except LinuxError:  # /proc is not there
        return ""
    found = max((one for one in functions if one[0] <= task.rip < one[1]), default=None)
    return "" if found is None else f" ({found[2]}+{task.rip - found[0]:#x})"


@functools.lru_cache(maxsize=2)  # most tasks of a machine run the same program
def _functions(program: bytes) -> tuple[tuple[int, int, str], ...]:
    """First address, end and name of each function of a program; none if it says nothing of them."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        elf = ELFFile(io.BytesIO(program))
        table = elf.get_section_by_name(".symtab") if elf["e_type"] == "ET_EXEC" else None
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
    except ELFError:
        return ()  # no ELF file
    return tuple(
        (symbol["st_value"], symbol["st_value"] + max(symbol["st_size"], 1), symbol.name)
        for symbol in symbols
        if symbol["st_info"]["type"] == "STT_FUNC"
    )
