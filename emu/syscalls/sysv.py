"""System V IPC: shmget, semget, msgget and the calls on what they give (svipc(7))."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from emu.ipc import limits, msg, sem, shm
from emu.ipc.ids import IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, Ids, IpcObject, ipc_layout
from emu.kernel.rlimit import limits_of
from emu.linux.argument import ADDRESS, INT, S32, S64, SIZE, U32, Bits, Pointer, Scalar, Shown, compared
from emu.linux.capability import IPC_LOCK, SYS_RESOURCE
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMESPEC, Array, Layout, Opaque
from emu.linux.likeness import Likeness, Part
from emu.linux.limits import Rlimit
from emu.linux.syscall import AT_ADDRESS, BYTES, IDENTITY, NUMBER, Restart, Result, Syscall
from emu.linux.words import Choice, hexadecimal, named_bits, octal, unknown

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: Where the numbers of processes are in them.
_PROCESSES_OF_SHM, _PROCESSES_OF_MSG = (14, 15), (16, 17)
SHMID_DS = ipc_layout("shmid_ds", "Q3q2iQQQ")
SEMID_DS = ipc_layout("semid_ds", "qQqQQQQ")
MSQID_DS = ipc_layout("msqid_ds", "3q3Q2iQQ")
_SHMINFO, _SHM_INFO = Layout("shminfo", "5Q32x"), Layout("shm_info", "i4x5Q")
_SEMINFO, _MSGINFO = Layout("seminfo", "10i"), Layout("msginfo", "7iH2x")
_SEMBUF, _MTYPE = Layout("sembuf", "Hhh"), Layout("long", "q")
#: Where uid, gid and mode are in a struct ipc64_perm, and msg_qbytes in a struct msqid64_ds.
_UID, _GID, _MODE, _QBYTES = 1, 2, 5, 15
#: IPC_64, which old programs gave.
_IPC_64 = 0x100
T = TypeVar("T", bound=IpcObject)


def _status(ids: Ids[T], task: Task, ident: int, command: int, stat: int, stat_any: int) -> tuple[T, int]:
    """The object for IPC_STAT, or *_STAT by index, or *_STAT_ANY without a look at permissions; and the result."""
    if command == IPC_STAT:
        found = ids.find(ident)
    else:
        found = ids.at_index(ident)
    if command != stat_any:
        found.check(task, 0o444)
    return found, 0 if command == IPC_STAT else found.id


# -- shared memory -----------------------------------------------------------------------------------------------------


class ShmCommand(Choice, prefix=""):
    """The commands of shmctl(2)."""

    IPC_RMID = IPC_RMID
    IPC_SET = IPC_SET
    IPC_STAT = IPC_STAT
    IPC_INFO = IPC_INFO
    SHM_LOCK = 11
    SHM_UNLOCK = 12
    SHM_STAT = 13
    SHM_INFO = 14
    SHM_STAT_ANY = 15


def sys_shmget(kernel: Kernel, task: Task, key: int, size: int, flags: int) -> int:
    """shmget(2)."""
    return kernel.ipc.shm.shmget(task, key, size, flags)


def sys_shmat(kernel: Kernel, task: Task, ident: int, address: int, flags: int) -> int:
    """shmat(2)."""
    return kernel.ipc.shm.shmat(task, task.mm, ident, address, flags)


def sys_shmdt(kernel: Kernel, task: Task, address: int) -> int:
    """shmdt(2)."""
    return kernel.ipc.shm.shmdt(task.mm, address)


def sys_shmctl(kernel: Kernel, task: Task, ident: int, command: int, buffer: int) -> int:
    """shmctl(2)."""
    segments, command = kernel.ipc.shm, command & ~_IPC_64
    if ident < 0 or command < 0:
        raise LinuxError(errno.EINVAL)
    match command:
        case ShmCommand.IPC_INFO:
            _SHMINFO.write(task.mm, buffer, (limits.SHMMAX, limits.SHMMIN, limits.SHMMNI, limits.SHMMNI, limits.SHMALL))
            return max(segments.highest, 0)
        case ShmCommand.SHM_INFO:
            present = sum(segment.pages_present for segment in segments)
            swapped = sum(segment.pages_swapped for segment in segments)
            _SHM_INFO.write(task.mm, buffer, (len(segments), segments.pages, present, swapped, 0, 0))
            return max(segments.highest, 0)
        case ShmCommand.IPC_STAT | ShmCommand.SHM_STAT | ShmCommand.SHM_STAT_ANY:
            stat, stat_any = ShmCommand.SHM_STAT, ShmCommand.SHM_STAT_ANY
            segment, result = _status(segments, task, ident, command, stat, stat_any)
            SHMID_DS.write(task.mm, buffer, _seen(task, segment.status(), _PROCESSES_OF_SHM))
            return result
        case ShmCommand.IPC_SET:
            words = SHMID_DS.read(task.mm, buffer)
            segment = segments.find(ident)
            segment.check_owner(task)
            segment.set_perm(task.credentials, words[_UID], words[_GID], words[_MODE])
            segments.changed(segment)
        case ShmCommand.IPC_RMID:
            segment = segments.find(ident)
            segment.check_owner(task)
            segments.rmid(segment)
        case ShmCommand.SHM_LOCK | ShmCommand.SHM_UNLOCK:
            segment = segments.find(ident)
            who = task.credentials
            if not who.capable_in(IPC_LOCK, segment.user) and who.euid not in (segment.uid, segment.cuid):
                raise LinuxError(errno.EPERM)
            lock = command == ShmCommand.SHM_LOCK
            if lock and not who.capable_in(IPC_LOCK, segment.user):
                segments.check_may_lock(segment, limits_of(task, Rlimit.MEMLOCK)[0])
            segment.mode = segment.mode | shm.SHM_LOCKED if lock else segment.mode & ~shm.SHM_LOCKED
        case _:
            raise LinuxError(errno.EINVAL)
    return 0


def _seen(task: Task, status: tuple[int, ...], processes: tuple[int, ...] = ()) -> tuple[int, ...]:
    """An object's state with its owner, its maker, and the ``processes`` at these places, as a task sees them."""
    who, (key, uid, gid, cuid, cgid, *rest) = task.credentials, status
    owners = (who.shown("uid", uid), who.shown("gid", gid), who.shown("uid", cuid), who.shown("gid", cgid))
    seen = [task.sees(value) if 5 + at in processes else value for at, value in enumerate(rest)]
    return key, *owners, *seen


