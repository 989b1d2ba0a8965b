"""Asynchronous I/O (fs/aio.c): contexts, the requests that wait in them, and the events of those that are done.

As on Linux only IOCB_CMD_POLL really waits in a context: a read or write is done when it is submitted.  A context is
known by the address of its ring, a page that is mapped and not written: a library sees that there is no ring to read
(its magic number is not there), and makes the calls.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.linux.wait import WaitQueue
from emu.mm.flags import VmFlags
from emu.mm.kmem import AIO_CONTEXT, AIO_EVENT
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.vmamodify import carve
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.eventfd import EventFd
    from emu.fs.file import File
    from emu.kernel.aiolimits import AioLimits
    from emu.mm.address_space import AddressSpace

#: sizeof(struct aio_ring) and of struct io_event.
_RING, _EVENT = 32, 32
_MOST_EVENTS = 0x10000000 // _EVENT


class AioEvent(NamedTuple):
    """struct io_event: the request's own value, its address, and the result."""

    data: int
    request: int
    result: int
    result2: int = 0


class PollRequest:
    """A request that waits until a file is ready."""

    def __init__(
        self, context: AioContext, file: File, address: int, data: int, wanted: int, told: EventFd | None
    ) -> None:
        self._context = context
        self._file = file.get()
        self._address, self._data, self._wanted = address, data, wanted
        self._told = told
        _, self._queues = file.poll()
        for queue in self._queues:
            queue.watch(self, self._woken)

    def _woken(self, events: int) -> bool:
        mask = self._file.poll()[0] & self._wanted
        if mask:  # the result is what the wake says, which may be more than was asked for (aio_poll_wake)
            self.finish(events or mask)
        return bool(mask)

    def finish(self, result: int) -> None:
        """It is done, or has been cancelled."""
        if self._context.pending.pop(self._address, None) is self:
            self._context.complete(AioEvent(self._data, self._address, result), self._told)
            self.drop()

    def drop(self) -> None:
        """Nobody waits any more."""
        for queue in self._queues:
            queue.unwatch(self)
        self._file.put()
        if self._told is not None:
            self._told.put()


class AioContext:
    """A context (struct kioctx)."""

    def __init__(self, number: int, size: int, requests: int, charged: int) -> None:
        """``number``: the address of its ring of ``size`` bytes."""
        self.number = number
        self.size = size
        self.requests = requests
        self.charged = charged
        self.slots = (size - _RING) // _EVENT
        self.events: deque[AioEvent] = deque()
        self.pending: dict[int, PollRequest] = {}
        self.changed = WaitQueue()
        self.dead = False

    @property
    def free(self) -> int:
        """How many more requests there may be."""
        return self.slots - 1 - len(self.events) - len(self.pending)

    def complete(self, event: AioEvent, told: EventFd | None) -> None:
        """A request is done (aio_complete)."""
        self.events.append(event)
        if told is not None:
            told.signal()
        self.changed.wake_all()


class AioContexts:
    """The contexts of one address space."""

    def __init__(self, mm: AddressSpace, limits: AioLimits) -> None:
        self._mm = mm
        self._limits = limits
        self._contexts: dict[int, AioContext] = {}

    def setup(self, requests: int, cpus: int) -> AioContext:
        """io_setup(2).  LinuxError(EINVAL, EAGAIN, ENOMEM)."""
        wanted = max(requests, cpus * 4) * 2
        if wanted > _MOST_EVENTS:
            raise LinuxError(errno.EINVAL)
        limits = self._limits
        if requests > limits.most or limits.used + requests > limits.most:
            raise LinuxError(errno.EAGAIN)
        size = -(-(_RING + _EVENT * (wanted + 2)) // PAGE_SIZE) * PAGE_SIZE
        self._mm.charge_more(AIO_CONTEXT + AIO_EVENT * wanted)
        try:
            number = do_mmap(self._mm, 0, size, Prot.READ | Prot.WRITE, MapFlags.PRIVATE | MapFlags.ANONYMOUS)
        except LinuxError:
            self._mm.charge_more(-(AIO_CONTEXT + AIO_EVENT * wanted))
            raise
        vma = self._mm.vmas.find(number)
        assert vma is not None
        carve(self._mm, vma, number, number + size).flags |= VmFlags.DONTCOPY | VmFlags.DONTEXPAND
        limits.used += requests
        context = self._contexts[number] = AioContext(number, size, requests, AIO_CONTEXT + AIO_EVENT * wanted)
        return context

    def find(self, number: int) -> AioContext:
        """LinuxError(EINVAL)."""
        found = self._contexts.get(number)
        if found is None:
            raise LinuxError(errno.EINVAL)
        return found

    def destroy(self, context: AioContext) -> None:
        """io_destroy(2): nobody hears of what is still waiting (kill_ioctx)."""
        del self._contexts[context.number]
        self._forget(context)
        do_munmap(self._mm, context.number, context.size)

    def _forget(self, context: AioContext) -> None:
        context.dead = True
        for request in list(context.pending.values()):
            request.drop()
        context.pending.clear()
        context.events.clear()
        self._limits.used -= context.requests
        self._mm.charge_more(-context.charged)
        context.changed.wake_all()

    def exit(self) -> None:
        """The address space goes (exit_aio)."""
        for context in self._contexts.values():
            self._forget(context)
        self._contexts.clear()
