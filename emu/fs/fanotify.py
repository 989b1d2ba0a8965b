"""fanotify: events of files, mounts and file systems, with a descriptor or a handle of what they happened to
(fs/notify/fanotify).
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs import handle
from emu.fs.anon import AnonFile
from emu.fs.dentry import Path, encode_name
from emu.fs.file import File, WouldBlock
from emu.fs.lease import LeaseBroken
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.linux.words import Flags
from emu.mm.kmem import FSNOTIFY_EVENT, FSNOTIFY_MARK

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.linux.caller import Caller

MAX_QUEUED_EVENTS, MAX_USER_GROUPS = 16384, 128


class Fan(Flags, prefix="FAN_"):
    """FAN_*: what happens, and what a mark is to hear of."""

    ACCESS = 0x1
    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    CLOSE_NOWRITE = 0x10
    OPEN = 0x20
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    OPEN_EXEC = 0x1000
    Q_OVERFLOW = 0x4000
    OPEN_PERM = 0x10000
    EVENT_ON_CHILD = 0x08000000
    ONDIR = 0x40000000


_EVENTS = 0x1FFF
_ON_NAMES = int(Fan.CREATE | Fan.DELETE | Fan.MOVED_FROM | Fan.MOVED_TO)
_ON_CHILD, _ONDIR, _OPEN_PERM = int(Fan.EVENT_ON_CHILD), int(Fan.ONDIR), int(Fan.OPEN_PERM)
#: FAN_REPORT_*.
REPORT_PIDFD, REPORT_TID, REPORT_FID, REPORT_DIR_FID, REPORT_NAME = 0x80, 0x100, 0x200, 0x400, 0x800
FID_BITS = REPORT_FID | REPORT_DIR_FID | REPORT_NAME
UNLIMITED_QUEUE = 0x10
_METADATA, _VERSION, _NO_FD = struct.Struct("<IBBHQii"), 3, -1
_INFO, _HANDLE, _PIDFD_INFO = struct.Struct("<BBH"), struct.Struct("<Ii"), struct.Struct("<BBHi")
_TYPE_FID, _TYPE_DFID_NAME, _TYPE_DFID, _TYPE_PIDFD = 1, 2, 3, 4
_RESPONSE = struct.Struct("<iI")
ALLOW, DENY, _AUDIT = 1, 2, 0x10
FIONREAD = 0x541B


class Mark:
    """What is wanted of one object, and what is not wanted."""

    def __init__(self, kept: object) -> None:
        #: Keeps the object the one that lookups find.
        self.kept = kept
        self.mask = self.ignored = 0
        #: The ignored mask stays when the file changes; its flags count as those of the mask do (FAN_MARK_IGNORE).
        self.survives = self.strict = False

    def ignores(self, event: int, *, directory: bool, on_child: bool) -> int:
        """The events that are not wanted of it."""
        if self.strict:
            if directory and not self.ignored & _ONDIR:
                return 0
            if on_child and not self.ignored & _ON_CHILD:
                return 0
        return self.ignored & event


class Event:
    """One event in the queue; a permission event has an answer once somebody has given it."""

    def __init__(self, mask: int, pid: int, path: Path | None, records: bytes) -> None:
        self.mask = mask
        self.pid = pid
        self.path = path
        #: Keeps what is there from going before somebody has read of it.
        self.held: File | None = None
        self.records = records
        self.answer: int | None = None
        self.answered = WaitQueue()

    def drop(self) -> None:
        """It has been read, or will not be."""
        if self.held is not None:
            held, self.held = self.held, None
            held.put()

    def is_like(self, other: Event) -> bool:
        """Whether both are told as one (fanotify_should_merge)."""
        if (self.mask ^ other.mask) & _ONDIR or (self.mask | other.mask) & _OPEN_PERM:
            return False
        return (self.pid, self.path, self.records) == (other.pid, other.path, other.records)


class Reader:
    """What the file needs to know of the task whose turn it is."""

    def __init__(
        self,
        numbers: Callable[[], tuple[int, int]],
        sees: Callable[[int], int],
        opens: Callable[[Path], int],
        pidfd: Callable[[int], int],
    ) -> None:
        #: The numbers of its process and of itself; (0, 0) outside of any call.
        self.numbers = numbers
        #: The number of a process in its namespace.
        self.sees = sees
        #: A new descriptor of what is at a place, which tells nobody that it is used.
        self.opens = opens
        self.pidfd = pidfd


class Fanotify(AnonFile):
    """A group: its marks and its queue."""

    def __init__(self, path: Path, nonblocking: int, flags: int, reader: Reader) -> None:
        """LinuxError(EMFILE) if there are too many."""
        self._resources = path.dentry.inode.sb.resources
        if len(self._resources.fanotify) >= MAX_USER_GROUPS:
            raise LinuxError(errno.EMFILE)
        super().__init__(path, OpenFlags.RDWR | nonblocking)
        self.report = flags
        self.unprivileged = False
        self._reader = reader
        self._resources.fanotify[self] = None
        #: By the kind of object ("inode", "mount", "sb") and the object.
        self._marks: dict[tuple[str, object], Mark] = {}
        self._queue: deque[Event] = deque()
        self._changed = WaitQueue()
        #: Permission events that have been read, by the descriptor that each has got.
        self._asked: dict[int, Event] = {}

    # -- marks -----------------------------------------------------------------------------------------------------

    def mark(self, kind: str, target: object, kept: object) -> Mark:
        """The mark of an object, made if there is none.  LinuxError(ENOSPC, ENOMEM)."""
        found = self._marks.get((kind, target))
        if found is None:
            if self._resources.file_watches >= self._resources.max_file_watches:
                raise LinuxError(errno.ENOSPC)
            self.keep(self._kept + FSNOTIFY_MARK)
            self._resources.file_watches += 1
            found = self._marks[kind, target] = Mark(kept)
        return found

    def find(self, kind: str, target: object) -> Mark:
        """LinuxError(ENOENT)."""
        found = self._marks.get((kind, target))
        if found is None:
            raise LinuxError(errno.ENOENT)
        return found

    def tidy(self, kind: str, target: object) -> None:
        """A mark that wants nothing, and ignores nothing, goes."""
        mark = self._marks[kind, target]
        if not mark.mask and not mark.ignored:
            del self._marks[kind, target]
            self.keep(self._kept - FSNOTIFY_MARK)
            self._resources.file_watches -= 1

    def flush_marks(self, kind: str) -> None:
        """All marks of a kind go."""
        for key in [key for key in self._marks if key[0] == kind]:
            self._marks[key].mask = self._marks[key].ignored = 0
            self.tidy(*key)

    def _wanted(self, event: int, path: Path | None, inode: Inode, parent: Inode | None) -> int:
        """What of an event the marks want (fanotify_group_event_mask)."""
        directory, wanted, ignored = inode.is_directory, 0, 0
        targets: list[tuple[str, object, bool]] = [("inode", inode, False), ("sb", inode.sb, False)]
        if parent is not None:
            targets.append(("inode", parent, True))
        if path is not None:
            targets.append(("mount", path.mount, False))
        for kind, target, on_child in targets:
            mark = self._marks.get((kind, target))
            if mark is None:
                continue
            ignored |= mark.ignores(event, directory=directory, on_child=on_child)
            if (directory and not mark.mask & _ONDIR) or (on_child and not mark.mask & _ON_CHILD):
                continue
            wanted |= mark.mask & event
        return wanted & ~ignored

    # -- what happens ----------------------------------------------------------------------------------------------

    def happened(self, path: Path, event: int) -> None:
        """Something has happened to what is at a place."""
        dentry = path.dentry
        inode = dentry.inode
        named = dentry.label is None and dentry is not path.mount.root
        parent = dentry.parent.inode if named else None
        self._forget_ignored(inode, event)
        wanted = self._wanted(event & _EVENTS, path, inode, parent)
        if not self.report & FID_BITS:
            wanted &= ~int(Fan.ATTRIB)
        if wanted:
            records = self._records(inode, parent, dentry.name if named else "")
            self._queue_event(wanted, inode.is_directory, None if self.report & FID_BITS else path, records)

    def _forget_ignored(self, inode: Inode, event: int) -> None:
        if event & Fan.MODIFY:
            mark = self._marks.get(("inode", inode))
            if mark is not None and mark.ignored and not mark.survives:
                mark.ignored = 0
                self.tidy("inode", inode)

    def happened_in(self, directory: Inode, event: int, name: str, *, is_directory: bool) -> None:
        """Something has happened to a name in a directory, or to an inode itself (no name)."""
        if not self.report & FID_BITS:
            return
        marks = [self._marks.get(("inode", directory)), self._marks.get(("sb", directory.sb))]
        wanted = ignored = 0
        for mark in marks:
            if mark is not None and not (is_directory and not mark.mask & _ONDIR):
                wanted |= mark.mask & event
            ignored |= 0 if mark is None else mark.ignores(event, directory=is_directory, on_child=bool(name))
        wanted &= ~ignored
        if wanted:
            records = self._records(directory, directory, name) if name else self._records(directory, None, "")
            self._queue_event(wanted, is_directory, None, records)

    def gone(self, inode: Inode) -> None:
        """An inode is no more, nor is its mark."""
        mark = self._marks.get(("inode", inode))
        if mark is not None:
            mark.mask = mark.ignored = 0
            self.tidy("inode", inode)

    def _records(self, inode: Inode, parent: Inode | None, name: str) -> bytes:
        """The information records of an event, as far as it has them (copy_info_records_to_user)."""
        report = self.report
        if not report & FID_BITS:
            return b""
        records = b""
        directory = inode if inode.is_directory and inode is not parent else parent
        if inode.is_directory and inode is not parent:
            name = "."
        if report & REPORT_DIR_FID and directory is not None:
            if report & REPORT_NAME:
                records += _fid(_TYPE_DFID_NAME, directory, encode_name(name) + b"\0")
            else:
                records += _fid(_TYPE_DFID, directory, b"")
        if report & REPORT_FID and not (report & REPORT_DIR_FID and inode.is_directory):
            records += _fid(_TYPE_FID, inode, b"")
        return records

    def _queue_event(self, mask: int, directory: bool, path: Path | None, records: bytes) -> Event | None:
        process, thread = self._reader.numbers()
        pid = thread if self.report & REPORT_TID else process
        event = Event(mask | (_ONDIR if directory and self.report & FID_BITS else 0), pid, path, records)
        for before in reversed(self._queue):
            if before.is_like(event):
                before.mask |= event.mask
                return None
        try:
            if len(self._queue) >= MAX_QUEUED_EVENTS and not self.report & UNLIMITED_QUEUE:
                raise LinuxError(errno.ENOSPC)
            self.keep(self._kept + FSNOTIFY_EVENT + len(records))
            if path is not None:
                self._hold(event, path, len(records))
        except LinuxError:
            event = Event(int(Fan.Q_OVERFLOW), 0, None, b"")
            if self._queue and self._queue[-1].mask & Fan.Q_OVERFLOW:
                return None
        self._queue.append(event)
        self._changed.wake_all(int(PollEvents.IN | PollEvents.RDNORM))
        return event

    def _hold(self, event: Event, path: Path, size: int) -> None:
        """LinuxError(ENFILE, ENOMEM)."""
        try:
            event.held = File(path, OpenFlags.PATH)
        except LinuxError:
            self.keep(self._kept - FSNOTIFY_EVENT - size)
            raise

    def ask(self, path: Path, answers: dict[object, object]) -> None:
        """Whether a file may be opened: LinuxError(EPERM), or LeaseBroken as long as nobody has answered.  ``answers``:
        what one open call has asked for already.
        """
        event = answers.get(self)
        if event is None:
            dentry = path.dentry
            named = dentry.label is None and dentry is not path.mount.root
            parent = dentry.parent.inode if named else None
            if not self._wanted(_OPEN_PERM, path, dentry.inode, parent):
                return
            event = answers[self] = self._queue_event(_OPEN_PERM, False, path, b"")
        if not isinstance(event, Event) or self not in self._resources.fanotify:
            return
        if event.answer is None:
            raise LeaseBroken(event.answered, None)
        if event.answer == DENY:
            raise LinuxError(errno.EPERM)

    # -- the file --------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        if not self._queue:
            raise WouldBlock(self._changed)
        data = b""
        while self._queue:
            event = self._queue[0]
            size = _METADATA.size + len(event.records)
            size += _PIDFD_INFO.size if self.report & REPORT_PIDFD and not event.mask & Fan.Q_OVERFLOW else 0
            if len(data) + size > count:
                break
            self._queue.popleft()
            if not event.mask & Fan.Q_OVERFLOW:
                self.keep(self._kept - FSNOTIFY_EVENT - len(event.records))
            try:
                data += self._packed(event, size)
                event.drop()
            except LinuxError:
                event.drop()
                if event.mask & _OPEN_PERM:
                    self._answer(event, DENY)
                if data:
                    return data
                raise
        if not data:
            raise LinuxError(errno.EINVAL)
        return data

    def _packed(self, event: Event, size: int) -> bytes:
        fd = _NO_FD if event.path is None else self._reader.opens(event.path)
        if event.mask & _OPEN_PERM:
            self._asked[fd] = event
        data = _METADATA.pack(size, _VERSION, 0, _METADATA.size, event.mask, fd, self._reader.sees(event.pid))
        data += event.records
        if size > len(data):
            data += _PIDFD_INFO.pack(_TYPE_PIDFD, 0, _PIDFD_INFO.size, self._reader.pidfd(event.pid))
        return data

    def prepare_write(self, count: int) -> int:
        if count < _RESPONSE.size or not self.report & 0xC:
            raise LinuxError(errno.EINVAL)
        return _RESPONSE.size

    def write(self, data: bytes) -> int:
        """The answer to a permission event."""
        if len(data) < _RESPONSE.size:
            raise LinuxError(errno.EINVAL)
        fd, response = _RESPONSE.unpack_from(data)
        if response & ~(ALLOW | DENY | _AUDIT) or response & (ALLOW | DENY) not in (ALLOW, DENY) or fd < 0:
            raise LinuxError(errno.EINVAL)
        event = self._asked.pop(fd, None)
        if event is None:
            raise LinuxError(errno.ENOENT)
        self._answer(event, response & (ALLOW | DENY))
        return _RESPONSE.size

    @staticmethod
    def _answer(event: Event, answer: int) -> None:
        event.answer = answer
        event.answered.wake_all()

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command != FIONREAD:
            raise LinuxError(errno.ENOTTY)
        size = sum(_METADATA.size + len(event.records) for event in self._queue)
        caller.mm.write(argument, size.to_bytes(4, "little"))
        return 0

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        return int(PollEvents.IN | PollEvents.RDNORM) if self._queue else 0, (self._changed,)

    def release(self) -> None:
        for key in list(self._marks):
            self._marks[key].mask = self._marks[key].ignored = 0
            self.tidy(*key)
        self._resources.fanotify.pop(self, None)
        for event in (*self._queue, *self._asked.values()):
            event.drop()
            self._answer(event, ALLOW)
        self._queue.clear()
        self._asked.clear()


def _fid(kind: int, inode: Inode, name: bytes) -> bytes:
    """A record with the handle of an inode (struct fanotify_event_info_fid)."""
    type_, data = handle.encode(inode, identify_only=True)
    body = struct.pack("<ii", inode.sb.dev, 0) + _HANDLE.pack(len(data), type_) + data + name
    size = -(-(_INFO.size + len(body)) // 4) * 4
    return (_INFO.pack(kind, 0, size) + body).ljust(size, b"\0")


class SilentPath(Path):
    """A place whose use tells nobody of it: that of the descriptor in an event (FMODE_NONOTIFY)."""

    def notify(self, notice: int, more: int = 0) -> None:
        """Nobody hears of it."""
