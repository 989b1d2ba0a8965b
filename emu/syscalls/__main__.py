"""The table of system calls of docs/syscalls.md, generated from the rows: ``python -m emu.syscalls >
docs/syscalls.md``.
"""

from __future__ import annotations

import inspect
import re

from emu.linux.syscall import Restart, RestartByFlag, RestartByTimeout, Syscall
from emu.syscalls import all_tables

_HEAD = """\
# System calls

Generated from the rows that declare the calls: `python -m emu.syscalls > docs/syscalls.md`. A call that is not listed
gives ENOSYS, and `unimmu run` says so once, on standard error, with the name and the number of the call.

To add a call is to add one row to the table of a subject in [emu/syscalls/](../emu/syscalls), with its number in
[`emu/syscalls/__init__.py`](../emu/syscalls/__init__.py), or to give one to `kernel.entry.register()` from the
`init(kernel)` of a module of your own:

```python
from emu.linux.argument import FD, FILLED, SIZE
from emu.linux.syscall import BYTES, Restart, Syscall


def sys_read(kernel, task, fd, address, count):
    "read(2)."


Syscall(0, "read", sys_read, (FD, FILLED, SIZE), BYTES, Restart.SYS)
```

The row has the number, the name, the handler, the types of the arguments, the result, and what a signal does if the
call waits (its handler is then a generator that yields what it waits for). Everything else follows from the row: an
`int` is the low 32 bits of its register, `In(T)` is copied in before the handler runs, `Out(T)` is what the handler
returns, `Pointer(T)` is an address that the handler follows with `T.read` and `T.write` when Linux does, `--strace`
prints the call, and this table lists it. The handler's docstring begins with its manual page.

- **Arguments** have the types of [emu/linux/argument.py](../emu/linux/argument.py) and
  [emu/linux/layout.py](../emu/linux/layout.py). `T *` is a pointer; the call writes what it points at where that is
  said. `PREFIX_*` are flags, or one of several numbers, by those names.
- **After a signal** says what becomes of a call that waits, in the kernel's words. ERESTARTSYS: it starts again if the
  handler has SA_RESTART, else EINTR. ERESTARTNOHAND and ERESTART_RESTARTBLOCK: EINTR, whatever flags the handler has.
  All of these go on, with the time that is left, if no handler runs. EINTR: it ends with EINTR after any signal. A call
  without an entry never waits.
- **Here** says where the call does less than its manual page describes, or what that page leaves open.

| Number | Name | Arguments | Result | After a signal | Manual page | Here |
|---:|---|---|---|---|---|---|
"""
#: The beginning of a handler's docstring: one or more manual pages.
_PAGES = re.compile(r"(\w+\(\d\)(?:, \w+\(\d\))*)[.;:,]? *(.*)", re.DOTALL)


def restart_words(call: Syscall) -> str:
    """What a signal does to a call that waits."""
    if isinstance(call.restart, RestartByTimeout):
        return f"{Restart.SYS.value}; with a timeout {Restart.BLOCK.value}"
    if isinstance(call.restart, RestartByFlag):
        return f"{Restart.BLOCK.value}; until a point in time {Restart.NOHAND.value}"
    return call.restart.value if call.restart is not None else ""


def described(call: Syscall) -> tuple[str, str]:
    """The manual pages of a call, and the rest of its handler's first line."""
    documentation = " ".join((inspect.getdoc(call.handler) or "").split())
    match = _PAGES.fullmatch(documentation)
    if match is None:
        raise ValueError(f"{call.name}: the docstring of its handler begins with no manual page: {documentation!r}")
    return match[1], match[2].replace("``", "`").replace("|", "\\|")


def row(call: Syscall) -> str:
    """A line of the table."""
    arguments = "; ".join(argument.name for argument in call.arguments if argument.in_register)
    pages, notes = described(call)
    here = notes[:1].upper() + notes[1:]
    cells = (str(call.number), call.name, arguments, call.returns.name, restart_words(call), pages, here)
    return f"| {' | '.join(cells)} |\n".replace("  ", " ")


def table() -> str:
    """The whole page."""
    calls = sorted((call for subject in all_tables() for call in subject), key=lambda call: call.number)
    return _HEAD + "".join(map(row, calls))


if __name__ == "__main__":
    print(table(), end="")
