"""What becomes of the requests of an io_uring: chains, timeouts, cancellation (io_uring/io_uring.c and timeout.c).

A request does what a system call does, and is made of the same handlers.  Where such a call would sleep, the request
waits as epoll does, and goes on between two turns of the tasks when it is woken; there are no worker threads.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from emu.fs.uring import Sqe, UringFile
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue, what_to_wait_for
from emu.mm.kmem import URING_REQUEST

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials
    from emu.linux.syscall import Result

#: IOSQE_*.
FIXED_FILE, DRAIN, LINK, HARDLINK, ASYNC, BUFFER_SELECT, CQE_SKIP = (1 << bit for bit in range(7))
_LINKS = LINK | HARDLINK
#: IORING_CQE_F_*.
CQE_BUFFER, CQE_MORE, CQE_NOTIF = 1, 2, 8
#: IORING_ASYNC_CANCEL_*.
CANCEL_ALL, CANCEL_FD, CANCEL_ANY, CANCEL_FD_FIXED, CANCEL_USERDATA, CANCEL_OP = (1 << bit for bit in range(6))


class Request:
    """One request.  ``run`` does it, and is set when its entry has been checked."""

    def __init__(self, ring: Uring, task: Task, sqe: Sqe) -> None:
        self.ring = ring
        self.task = task
        self.sqe = sqe
        self.run: Callable[[], Result] = _nothing
        #: The next of its chain.
        self.then: Request | None = None
        #: It is a timeout of the request before it: in ns of the machine's clock.
        self.limits: Callable[[], int] | None = None
        #: The result that an entry which is wrong gets, or a chain that has failed.
        self.refused: int | None = None
        #: As many bytes as it takes for the chain to go on; None: any result that is no error.
        self.expected: int | None = None
        #: An error that lets the chain go on.
        self.forgiven = 0
        self.cqe_flags = 0
        #: A second event says that its buffer is free again.
        self.notifies = False
        #: The file that it is about.
        self.file: File | None = None
        #: A poll: what it waits for.
        self.polls: object = None
        #: It comes after another one in its chain.
        self.linked = False
        #: When a timeout is over.
        self.deadline: int | None = None
        self.done = self.cancelled = False
        self._sleeping: Generator[Any, None, int] | None = None
        self._queues: tuple[WaitQueue, ...] = ()
        self._timer: int | None = None
        self._limit_timer: int | None = None

    @property
    def waits(self) -> bool:
        """Whether it has been started and is not done, nor has been given up."""
        return self._sleeping is not None and not self.done and not self.cancelled

    # -- its course ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Do it, at once or later."""
        if self.done:
            return
        if self.cancelled:
            self.finish(-errno.ECANCELED)
            return
        if self.refused is not None:
            self.finish(self.refused)
            return
        try:
            result = self.run()
        except LinuxError as error:
            self.finish(-error.errno)
            return
        finally:
            self._hurry()
        if isinstance(result, int):
            self.finish(result)
            return
        self._sleeping = result
        self._advance()
        if not self.done and self.then is not None and self.then.limits is not None:
            limit = self.then
            assert limit.limits is not None
            self._limit_timer = self.ring.kernel.clock.add_timer(limit.limits(), self._limit_is_over)

    def _advance(self) -> None:
        if self.done or self._sleeping is None:
            return
        if self.cancelled:
            self.finish(-errno.ECANCELED)
            return
        if self.file is not None:
            self.file.patient = True
        try:
            wanted = next(self._sleeping)
        except StopIteration as ended:
            self.finish(int(ended.value or 0))
            return
        except LinuxError as error:
            self.finish(-error.errno)
            return
        finally:
            self._hurry()
        self._queues, deadline = what_to_wait_for(wanted)
        for queue in self._queues:
            queue.watch(self, self._woken)
        if deadline is not None:
            self._timer = self.ring.kernel.clock.add_timer(deadline, self.wake)

    def about(self, file: File) -> File:
        """It is about this file, which it holds until it is done; O_NONBLOCK does not count for it."""
        self.file = file.get()
        file.patient = True
        return file

    def _hurry(self) -> None:
        if self.file is not None:
            self.file.patient = False

    def _woken(self, events: int) -> bool:
        self.wake()
        return True

    def wake(self) -> None:
        """It goes on, soon."""
        self._forget_wait()
        self.ring.later(self._advance)

    def _forget_wait(self) -> None:
        for queue in self._queues:
            queue.unwatch(self)
        self._queues = ()
        if self._timer is not None:
            self.ring.kernel.clock.cancel(self._timer)
            self._timer = None

    def more(self, result: int, flags: int = 0) -> None:
        """An event of a request that goes on."""
        self.ring.file.post(self.sqe.user_data, result, flags | CQE_MORE)
        self.ring.event_posted()

    def finish(self, result: int) -> None:
        """It is done: its event, and what its chain does now."""
        if self.done:
            return
        self.done = True
        self._release()
        failed = result < 0 and result != self.forgiven
        failed = failed or (self.expected is not None and result != self.expected)
        ring, sqe = self.ring, self.sqe
        if not sqe.flags & CQE_SKIP or failed:
            ring.file.post(sqe.user_data, result, self.cqe_flags, at_once=ring.submitting)
        if self.notifies:
            ring.file.post(sqe.user_data, 0, CQE_NOTIF, at_once=ring.submitting)
        ring.ended(self, is_timeout=self.limits is not None or self.deadline is not None)
        self._go_on(failed)

    def _go_on(self, failed: bool) -> None:
        then, self.then = self.then, None
        if then is None:
            return
        if then.limits is not None:  # the timeout of this one, which is not needed any more
            then.then, rest = None, then.then
            then.refused = -errno.ECANCELED
            then.start()
            then = rest
            if then is None:
                return
        self.ring.later(then.fail_all if failed and not self.sqe.flags & HARDLINK else then.start)

    def fail_all(self) -> None:
        """It and what follows in its chain will not be done (io_fail_links)."""
        each: Request | None = self
        while each is not None:
            following, each.then = each.then, None
            each.finish(-errno.ECANCELED if each.refused is None else each.refused)
            each = following

    def _limit_is_over(self) -> None:
        self._limit_timer = None
        self.ring.later(self._limited)

    def _limited(self) -> None:
        """Its time is over (io_link_timeout_fn)."""
        limit = self.then
        if self.done or limit is None:
            return
        self.then, limit.then = limit.then, None
        limit.finish(-errno.ETIME)
        self.finish(-errno.ECANCELED)

    def cancel(self) -> None:
        """Give up a request that waits, soon."""
        self.cancelled = True
        self.wake()

    def drop(self) -> None:
        """Nobody wants to hear of it any more."""
        self.done = True
        self._release()

    def _release(self) -> None:
        self._forget_wait()
        if self._limit_timer is not None:
            self.ring.kernel.clock.cancel(self._limit_timer)
            self._limit_timer = None
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None:
            sleeping.close()
        if self.file is not None:
            file, self.file = self.file, None
            file.patient = False
            file.put()

    def matches(self, user_data: int, flags: int, file: File | None, opcode: int) -> bool:
        """Whether a cancellation means it (io_cancel_req_match)."""
        if not self.waits:
            return False
        if flags & CANCEL_ANY:
            return True
        if flags & (CANCEL_FD | CANCEL_FD_FIXED) and self.file is not file:
            return False
        if flags & CANCEL_OP and self.sqe.opcode != opcode:
            return False
        return self.sqe.user_data == user_data if not flags & ~CANCEL_ALL or flags & CANCEL_USERDATA else True


