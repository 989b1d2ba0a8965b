"""The table of system calls: a row by its number, and the compiled entry of a row (arch/x86/entry/syscalls)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from emu.linux.cost import Cost, costs_of_calls
from emu.linux.syscall import Enter, Registers, Syscall, compile_entry

_CALL = Cost.CALL
#: Registers with which a call can be given arguments.
_REGISTERS = 6


class SyscallTable:
    """What calls there are.  ``keeps`` is given the number and the entry of a call that no module has replaced, and
    gives the entry that is used.
    """

    def __init__(self, keeps: Callable[[int, Enter], Enter]) -> None:
        self._keeps = keeps
        self._table: dict[int, Syscall] = {}
        #: The compiled entry of a call, and what it costs.
        self._entries: dict[int, tuple[Enter, int, int]] = {}
        self._costs = costs_of_calls()
        #: By number, what gives the table that has a call which is not registered yet.
        self._late: dict[int, Callable[[], Iterable[Syscall]]] = {}
        #: What modules have replaced, by number; None while that is late, and where there was nothing.
        self._replaced: dict[int, Syscall | None] = {}

    def register(self, syscall: Syscall, *, replace: bool = False) -> None:
        """Register a system call.  A number can be taken once, unless a module means to ``replace`` its call."""
        if (syscall.number in self._table or syscall.number in self._late) and not replace:
            raise ValueError(f"system call {syscall.number} ({syscall.name}) is registered already")
        if replace:
            self._replaced.setdefault(syscall.number, self._table.get(syscall.number))
        self._table[syscall.number] = syscall
        self._entries.pop(syscall.number, None)

    def register_late(self, tables: Mapping[int, Callable[[], Iterable[Syscall]]]) -> None:
        """More system calls: by number, what gives a table with it, which is taken when a program makes the call."""
        self._late.update(tables)

    def has_replaced(self, number: int) -> bool:
        """Whether a module has replaced a call, and not only added one."""
        return number in self._late or self._replaced.get(number) is not None

    def replaced(self, number: int) -> Syscall:
        """The system call that a module has replaced."""
        self._take_late(number)
        replaced = self._replaced[number]
        assert replaced is not None
        return replaced

    def replaces(self, numbers: Iterable[int]) -> bool:
        """Whether a module has replaced one of these calls."""
        return any(number in self._replaced for number in numbers)

    def calls(self) -> list[Syscall]:
        """All system calls that there are."""
        for number in list(self._late):
            self._take_late(number)
        return list(self._table.values())

    def lookup(self, number: int) -> Syscall | None:
        """The system call with this number."""
        if number not in self._table:
            self._take_late(number)
        return self._table.get(number)

    def _take_late(self, number: int) -> None:
        """Register the calls of the table that has a number, if it is late."""
        for call in self._late[number]() if number in self._late else ():
            self._late.pop(call.number, None)
            if call.number in self._replaced:
                self._replaced[call.number] = call
            else:
                self.register(call)

    def entry_of(self, number: int) -> tuple[Enter, int, int]:
        """The compiled entry for a number, what a call costs, and how many registers hold arguments.  There are many
        rows and few are called, so each is compiled at its first call.
        """
        compiled = self._entries.get(number)
        if compiled is not None:
            return compiled
        call = self.lookup(number)
        if call is None:
            return partial(_not_implemented, number), _CALL, _REGISTERS
        cost = _CALL + self._costs.get(call.name, 0)
        enter = compile_entry(call)
        if number not in self._replaced:
            enter = self._keeps(number, enter)
        self._entries[number] = compiled = enter, cost, call.in_registers
        return compiled


def _not_implemented(number: int, kernel: Any, task: Any, registers: Registers) -> int:
    from emu.linux.syscall_names import why_not

    kernel.log_once(why_not(number))
    return -errno.ENOSYS
