"""How strace writes the arguments of each call: what its row in the table of system calls does not say.

A row says what an argument is to the kernel; the tables of this package say how it is written: structures field by
field, flags by name, and which arguments a command looks at.  They are imported only where calls are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emu.linux.argument import Shown, View
from emu.syscalls.types import signal_words
from emu.trace.forms import (
    commands,
    descriptors,
    files,
    ipc,
    machine,
    memory,
    prctl,
    processes,
    ptrace,
    ready,
    recent,
    rings,
    sockets,
    times,
)
from emu.trace.forms.form import Form, Forms

_FORMS: Mapping[str, Forms] = {
    name: forms
    for part in (times, files, sockets, processes, commands, ipc, memory, machine, ready, recent, rings)
    for name, forms in part.FORMS.items()
}
_COMMANDS: Mapping[str, commands.ByArguments] = {
    **commands.COMMANDS, **files.COMMANDS, **ipc.COMMANDS, **memory.COMMANDS, **processes.COMMANDS,
    **machine.COMMANDS, **rings.COMMANDS,
    "fcntl": descriptors.fcntl, "ioctl": descriptors.ioctl, "prctl": prctl.prctl, "ptrace": ptrace.ptrace,
}  # fmt: skip
#: What a call returns, where its row does not say how that is written; None: as the row has it.
_RESULTS: Mapping[str, Callable[[int, Shown], str | None]] = {
    "poll": ready.polled, "ppoll": ready.polled, "select": ready.selected, "pselect6": ready.selected,
    "recvmmsg": lambda found, call: str(found or "0 (Timeout)"),
    "adjtimex": times.clock_state, "clock_adjtime": times.clock_state, "membarrier": commands.barriers,
    "personality": lambda found, call: f"{found:#x} ({commands.persona(found)})" if found else "0 (PER_LINUX)",
    "ioprio_get": lambda found,
    call: f"{found} ({processes.io_priority(found)})" if found != 0 else f"0 ({processes.io_priority(0)})",
    "rt_sigtimedwait": lambda found, call: f"{found} ({signal_words(found)})",
    "fcntl": descriptors.fcntl_result, "prctl": prctl.prctl_result, "ioctl": descriptors.ioctl_result,
    "lseek": lambda found, call: str(found & 0xFFFFFFFFFFFFFFFF), "modify_ldt": machine.ldt_result,
}  # fmt: skip


_BEFORE: Mapping[str, Forms] = {
    **sockets.BEFORE, **files.BEFORE, **processes.BEFORE, **rings.BEFORE, **descriptors.BEFORE,
}  # fmt: skip


#: The arguments of calls that have no row: this Linux is built without them.
UNBUILT = machine.UNBUILT
#: The names of the calls of which there is something to say.
CALLS = frozenset({*_FORMS, *_COMMANDS, *_RESULTS, *_BEFORE})


def forms_of(name: str, values: tuple[int, ...], view: View) -> Forms:
    """The forms of the arguments of a call, by position; None for one that is not shown."""
    forms = _FORMS.get(name, {})
    by_arguments = _COMMANDS.get(name)
    return forms if by_arguments is None else {**forms, **by_arguments(values, view)}


def before_of(name: str) -> Forms:
    """What is to be looked at when a call begins, and told of when it has returned."""
    return _BEFORE.get(name, {})


def result_of(name: str, found: int, call: Shown) -> str | None:
    """What a call has returned; None where its row says how that is written."""
    result = _RESULTS.get(name)
    return None if result is None else result(found, call)


__all__ = ["CALLS", "UNBUILT", "Form", "Forms", "before_of", "forms_of", "result_of"]