# -- semaphores --------------------------------------------------------------------------------------------------------


class SemCommand(Choice, prefix=""):
    """The commands of semctl(2)."""

    IPC_RMID = IPC_RMID
    IPC_SET = IPC_SET
    IPC_STAT = IPC_STAT
    IPC_INFO = IPC_INFO
    GETPID = 11
    GETVAL = 12
    GETALL = 13
    GETNCNT = 14
    GETZCNT = 15
    SETVAL = 16
    SETALL = 17
    SEM_STAT = 18
    SEM_INFO = 19
    SEM_STAT_ANY = 20


def sys_semget(kernel: Kernel, task: Task, key: int, number: int, flags: int) -> int:
    """semget(2)."""
    return kernel.ipc.sem.semget(task, key, number, flags)


def sys_semop(kernel: Kernel, task: Task, ident: int, operations: int, number: int) -> Result:
    """semop(2)."""
    return sys_semtimedop(kernel, task, ident, operations, number, 0)


def sys_semtimedop(kernel: Kernel, task: Task, ident: int, operations: int, number: int, timeout: int) -> Result:
    """semtimedop(2)."""
    time = TIMESPEC.read(task.mm, timeout) if timeout else None
    if number < 1 or ident < 0:
        raise LinuxError(errno.EINVAL)
    wanted = sem.read_operations(lambda count: _SEMBUF.read_array(task.mm, operations, count), number)
    return kernel.ipc.sem.semop(task, ident, wanted, time)


