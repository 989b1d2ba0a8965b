"""The run on Linux: a tracer, the first process of the program's pid namespace, which observes every task there."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import struct
from collections.abc import Mapping

from emu.against.auxv import AT_HWCAP, AT_HWCAP2, AT_IGNORE, AT_RANDOM, AT_SYSINFO_EHDR, auxiliary_vector, word
from emu.against.directory import Listing
from emu.against.observer import Observer, Watched
from emu.against.processor import ARCH_SET_CPUID, CPUID, Processor
from emu.against.ptrace import Entered, Event, Options, Ptrace, Request, Returned
from emu.against.record import Flow
from emu.against.tape import ATTRIBUTES, ENTRIES, Given, Tape, same_attributes
from emu.fs.devfs import RANDOM, URANDOM
from emu.kernel.fork import CloneFlags
from emu.kernel.signal_state import IGNORED_BY_DEFAULT, STOPS_BY_DEFAULT, SiCode, Sig, SigInfo
from emu.linux.argument import Ioctl
from emu.linux.syscall import Syscall

_WALL = 0x40000000
_OPTIONS = (
    Options.TRACESYSGOOD | Options.TRACEFORK | Options.TRACEVFORK | Options.TRACECLONE | Options.TRACEEXEC
    | Options.EXITKILL
)  # fmt: skip
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_GETDENTS64, _VFORK, _CLONE3, _RESTART_SYSCALL, _ARCH_PRCTL = 217, 58, 435, 219, 158
#: ERESTARTSYS to ERESTART_RESTARTBLOCK, which no program sees.
_RESTARTS = range(-516, -511)
_PAGE = 4096
#: Calls with results that may be changed: getdents64, time.
_CHANGED = frozenset({_GETDENTS64, 201})
_SYSCALL = b"\x0f\x05"


class NativeView(Watched):
    """A task of Linux that has stopped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        self.rsp = 0

    def close(self) -> None:
        """It has ended, or has other memory."""
        os.close(self._memory)

    def peek(self, address: int, length: int) -> bytes:
        """What the process would read, or less if the rest cannot be read."""
        if not 0 < address < 1 << 47 or length <= 0:
            return b""
        try:
            return os.pread(self._memory, length, address)
        except OSError:
            return b""

    def poke(self, address: int, data: bytes) -> None:
        """Change its memory."""
        os.pwrite(self._memory, data, address)

    def string(self, address: int, limit: int) -> bytes | None:
        """The string there, cut at ``limit`` bytes; None if it cannot be read."""
        found = b""
        while len(found) < limit:
            wanted = min(_PAGE - (address & (_PAGE - 1)), limit - len(found))
            piece = self.peek(address, wanted)
            found += piece
            if (end := found.find(0)) >= 0:
                return found[:end]
            if len(piece) < wanted:
                return None
            address += wanted
        return found

    def stack_pointer(self) -> int:
        """RSP."""
        return self.rsp

    def ioctl(self, fd: int, request: int) -> Ioctl | None:
        """None: a request is declared by a file of the machine."""
        return None

    def flow(self, fd: int) -> Flow:
        """What is behind a descriptor."""
        path = f"/proc/{self.pid}/fd/{fd}"
        try:
            found = os.stat(path)
        except OSError:
            return Flow.NONE
        if stat.S_ISCHR(found.st_mode) and found.st_rdev in (RANDOM, URANDOM):
            return Flow.RANDOM
        if self.file(fd).startswith(("/proc/", "/sys/")):
            return Flow.FIGURES
        known = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFBLK)
        return Flow.NONE if stat.S_IFMT(found.st_mode) in known else Flow.STREAM

    def file(self, fd: int) -> str:
        """The path of a file."""
        try:
            return os.readlink(f"/proc/{self.pid}/fd/{fd}")
        except OSError:
            return ""