def _nothing() -> int:
    return 0


class Uring:
    """An instance: its file, its requests, and what has been registered."""

    def __init__(self, kernel: Kernel, file: UringFile) -> None:
        self.kernel = kernel
        self.file = file
        #: In the order of their submission; a chain's later ones too.
        self.pending: dict[Request, None] = {}
        #: Those that wait until all before them are done.
        self._deferred: deque[Request] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._posted = False
        #: A program is submitting.
        self.submitting = False
        #: Timeouts that end after a number of events, and how many of these there have been.
        self.counted: dict[Request, int] = {}
        self.events = 0
        self.files: list[File | None] = []
        #: Where a free place is looked for first.
        self.file_hint = 0
        self.buffers: list[tuple[int, int]] = []
        self.personalities: dict[int, Credentials] = {}
        self.last_personality = 0
        #: Buffers that programs provide, by group (emu.syscalls.uringbuffers).
        self.provided: dict[int, object] = {}
        self.disabled = False
        #: Events may be left out, so that nobody can wait for those before.
        self.drain_disabled = False
        self.submit_all = False
        #: The one task that may submit (IORING_SETUP_SINGLE_ISSUER).
        self.issuer: Task | None = None
        self.single_issuer = False
        self.sqpoll = False
        #: How many workers a program has asked for (IORING_REGISTER_IOWQ_MAX_WORKERS).
        self.workers = (0, 0)

    def put_file(self, index: int, file: File | None) -> None:
        """Register a file, whose reference the ring takes, in a place; the one that was there goes."""
        old, self.files[index] = self.files[index], file
        if old is not None:
            self.file_hint = index
            old.put()
        if file is not None:
            self.file_hint = index + 1

    def free_place(self) -> int:
        """A place for a file.  LinuxError(ENFILE)."""
        size, hint = len(self.files), min(self.file_hint, len(self.files))
        free = [index for index in range(size) if self.files[index] is None]
        if not free:
            raise LinuxError(errno.ENFILE)
        return min(free, key=lambda index: (index < hint, index))

    # -- submitting ------------------------------------------------------------------------------------------------

    def queue(self, head: Request) -> None:
        """A request, or the first of a chain, has been submitted."""
        if self._deferred or head.sqe.flags & DRAIN:
            self._deferred.append(head)
            self._start_deferred()
        else:
            head.start()

    def add(self, request: Request) -> None:
        """A request has come into being.  LinuxError(ENOMEM)."""
        self.kernel.frames.kmem.charge(URING_REQUEST)
        self.pending[request] = None

    def ended(self, request: Request, *, is_timeout: bool) -> None:
        """It is done."""
        if self.pending.pop(request, _nothing) is not _nothing:
            self.kernel.frames.kmem.uncharge(URING_REQUEST)
        self.counted.pop(request, None)
        if not is_timeout:
            self.event_posted()
        if self._deferred:
            self.later(self._start_deferred)

    def event_posted(self) -> None:
        """Timeouts may have waited for that many events."""
        self.events += 1
        for request, target in list(self.counted.items()):
            if self.events >= target:
                del self.counted[request]
                request.wake()

    def _start_deferred(self) -> None:
        while self._deferred:
            head = self._deferred[0]
            if head.sqe.flags & DRAIN and next(iter(self.pending), head) is not head:
                return
            self._deferred.popleft()
            head.start()

    def later(self, work: Callable[[], None]) -> None:
        """Do something when what goes on now is over: the submission, or the system call."""
        self._later.append(work)
        if not self.submitting and not self._posted:
            self._posted = True
            self.kernel.scheduler.post_here(self.run_later)

    def run_later(self) -> None:
        """Do what has been put off."""
        self._posted = False
        while self._later:
            self._later.popleft()()

    # -- ends ------------------------------------------------------------------------------------------------------

    def cancel_where(self, wanted: Callable[[Request], bool], *, all_of_them: bool) -> int:
        """Cancel the first request that is wanted, or all; how many."""
        found = 0
        for request in list(self.pending):
            if wanted(request):
                request.cancel()
                found += 1
                if not all_of_them:
                    break
        return found

    def task_leaves(self, task: Task, *, ends: bool) -> None:
        """A task runs another program: its requests are given up.  Or it has ended: then they are when they could go
        on (io_req_task_cancel).
        """
        for request in [each for each in self.pending if each.task is task]:
            if ends and not isinstance(request.file, RingFile):  # one that is about a ring holds that
                request.cancelled = True
            elif not request.done:
                request.finish(-errno.ECANCELED)
        if self.issuer is task:
            self.issuer = None

    def release(self) -> None:
        """The last reference to the file is gone."""
        for request in list(self.pending):
            request.drop()
        self.kernel.frames.kmem.uncharge(URING_REQUEST * len(self.pending))
        self.pending.clear()
        self._deferred.clear()
        self._later.clear()
        self.counted.clear()
        self.provided.clear()
        for file in self.files:
            if file is not None:
                file.put()
        self.files = []
        urings_of(self.kernel).rings.pop(self, None)