def sys_semctl(kernel: Kernel, task: Task, ident: int, number: int, command: int, argument: int) -> int:
    """semctl(2)."""
    sets, command = kernel.ipc.sem, command & ~_IPC_64
    if ident < 0:
        raise LinuxError(errno.EINVAL)
    match command:
        case SemCommand.IPC_INFO | SemCommand.SEM_INFO:
            info = command == SemCommand.SEM_INFO
            used, semaphores = (len(sets), sets.semaphores) if info else (20, limits.SEMVMX)
            bounds = (
                limits.SEMMNS,
                limits.SEMMNI,
                limits.SEMMNS,
                limits.SEMMNS,
                limits.SEMMSL,
                limits.SEMOPM,
                limits.SEMOPM,
            )
            _SEMINFO.write(task.mm, argument, (*bounds, used, limits.SEMVMX, semaphores))
            return max(sets.highest, 0)
        case SemCommand.IPC_STAT | SemCommand.SEM_STAT | SemCommand.SEM_STAT_ANY:
            found, result = _status(sets, task, ident, command, SemCommand.SEM_STAT, SemCommand.SEM_STAT_ANY)
            SEMID_DS.write(task.mm, argument, _seen(task, found.status()))
            return result
        case SemCommand.IPC_SET:
            words = SEMID_DS.read(task.mm, argument)
            found = sets.find(ident)
            found.check_owner(task)
            found.set_perm(task.credentials, words[_UID], words[_GID], words[_MODE])
            sets.changed(found)
            return 0
        case SemCommand.IPC_RMID:
            found = sets.find(ident)
            found.check_owner(task)
            sets.rmid(found)
            return 0
    return _values(sets, task, ident, number, command, argument)


def _values(sets: sem.SemaphoreSets, task: Task, ident: int, number: int, command: int, argument: int) -> int:
    """The commands about values."""
    if not SemCommand.GETPID <= command <= SemCommand.SETALL:
        raise LinuxError(errno.EINVAL)
    if command == SemCommand.SETVAL and not 0 <= S32(argument) <= limits.SEMVMX:
        raise LinuxError(errno.ERANGE)
    found = sets.find(ident)
    alters = command in (SemCommand.SETVAL, SemCommand.SETALL)
    if command not in (SemCommand.GETALL, SemCommand.SETALL):
        if command != SemCommand.SETVAL:
            found.check(task, 0o444)
        found.check_number(number)
    found.check(task, 0o222 if alters else 0o444)
    match command:
        case SemCommand.GETVAL:
            return found.values[number]
        case SemCommand.GETPID:
            return task.sees(found.pids[number])
        case SemCommand.GETNCNT | SemCommand.GETZCNT:
            return found.waiting(number, for_zero=command == SemCommand.GETZCNT)
        case SemCommand.GETALL:
            task.mm.write(argument, found.values.tobytes())
        case SemCommand.SETVAL:
            sets.set_values(task, found, {number: S32(argument)})
        case _:
            size = len(found.values)
            data = task.mm.read(argument, 2 * size)
            sets.set_values(task, found, {i: int.from_bytes(data[2 * i : 2 * i + 2], "little") for i in range(size)})
    return 0


# -- messages ----------------------------------------------------------------------------------------------------------


class MsgCommand(Choice, prefix=""):
    """The commands of msgctl(2)."""

    IPC_RMID = IPC_RMID
    IPC_SET = IPC_SET
    IPC_STAT = IPC_STAT
    IPC_INFO = IPC_INFO
    MSG_STAT = 11
    MSG_INFO = 12
    MSG_STAT_ANY = 13


def sys_msgget(kernel: Kernel, task: Task, key: int, flags: int) -> int:
    """msgget(2)."""
    return kernel.ipc.msg.msgget(task, key, flags)