class Native:
    """Traces a child, and every task that it makes.  ``calls``: the rows of the system calls, by number."""

    def __init__(self, calls: Mapping[int, Syscall], tape: Tape, started_ns: int) -> None:
        self.observer = Observer(started_ns, owners=os.geteuid() == 0)
        self._calls = calls
        self._tape = tape
        self._started_ns = started_ns
        self._ptrace = Ptrace()
        self._views: dict[int, NativeView] = {}
        #: The directories that are being read, by task and descriptor.
        self._listings: dict[tuple[int, int], Listing] = {}
        #: Tasks that have stopped before their maker has told of them.
        self._early: set[int] = set()
        #: Tasks whose execve has not returned.
        self._fresh: set[int] = set()
        #: Tasks that have a program of their own; before, the first is this process's copy.
        self._started = False
        self._processor = Processor()
        #: What the processor can, as the machine's programs are told.
        self._capabilities = {AT_HWCAP: self._processor.cpuid(1, 0)[3], AT_HWCAP2: 0}

    def trace(self, pid: int, ready: int) -> None:
        """Trace a child, which goes on once a byte is written to ``ready``, until no task is left."""
        self._ptrace.seize(pid, _OPTIONS)
        self.observer.first(pid)
        os.write(ready, b"!")
        while True:
            try:
                found, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return
            try:
                self._changed(found, status)
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.ENOENT, errno.EIO):
                    raise  # else it has been killed meanwhile, and is reported next

    def _changed(self, pid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._ended(pid, status)
            return
        signo, event = os.WSTOPSIG(status), status >> 16
        if event == Event.STOP:
            self._stopped(pid, signo)
        elif event in (Event.FORK, Event.VFORK, Event.CLONE):
            self._forked(pid, self._ptrace.event_message(pid))
            self._go(pid)
        elif event == Event.EXEC:
            self._execed(pid, self._ptrace.event_message(pid))
            self._go(pid)
        elif signo == _SYSCALL_STOP:
            self._call(pid)
            self._go(pid)
        else:
            self._go(pid, self._signal(pid, signo))

    def _go(self, pid: int, signo: int = 0) -> None:
        self._ptrace.call(Request.SYSCALL if self._started else Request.CONT, pid, 0, signo)

    # -- tasks -----------------------------------------------------------------------------------------------------

    def _ended(self, pid: int, status: int) -> None:
        view = self._views.pop(pid, None)
        if view is not None:
            view.close()
        self._early.discard(pid)
        if self.observer.lives(pid) and self._started:
            self.observer.ended(pid, status & ~0x80)

    def _stopped(self, pid: int, signo: int) -> None:
        """A task that has just been made, or one that a signal stops with its process."""
        if self.observer.name_of(pid) is None or not self.observer.lives(pid):
            self._early.add(pid)
        elif signo in STOPS_BY_DEFAULT:
            self._ptrace.call(Request.LISTEN, pid)
        else:
            self._go(pid)

    def _forked(self, parent: int, child: int) -> None:
        number, values = self.observer.call_of(parent)
        flags = values[0] if values else 0
        if number == _CLONE3:
            flags = int.from_bytes(self._view(parent).peek(flags, 8), "little")
        elif number == _VFORK:
            flags = CloneFlags.VM
        thread = bool(flags & CloneFlags.THREAD)
        self.observer.forked(parent, child, shares_memory=bool(flags & CloneFlags.VM), thread=thread)
        if child in self._early:
            self._early.discard(child)
            self._go(child)

    def _execed(self, pid: int, former: int) -> None:
        if former != pid and self._started:
            self.observer.superseded(former, pid)
            self._drop_view(former)
        self._drop_view(pid)
        with open(f"/proc/{pid}/maps", "rb") as file:
            maps = file.read()
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        self.observer.execed(pid, os.readlink(f"/proc/{pid}/exe"), maps, int(fields[44]))
        self._started = True
        self._fresh.add(pid)
        self._change_auxv(pid)

    def _change_auxv(self, pid: int) -> None:
        """The random bytes of the machine, and no vdso: then times are asked by calls, which can be answered alike."""
        view = self._view(pid)
        for pair in list(auxiliary_vector(view.peek, self._ptrace.registers(pid).rsp)):
            if pair.key == AT_SYSINFO_EHDR:
                view.poke(pair.address, word(AT_IGNORE))
            elif pair.key in self._capabilities:
                view.poke(pair.address + 8, word(self._capabilities[pair.key]))
            elif pair.key == AT_RANDOM:
                data = self._tape.next_at_random(self.observer.name_of(pid) or ())
                if data is not None:
                    view.poke(pair.value, data)

    def _view(self, pid: int) -> NativeView:
        view = self._views.get(pid)
        if view is None:
            view = self._views[pid] = NativeView(pid)
        return view

    def _drop_view(self, pid: int) -> None:
        view = self._views.pop(pid, None)
        if view is not None:
            view.close()

    # -- calls -----------------------------------------------------------------------------------------------------

    def _call(self, pid: int) -> None:
        stop = self._ptrace.syscall_stop(pid)
        if isinstance(stop, Entered):
            if stop.number != _RESTART_SYSCALL:
                call = self._calls.get(stop.number)
                view = self._view(pid)
                view.rsp = stop.rsp
                registers = stop.registers if call is None else stop.registers[: call.in_registers]
                self.observer.enter(pid, stop.number, call, registers, stop.rip, view)
                if stop.number == _GETDENTS64:
                    self._begin_listing(pid, stop.registers[0])
        elif isinstance(stop, Returned):
            if pid in self._fresh:
                self._fresh.discard(pid)
                self._have_cpuid_fault(pid)
            if stop.result in _RESTARTS:
                return
            given = self.observer.given(pid, stop.result)
            if given is not None:
                self._give(pid, given)
            self.observer.exit(pid, self._result(pid, stop.result))

    def _result(self, pid: int, result: int) -> int:
        """The result of a call, which may have been changed."""
        number = self.observer.call_of(pid)[0]
        return result if number not in _CHANGED or result < 0 else self._ptrace.registers(pid).rax

    def _begin_listing(self, pid: int, fd: int) -> None:
        """A directory is about to be read: from its beginning, or further."""
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                if file.readline().split() == ["pos:", "0"]:
                    self._listings[pid, fd] = Listing(f"/proc/{pid}/fd/{fd}")
        except OSError:
            self._listings.pop((pid, fd), None)

    def _give(self, pid: int, given: Given) -> None:
        """What the machine gave at the same place, instead of what Linux has given."""
        view = self._view(pid)
        data = self._tape.next(self.observer.name_of(pid) or (), given.key)
        if given.key == ENTRIES:
            self._list(pid, given.address, data)
        elif data is not None and given.key[0] == ATTRIBUTES:
            view.poke(given.address, same_attributes(view.peek(given.address, given.length), data, self._started_ns))
        elif data is not None:
            if given.address and len(data) == given.length:
                view.poke(given.address, data)
            if given.key[0] == "time":
                self._return(pid, int.from_bytes(data, "little"))

    def _return(self, pid: int, result: int) -> None:
        registers = self._ptrace.registers(pid)
        registers.rax = result
        self._ptrace.set_registers(pid, registers)

    def _list(self, pid: int, address: int, wanted: bytes | None) -> None:
        """Give a directory in the machine's order; what Linux has put into the buffer is forgotten."""
        fd, _, room = self.observer.call_of(pid)[1]
        listing = self._listings.get((pid, fd))
        if listing is None:
            return
        data = listing.take(wanted, room)
        self._view(pid).poke(address, data)
        self._return(pid, len(data))

    # -- the processor ---------------------------------------------------------------------------------------------

    def _have_cpuid_fault(self, pid: int) -> None:
        """Have the new program's CPUID fault, by a call of arch_prctl before its first instruction.  Where the host
        cannot, the program sees the host's processor.
        """
        view, before = self._view(pid), self._ptrace.registers(pid)
        code = view.peek(before.rip, len(_SYSCALL))
        view.poke(before.rip, _SYSCALL)
        changed = self._ptrace.registers(pid)
        changed.rax, changed.rdi, changed.rsi, changed.orig_rax = _ARCH_PRCTL, ARCH_SET_CPUID, 0, (1 << 64) - 1
        self._ptrace.set_registers(pid, changed)
        for _ in range(2):
            self._ptrace.call(Request.SYSCALL, pid)
            _, status = os.waitpid(pid, _WALL)
            if not os.WIFSTOPPED(status) or os.WSTOPSIG(status) != _SYSCALL_STOP:
                raise RuntimeError(f"_have_cpuid_fault: a new program stops with status {status:#x}")
        self._ptrace.set_registers(pid, before)
        view.poke(before.rip, code)

    def _answer_cpuid(self, pid: int) -> bool:
        """Whether a fault was CPUID's: then it is as if the machine's processor had executed it."""
        registers = self._ptrace.registers(pid)
        if self._view(pid).peek(registers.rip, len(CPUID)) != CPUID:
            return False
        answer = self._processor.cpuid(registers.rax & 0xFFFFFFFF, registers.rcx & 0xFFFFFFFF)
        registers.rax, registers.rbx, registers.rcx, registers.rdx = answer
        registers.rip += len(CPUID)
        self._ptrace.set_registers(pid, registers)
        return True

    # -- signals ---------------------------------------------------------------------------------------------------

    def _signal(self, pid: int, signo: int) -> int:
        """A signal is about to be delivered; returns the one that is."""
        info = _decoded(self._ptrace.siginfo(pid))
        if signo == Sig.SEGV and info.code == SiCode.KERNEL and self._answer_cpuid(pid):
            return 0
        if self._started and not self._ignored(pid, signo):
            self.observer.signal(pid, info, self._ptrace.registers(pid).rip)
        return signo

    @staticmethod
    def _ignored(pid: int, signo: int) -> bool:
        """Whether a signal has no effect: a tracer is told of it all the same."""
        masks = {}
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in ("SigIgn", "SigCgt"):
                    masks[name] = int(value, 16)
        bit = 1 << (signo - 1)
        return bool(masks.get("SigIgn", 0) & bit) or (
            signo in IGNORED_BY_DEFAULT and not masks.get("SigCgt", 0) & bit
        )  # fmt: skip


def _decoded(raw: bytes) -> SigInfo:
    """siginfo_t (include/uapi/asm-generic/siginfo.h)."""
    signo, _, code = struct.unpack_from("<3i", raw)
    if code <= 0 and code != SiCode.TIMER:
        pid, uid, value = struct.unpack_from("<iIQ", raw, 16)
        return SigInfo(signo, code, pid=pid, uid=uid, value=value)
    if signo == Sig.CHLD:
        pid, uid, status = struct.unpack_from("<iIi", raw, 16)
        return SigInfo(signo, code, pid=pid, uid=uid, status=status)
    return SigInfo(signo, code, address=struct.unpack_from("<Q", raw, 16)[0] if code != SiCode.TIMER else 0)