class RingFile(UringFile):
    """The open file of an instance."""

    ring: Uring

    def __init__(
        self, path: Path, kernel: Kernel, sq_entries: int, cq_entries: int, *, large_sqe: bool, large_cqe: bool,
        array: bool,
    ) -> None:  # fmt: skip
        super().__init__(path, sq_entries, cq_entries, large_sqe=large_sqe, large_cqe=large_cqe, array=array)
        self.ring = Uring(kernel, self)
        urings_of(kernel).rings[self.ring] = None
        try:
            self.lay_out()
        except LinuxError:
            self.put()
            raise

    @property
    def charged(self) -> int:
        return super().charged + URING_REQUEST * len(self.ring.pending)

    def release(self) -> None:
        self.ring.release()
        super().release()


class Urings:
    """All instances of a machine, and the descriptors of them that tasks have registered."""

    def __init__(self, kernel: Kernel) -> None:
        self.rings: dict[Uring, None] = {}
        self.registered: dict[Task, dict[int, RingFile]] = {}
        kernel.thread_exit_hooks.append(lambda task: self.task_leaves(task, ends=True))

    def task_leaves(self, task: Task, *, ends: bool) -> None:
        """A task ends, or runs another program (io_uring_task_cancel)."""
        for ring in list(self.rings):
            ring.task_leaves(task, ends=ends)
        for file in self.registered.pop(task, {}).values():
            file.put()


def urings_of(kernel: Kernel) -> Urings:
    """Those of a machine, made for the first."""
    if kernel.urings is None:
        kernel.urings = Urings(kernel)
    assert isinstance(kernel.urings, Urings)
    return kernel.urings