def sys_msgsnd(kernel: Kernel, task: Task, ident: int, buffer: int, size: int, flags: int) -> Result:
    """msgsnd(2)."""
    (kind,) = _MTYPE.read(task.mm, buffer)
    if size > limits.MSGMAX or ident < 0 or kind < 1:
        raise LinuxError(errno.EINVAL)
    message = msg.Message(kind, task.mm.read(buffer + _MTYPE.size, size))
    return kernel.ipc.msg.send(task, ident, message, flags)


def sys_msgrcv(kernel: Kernel, task: Task, ident: int, buffer: int, size: int, wanted: int, flags: int) -> Result:
    """msgrcv(2)."""
    if ident < 0 or size > S64.largest:
        raise LinuxError(errno.EINVAL)
    if flags & msg.MSG_COPY and (flags & msg.MSG_EXCEPT or not flags & IPC_NOWAIT):
        raise LinuxError(errno.EINVAL)
    return _receive(kernel, task, ident, buffer, size, wanted, flags)


def _receive(
    kernel: Kernel, task: Task, ident: int, buffer: int, size: int, wanted: int, flags: int
) -> Generator[Any, None, int]:
    message = yield from kernel.ipc.msg.receive(task, ident, size, wanted, flags)
    _MTYPE.write(task.mm, buffer, (message.type,))
    task.mm.write(buffer + _MTYPE.size, message.text)
    return len(message.text)


def sys_msgctl(kernel: Kernel, task: Task, ident: int, command: int, buffer: int) -> int:
    """msgctl(2)."""
    queues, command = kernel.ipc.msg, command & ~_IPC_64
    if ident < 0 or command < 0:
        raise LinuxError(errno.EINVAL)
    match command:
        case MsgCommand.IPC_INFO | MsgCommand.MSG_INFO:
            all_queues = list(queues)
            info = command == MsgCommand.MSG_INFO
            pool = len(all_queues) if info else limits.MSGMNI * limits.MSGMNB // 1024
            map_ = sum(len(queue.messages) for queue in all_queues) if info else limits.MSGMNB
            total = sum(queue.cbytes for queue in all_queues) if info else limits.MSGMNB
            numbers = pool, map_, limits.MSGMAX, limits.MSGMNB, limits.MSGMNI, 16, total, 0xFFFF
            _MSGINFO.write(task.mm, buffer, numbers)
            return max(queues.highest, 0)
        case MsgCommand.IPC_STAT | MsgCommand.MSG_STAT | MsgCommand.MSG_STAT_ANY:
            queue, result = _status(queues, task, ident, command, MsgCommand.MSG_STAT, MsgCommand.MSG_STAT_ANY)
            MSQID_DS.write(task.mm, buffer, _seen(task, queue.status(), _PROCESSES_OF_MSG))
            return result
        case MsgCommand.IPC_SET:
            words = MSQID_DS.read(task.mm, buffer)
            queue = queues.find(ident)
            queue.check_owner(task)
            if words[_QBYTES] > limits.MSGMNB and not task.credentials.capable(SYS_RESOURCE):
                raise LinuxError(errno.EPERM)
            queue.set_perm(task.credentials, words[_UID], words[_GID], words[_MODE])
            queue.qbytes = words[_QBYTES]
            queues.changed(queue)
        case MsgCommand.IPC_RMID:
            queue = queues.find(ident)
            queue.check_owner(task)
            queues.rmid(queue)
        case _:
            raise LinuxError(errno.EINVAL)
    return 0


# -- the rows ----------------------------------------------------------------------------------------------------------


def _flag_words(names: dict[int, str]) -> Any:
    """Flags, and permissions in octal."""

    def words(value: int) -> str:
        text = named_bits(value & ~0o777, names) if value & ~0o777 else ""
        return "|".join(part for part in (text, octal(value & 0o777)) if part)

    return words


