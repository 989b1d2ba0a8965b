"""System V and POSIX IPC, asynchronous I/O, landlock and counters, as strace writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from emu.linux.argument import U32, Shown, View, shown_buffer
from emu.linux.words import huge_bits, octal, pointer
from emu.trace.forms.form import (
    HEXED,
    UINT,
    UNSIGNED,
    Form,
    Forms,
    Record,
    argument,
    array,
    bits_of,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
    owner,
)
from emu.trace.forms.times import CLOCKS, TIMESPEC

_OPERATION_FLAGS = flags({0x1000: "SEM_UNDO", 0o4000: "IPC_NOWAIT"}, "SEM_")
_SEMBUF = Record("Hhh", ("sem_num", str), ("sem_op", str), ("sem_flg", lambda value: _OPERATION_FLAGS(value & 0xFFFF)))
_SET, _RMID = 1, 0


def _permissions(data: bytes) -> str:
    key, uid, gid, cuid, cgid, mode = struct.unpack_from("<iIIIII", data)
    rights = octal(mode & 0o7777)
    return f"{{uid={uid}, gid={gid}, mode={rights}, key={hexed(key & 0xFFFFFFFF)}, cuid={cuid}, cgid={cgid}}}"


def _shmid(view: View, address: int) -> str:
    data = view.peek(address, 112) if address else b""
    if len(data) < 112:
        return pointer(address)
    size, at, dt, ct = struct.unpack_from("<Q3q", data, 48)
    cpid, lpid = struct.unpack_from("<2i", data, 80)
    (attached,) = struct.unpack_from("<Q", data, 88)
    return (
        f"{{shm_perm={_permissions(data)}, shm_segsz={size}, shm_cpid={cpid}, shm_lpid={lpid}, shm_nattch={attached}, "
        f"shm_atime={at}, shm_dtime={dt}, shm_ctime={ct}}}"
    )


def _msqid(view: View, address: int) -> str:
    data = view.peek(address, 120) if address else b""
    if len(data) < 120:
        return pointer(address)
    sent, received, changed, _, count, most = struct.unpack_from("<3q3Q", data, 48)
    lspid, lrpid = struct.unpack_from("<2i", data, 96)
    return (
        f"{{msg_perm={_permissions(data)}, msg_stime={sent}, msg_rtime={received}, msg_ctime={changed}, "
        f"msg_qnum={count}, "
        f"msg_qbytes={most}, msg_lspid={lspid}, msg_lrpid={lrpid}}}"
    )


def _semid(view: View, address: int) -> str:
    data = view.peek(address, 88) if address else b""
    if len(data) < 88:
        return pointer(address)
    used, changed, count = (struct.unpack_from("<q", data, at)[0] for at in (48, 64, 80))
    return f"{{sem_perm={_permissions(data)}, sem_otime={used}, sem_ctime={changed}, sem_nsems={count}}}"


def _figures(layout: str, names: str) -> Callable[[View, int], str]:
    """A structure of numbers only: limits, or what there is."""
    structure = struct.Struct(layout)

    def show(view: View, address: int) -> str:
        data = view.peek(address, structure.size) if address else b""
        if len(data) < structure.size:
            return pointer(address)
        pairs = zip(names.split(), structure.unpack(data), strict=True)
        return f"{{{', '.join(f'{name}={value}' for name, value in pairs)}}}"

    return show


def _stat(show: Callable[[View, int], str]) -> Form:
    return Form(
        lambda at, call: pointer(call.values[at]) if call.failed else show(call.view, call.values[at]), written=True
    )


def shmctl(values: tuple[int, ...], view: View) -> Forms:
    """shmctl(2)."""
    command = U32(values[1]) & ~_IPC_64
    if command == _SET:
        return {1: _SHM_COMMAND, 2: Form(lambda at, call: _set(call, at, "shm_perm", 0))}
    return {1: _SHM_COMMAND} | ({2: _stat(_SHM_SHOWN[command])} if command in _SHM_SHOWN else {})


def msgctl(values: tuple[int, ...], view: View) -> Forms:
    """msgctl(2)."""
    command = U32(values[1]) & ~_IPC_64
    if command == _SET:
        return {1: _MSG_COMMAND, 2: Form(lambda at, call: _set(call, at, "msg_perm", 120))}
    return {1: _MSG_COMMAND} | ({2: _stat(_MSG_SHOWN[command])} if command in _MSG_SHOWN else {})


def semctl(values: tuple[int, ...], view: View) -> Forms:
    """semctl(2)."""
    command = U32(values[2]) & ~_IPC_64
    if command == _SET:
        return {2: _SEM_COMMAND, 3: Form(lambda at, call: _set(call, at, "sem_perm", 0))}
    return {2: _SEM_COMMAND} | ({3: _stat(_SEM_SHOWN[command])} if command in _SEM_SHOWN else {})


def _set(call: Shown, at: int, name: str, length: int) -> str:
    """What IPC_SET reads: an owner and rights, and of queues how many bytes there may be."""
    data = call.view.peek(call.values[at], max(length, 48)) if call.values[at] else b""
    if len(data) < max(length, 48):
        return pointer(call.values[at])
    _, uid, gid, _, _, mode = struct.unpack_from("<iIIIII", data)
    most = f", msg_qbytes={struct.unpack_from('<Q', data, 88)[0]}" if length else ""
    return f"{{{name}={{uid={owner(uid)}, gid={owner(gid)}, mode={octal(mode)}}}{most}}}"


#: By command: what it gives.  IPC_STAT is 2, IPC_INFO 3.
_SHM_SHOWN = {
    2: _shmid, 13: _shmid, 15: _shmid, 3: _figures("<5Q", "shmmax shmmin shmmni shmseg shmall"),
    14: _figures("<i4x5Q", "used_ids shm_tot shm_rss shm_swp swap_attempts swap_successes"),
}  # fmt: skip
_QUEUES = _figures("<7iH2x", "msgpool msgmap msgmax msgmnb msgmni msgssz msgtql msgseg")
_MSG_SHOWN = {2: _msqid, 11: _msqid, 13: _msqid, 3: _QUEUES, 12: _QUEUES}
_SEMAPHORES = _figures("<10i", "semmap semmni semmns semmnu semmsl semopm semume semusz semvmx semaem")
_SEM_SHOWN = {2: _semid, 18: _semid, 20: _semid, 3: _SEMAPHORES, 19: _SEMAPHORES}
_IPC_64 = 0x100
_IPC_COMMANDS = names_of("IPC_", "RMID SET STAT INFO")


def _command(names: dict[int, str], prefix: str) -> Form:
    """A command; with IPC_64 where a program gives that, as those of 32 bits do."""
    shown = one_of({**_IPC_COMMANDS, **names}, prefix)
    return number(
        lambda value: ("IPC_64|" if value & _IPC_64 else "") + shown(value & ~_IPC_64)
    )  # fmt: skip


_SHM_COMMAND = _command(names_of("SHM_", "LOCK UNLOCK STAT INFO STAT_ANY", 11), "SHM_")
_MSG_COMMAND = _command(names_of("MSG_", "STAT INFO STAT_ANY", 11), "MSG_")
_SEM_COMMAND = _command(
    {11: "GETPID", 12: "GETVAL", 13: "GETALL", 14: "GETNCNT", 15: "GETZCNT", 16: "SETVAL", 17: "SETALL",
     18: "SEM_STAT", 19: "SEM_INFO", 20: "SEM_STAT_ANY"}, "SEM_",
)  # fmt: skip
_GET = {0o1000: "IPC_CREAT", 0o2000: "IPC_EXCL", 0o4000: "IPC_NOWAIT"}
_SHM_GET = {0o1000: "IPC_CREAT", 0o2000: "IPC_EXCL", 0o4000: "SHM_HUGETLB", 0o10000: "SHM_NORESERVE"}


def _get_flags(value: int) -> str:
    """Flags and rights of what is made."""
    kinds = U32(value) & ~0o777
    return "|".join([*([flags(_GET, "")(kinds)] if kinds else []), octal(value & 0o777)])


def _shmget_flags(value: int) -> str:
    """The same of a segment, with the size of its pages."""
    return "|".join([*huge_bits(U32(value) & ~0o777, _SHM_GET, "SHM_"), octal(value & 0o777)])


def _message(at: int, call: Shown, length: int) -> str:
    """struct msgbuf: the type, and so many bytes."""
    data = call.view.peek(call.values[at], 8) if call.values[at] else b""
    if len(data) < 8:
        return pointer(call.values[at])
    kind = int.from_bytes(data, "little", signed=True)
    return f"{{mtype={kind}, mtext={shown_buffer(call.view, call.values[at] + 8, length)}}}"


# -- landlock, futexes of several, counters ------------------------------------------------------------------------

_ACCESS_FS = bits_of(
    "LANDLOCK_ACCESS_FS_", "EXECUTE WRITE_FILE READ_FILE READ_DIR REMOVE_DIR REMOVE_FILE MAKE_CHAR MAKE_DIR MAKE_REG "
    "MAKE_SOCK MAKE_FIFO MAKE_BLOCK MAKE_SYM REFER TRUNCATE IOCTL_DEV",
)  # fmt: skip
_ACCESS_NET = bits_of("LANDLOCK_ACCESS_NET_", "BIND_TCP CONNECT_TCP")
_SCOPES = bits_of("LANDLOCK_SCOPE_", "ABSTRACT_UNIX_SOCKET SIGNAL")
_access_fs, _access_net = flags(_ACCESS_FS, "LANDLOCK_ACCESS_FS_"), flags(_ACCESS_NET, "LANDLOCK_ACCESS_NET_")


def _ruleset(at: int, call: Shown) -> str:
    size = call.values[at + 1]
    data = call.view.peek(call.values[at], min(size, 24)) if call.values[at] and size >= 8 else b""
    if len(data) < min(size, 24) or not data:
        return pointer(call.values[at])
    rights, ports, scopes = struct.unpack("<3Q", data.ljust(24, b"\0"))
    texts = [f"handled_access_fs={_access_fs(rights)}"]
    if size >= 16:
        texts.append(f"handled_access_net={_access_net(ports)}")
    if size >= 24:
        texts.append(f"scoped={flags(_SCOPES, 'LANDLOCK_SCOPE_')(scopes)}")
    return "{" + ", ".join(texts) + "}"


_BENEATH = Record("Qi", ("allowed_access", _access_fs), ("parent_fd", str))
_PORT = Record("QQ", ("allowed_access", _access_net), ("port", str))


def landlock_add_rule(values: tuple[int, ...], view: View) -> Forms:
    """landlock_add_rule(2)."""
    return {2: given(_BENEATH)} if U32(values[1]) == 1 else {2: given(_PORT)} if U32(values[1]) == 2 else {}


_FUTEX2 = flags({2: "FUTEX_32", 0x80: "FUTEX_PRIVATE_FLAG"}, "FUTEX_")


class _Waiter(Record):
    """struct futex_waitv."""

    def __init__(self) -> None:
        super().__init__("QQII", ("val", hexed), ("uaddr", pointer), ("flags", _FUTEX2))

    def words(self, values: tuple[Any, ...]) -> str:
        reserved = f", __reserved={values[3]:#x}}}" if values[3] else "}"
        return super().words(values[:3])[:-1] + reserved


_WAITV = _Waiter()
_RECEIVE = {0o10000: "MSG_NOERROR", 0o20000: "MSG_EXCEPT", 0o40000: "MSG_COPY", 0o4000: "IPC_NOWAIT"}


def mq_open(values: tuple[int, ...], view: View) -> Forms:
    """mq_open(2), which looks at attributes only to make a queue."""
    return {} if values[1] & 0o100 else {3: None}


COMMANDS = {
    "mq_open": mq_open, "shmctl": shmctl, "msgctl": msgctl, "semctl": semctl, "landlock_add_rule": landlock_add_rule,
}  # fmt: skip
FORMS: dict[str, Forms] = {
    "msgget": {1: number(_get_flags)},
    "semget": {2: number(_get_flags)},
    "shmget": {2: number(_shmget_flags)},
    "semop": {1: array(_SEMBUF, argument(2)), 2: UNSIGNED},
    "semtimedop": {1: array(_SEMBUF, argument(2)), 2: UNSIGNED, 3: given(TIMESPEC)},
    "msgsnd": {1: Form(lambda at, call: _message(at, call, call.values[at + 1])), 3: number(flags(_RECEIVE, "MSG_"))},
    "msgrcv": {
        4: number(flags(_RECEIVE, "MSG_")),
        1: Form(
            lambda at, call: pointer(call.values[at]) if call.failed else _message(at, call, call.values[at + 1]),
            written=True,
        ),
    },
    "mq_timedreceive": {3: got(UINT), 4: given(TIMESPEC)},
    "landlock_create_ruleset": {0: Form(_ruleset)},
    "futex_waitv": {0: array(_WAITV, argument(1)), 2: HEXED, 3: given(TIMESPEC), 4: number(one_of(CLOCKS, "CLOCK_"))},
    "futex_wait": {4: given(TIMESPEC), 5: number(one_of(CLOCKS, "CLOCK_"))},
}
