"""userfaultfd: faults of a program as messages, and the ioctls with which they are resolved (fs/userfaultfd.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.fs.file import File, WouldBlock
from emu.linux.capability import SYS_PTRACE
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.layout import Layout
from emu.mm.flags import VmFlags
from emu.mm.uffdfill import Fill, fill, fill_from_cache, fill_poison, fill_with, fill_zero
from emu.mm.uffdmove import move_pages
from emu.mm.uffdregister import check_range, register, release, unregister
from emu.mm.uffdwp import write_protect
from emu.mm.userfault import MESSAGE_SIZE, Features, UserfaultContext
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller, UserMemory
    from emu.linux.wait import WaitQueue
    from emu.mm.address_space import AddressSpace

USER_MODE_ONLY = 1
_API = 0xAA
#: The numbers of the ioctls (_UFFDIO_*).
_REGISTER, _UNREGISTER, _WAKE, _COPY, _ZEROPAGE, _MOVE, _WRITEPROTECT, _CONTINUE, _POISON = range(9)
_OF_API = 0x3F
_API_IOCTLS = 1 << _REGISTER | 1 << _UNREGISTER | 1 << _OF_API
_RANGE_IOCTLS = sum(1 << number for number in range(_WAKE, _POISON + 1))
UFFDIO_API = 0xC018AA3F
_ALL_FEATURES = int(sum(Features))
#: UFFDIO_REGISTER_MODE_*.
_MODES = {1: VmFlags.UFFD_MISSING, 2: VmFlags.UFFD_WP, 4: VmFlags.UFFD_MINOR}
_MODE_WP, _MODE_MINOR = 2, 4
#: UFFDIO_*_MODE_*: of those that fill, of write protection, of a move.
_DONTWAKE, _WP = 1, 2
_PROTECT, _PROTECT_DONTWAKE = 1, 2
_MOVE_HOLES = 2
_API_ARG, _REGISTER_ARG, _RANGE = Layout("uffdio_api", "3Q"), Layout("uffdio_register", "3Q"), Layout("range", "2Q")
_THREE, _FOUR = Layout("uffdio_zeropage", "3Q"), Layout("uffdio_copy", "4Q")
_U64 = (1 << 64) - 1
_IN, _ERR = int(PollEvents.IN), int(PollEvents.ERR)
_NONBLOCK = int(OpenFlags.NONBLOCK)


class UserfaultFd(AnonFile):
    """An open userfaultfd; ``install`` makes a descriptor of a context that fork has made, for the current task, with
    the same flags.
    """

    def __init__(
        self, path: Path, flags: int, context: UserfaultContext, mm: AddressSpace,
        install: Callable[[UserfaultContext, AddressSpace, int], int],
    ) -> None:  # fmt: skip
        super().__init__(path, flags & _NONBLOCK)
        self.context = context
        self.mm = mm
        self.install = install
        self._ioctls: dict[int, Callable[[UserMemory, int], None]] = {
            0xC020AA00: self._register, 0x8010AA01: self._unregister, 0x8010AA02: self._wake, 0xC028AA03: self._copy,
            0xC020AA04: self._zeropage, 0xC028AA05: self._move, 0xC018AA06: self._writeprotect,
            0xC020AA07: self._continue, 0xC020AA08: self._poison,
        }  # fmt: skip

    def _install(self, context: UserfaultContext, mm: AddressSpace) -> int:
        return self.install(context, mm, self.flags)

    def release(self) -> None:
        release(self.mm, self.context)

    # -- messages --------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        """As many messages as there are and fit; waits for the first."""
        if not self.context.initialized or count < MESSAGE_SIZE:
            raise LinuxError(errno.EINVAL)
        messages = b""
        while count - len(messages) >= MESSAGE_SIZE and (found := self.context.next_message(self._install)) is not None:
            messages += found
        if not messages:
            raise WouldBlock(self.context.readers)
        return messages

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        context = self.context
        if not context.initialized or not self.flags & _NONBLOCK:
            return _ERR, (context.readers,)
        return _IN if context.pending or context.events else 0, (context.readers,)

    def show_fdinfo(self) -> str:
        pending = len(self.context.pending)
        features = self.context.features
        total = pending + len(self.context.told)
        return f"pending:\t{pending}\ntotal:\t{total}\nAPI:\t{_API:x}:{features:x}:{_API_IOCTLS | _RANGE_IOCTLS:x}\n"

    # -- ioctls ----------------------------------------------------------------------------------------------------

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command == UFFDIO_API:
            self._api(caller, argument)
            return 0
        if not self.context.initialized or command not in self._ioctls:
            raise LinuxError(errno.EINVAL)
        self._ioctls[command](caller.mm, argument)
        return 0

    def _api(self, caller: Caller[Path], argument: int) -> None:
        memory = caller.mm
        try:
            api, features, _ = _API_ARG.read(memory, argument)
            if api != _API:
                raise LinuxError(errno.EINVAL)
            if features & Features.EVENT_FORK and not caller.credentials.capable(SYS_PTRACE):
                raise LinuxError(errno.EPERM)
            if features & ~_ALL_FEATURES:
                raise LinuxError(errno.EINVAL)
            if features & Features.WP_ASYNC:
                features |= Features.WP_UNPOPULATED
            _API_ARG.write(memory, argument, (_API, _ALL_FEATURES, _API_IOCTLS))
            self.context.initialize(features)
        except LinuxError:
            _API_ARG.write(memory, argument, (0, 0, 0))
            raise

    def _register(self, memory: UserMemory, argument: int) -> None:
        start, length, mode = _REGISTER_ARG.read(memory, argument)
        if not mode or mode & ~sum(_MODES):
            raise LinuxError(errno.EINVAL)
        mm = self.mm
        check_range(mm, start, length)
        self._check_alive(errno.ENOMEM)
        flags = VmFlags.NONE
        for bit, flag in _MODES.items():
            flags |= flag if mode & bit else VmFlags.NONE
        register(mm, self.context, start, start + length, flags)
        ioctls = _RANGE_IOCTLS
        ioctls &= ~0 if mode & _MODE_WP else ~(1 << _WRITEPROTECT)
        ioctls &= ~0 if mode & _MODE_MINOR else ~(1 << _CONTINUE)
        memory.write(argument + _REGISTER_ARG.size, ioctls.to_bytes(8, "little"))

    def _check_alive(self, number: int = errno.ESRCH) -> AddressSpace:
        if self.mm.users == 0:
            raise LinuxError(number)
        return self.mm

    def _unregister(self, memory: UserMemory, argument: int) -> None:
        start, length = self._range(memory, argument)
        self._check_alive(errno.ENOMEM)
        unregister(self.mm, self.context, start, start + length)

    def _range(self, memory: UserMemory, argument: int) -> tuple[int, int]:
        start, length = _RANGE.read(memory, argument)
        check_range(self.mm, start, length)
        return start, length

    def _wake(self, memory: UserMemory, argument: int) -> None:
        self.context.wake(*self._range(memory, argument))

    def _check_unchanging(self, memory: UserMemory, result_at: int = 0) -> None:
        """LinuxError(EAGAIN) while a change of mappings waits for its event to be read."""
        if self.context.changing:
            if result_at:
                memory.write(result_at, (-errno.EAGAIN).to_bytes(8, "little", signed=True))
            raise LinuxError(errno.EAGAIN)

    def _copy(self, memory: UserMemory, argument: int) -> None:
        self._check_unchanging(memory, argument + _FOUR.size)
        dst, src, length, mode = _FOUR.read(memory, argument)
        mm = self.mm
        if not length or src + length > mm.task_size or src + length > _U64:
            raise LinuxError(errno.EINVAL)
        check_range(mm, dst, length)
        if mode & ~(_DONTWAKE | _WP):
            raise LinuxError(errno.EINVAL)
        one = fill_with(lambda distance: memory.read(src + distance, PAGE_SIZE), dst)
        self._fill(memory, argument + _FOUR.size, (dst, length, mode), one)

    def _fill(
        self, memory: UserMemory, result_at: int, what: tuple[int, int, int], one: Fill, *, cached: bool = False
    ) -> None:
        """Fill, say how far that went, and wake; EAGAIN if not all was filled."""
        start, length, mode = what
        mm = self._check_alive()
        self._tell(
            memory, result_at, start, length, not mode & _DONTWAKE,
            lambda: fill(mm, start, length, one, protected=bool(mode & _WP), cached=cached),
        )  # fmt: skip

    def _tell(
        self, memory: UserMemory, result_at: int, start: int, length: int, wakes: bool, work: Callable[[], int]
    ) -> None:
        try:
            done = work()
        except LinuxError as error:
            memory.write(result_at, (-error.errno).to_bytes(8, "little", signed=True))
            raise
        memory.write(result_at, done.to_bytes(8, "little"))
        if wakes:
            self.context.wake(start, done)
        if done != length:
            raise LinuxError(errno.EAGAIN)

    def _three(self, memory: UserMemory, argument: int, allowed: int) -> tuple[int, int, int]:
        """A range, and a mode."""
        start, length, mode = _THREE.read(memory, argument)
        check_range(self.mm, start, length)
        if mode & ~allowed:
            raise LinuxError(errno.EINVAL)
        return start, length, mode

    def _zeropage(self, memory: UserMemory, argument: int) -> None:
        self._check_unchanging(memory, argument + _THREE.size)
        what = self._three(memory, argument, _DONTWAKE)
        self._fill(memory, argument + _THREE.size, what, fill_zero)

    def _continue(self, memory: UserMemory, argument: int) -> None:
        self._check_unchanging(memory, argument + _THREE.size)
        what = self._three(memory, argument, _DONTWAKE | _WP)
        self._fill(memory, argument + _THREE.size, what, fill_from_cache, cached=True)

    def _poison(self, memory: UserMemory, argument: int) -> None:
        self._check_unchanging(memory, argument + _THREE.size)
        what = self._three(memory, argument, _DONTWAKE)
        self._fill(memory, argument + _THREE.size, what, fill_poison)

    def _writeprotect(self, memory: UserMemory, argument: int) -> None:
        self._check_unchanging(memory)
        start, length, mode = self._three(memory, argument, _PROTECT | _PROTECT_DONTWAKE)
        if mode == _PROTECT | _PROTECT_DONTWAKE:
            raise LinuxError(errno.EINVAL)
        write_protect(self._check_alive(), start, start + length, on=bool(mode & _PROTECT))
        if not mode:
            self.context.wake(start, length)

    def _move(self, memory: UserMemory, argument: int) -> None:
        self._check_unchanging(memory, argument + _FOUR.size)
        dst, src, length, mode = _FOUR.read(memory, argument)
        mm = self.mm
        if memory is not mm:
            raise LinuxError(errno.EINVAL)
        check_range(mm, dst, length)
        check_range(mm, src, length)
        if mode & ~(_DONTWAKE | _MOVE_HOLES):
            raise LinuxError(errno.EINVAL)
        self._check_alive()
        self._tell(
            memory, argument + _FOUR.size, dst, length, not mode & _DONTWAKE,
            lambda: move_pages(mm, self.context, dst, src, length, holes=bool(mode & _MOVE_HOLES)),
        )  # fmt: skip


class UserfaultDevice(File):
    """/dev/userfaultfd: whoever may open it may handle faults of the kernel."""

    #: Makes a userfaultfd with these flags for a caller; returns its descriptor.
    make: Callable[[Caller[Path], int], int]

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command != _API << 8:
            raise LinuxError(errno.EINVAL)
        return self.make(caller, argument)