_CREATE = {0o1000: "IPC_CREAT", 0o2000: "IPC_EXCL"}
_KEY = Scalar("key", S32, lambda value: hexadecimal(U32(value)) if value else "IPC_PRIVATE")
_GET = Scalar("IPC_*|mode", S32, _flag_words(_CREATE))
_SHMGET = Scalar(
    "IPC_*|SHM_*|mode", S32, _flag_words({**_CREATE, shm.SHM_HUGETLB: "SHM_HUGETLB", 0o10000: "SHM_NORESERVE"})
)
_SHMAT = Bits("SHM_", RDONLY=shm.SHM_RDONLY, RND=shm.SHM_RND, REMAP=shm.SHM_REMAP, EXEC=shm.SHM_EXEC)
_SEND = Bits("", name="IPC_NOWAIT", IPC_NOWAIT=0o4000)
_RECEIVE = Bits(
    "", name="MSG_*", IPC_NOWAIT=0o4000, MSG_NOERROR=msg.MSG_NOERROR, MSG_EXCEPT=msg.MSG_EXCEPT, MSG_COPY=msg.MSG_COPY
)
_SEMBUFS, _TIMEOUT = Array(_SEMBUF), Pointer(TIMESPEC, null=True)
_LONG = Scalar("long", S64)


class _MsgBuf(Pointer):
    """A message behind its type (struct msgbuf); the next argument is its length, or the room for one."""

    def __init__(self, *, written: bool = False) -> None:
        super().__init__(Opaque("msgbuf"), written=written)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        yield from super().given(at, call)
        if not self.fills:
            yield Part("msgbuf", Likeness.EXACT, call.view.peek(call.values[at], compared(8 + call.values[at + 1])))

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        if self.fills:
            yield Part("msgbuf", Likeness.EXACT, call.view.peek(call.values[at], compared(8 + (call.result or 0))))


def _command(kind: type[Choice], name: str) -> Scalar:
    def words(value: int) -> str:
        known = (value & ~_IPC_64) in kind._value2member_map_
        return kind.words(value & ~_IPC_64) if known else unknown(value, name.removesuffix("*"))

    return Scalar(name, S32, words)


_SHMCTL, _SEMCTL, _MSGCTL = _command(ShmCommand, "SHM_*"), _command(SemCommand, "SEM_*"), _command(MsgCommand, "MSG_*")

TABLE = (
    Syscall(29, "shmget", sys_shmget, (_KEY, SIZE, _SHMGET), IDENTITY),
    Syscall(30, "shmat", sys_shmat, (INT, ADDRESS, _SHMAT), AT_ADDRESS),
    Syscall(31, "shmctl", sys_shmctl, (INT, _SHMCTL, Pointer(SHMID_DS, null=True, shown=False)), NUMBER),
    Syscall(64, "semget", sys_semget, (_KEY, INT, _GET), IDENTITY),
    Syscall(65, "semop", sys_semop, (INT, _SEMBUFS, SIZE), restart=Restart.INTR),
    Syscall(66, "semctl", sys_semctl, (INT, INT, _SEMCTL, ADDRESS), NUMBER),
    Syscall(67, "shmdt", sys_shmdt, (ADDRESS,)),
    Syscall(68, "msgget", sys_msgget, (_KEY, _GET), IDENTITY),
    Syscall(69, "msgsnd", sys_msgsnd, (INT, _MsgBuf(), SIZE, _SEND), restart=Restart.NOHAND),
    Syscall(
        70, "msgrcv", sys_msgrcv, (INT, _MsgBuf(written=True), SIZE, _LONG, _RECEIVE), BYTES, Restart.NOHAND
    ),
    Syscall(71, "msgctl", sys_msgctl, (INT, _MSGCTL, Pointer(MSQID_DS, null=True, shown=False)), NUMBER),
    Syscall(
        220, "semtimedop", sys_semtimedop, (INT, _SEMBUFS, SIZE, _TIMEOUT), restart=Restart.INTR
    ),
)  # fmt: skip
