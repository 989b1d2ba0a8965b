"""System V and POSIX IPC, asynchronous I/O, landlock and counters, as strace writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from emu.linux.argument import S32, U32, Shown, View, shown_buffer
from emu.linux.words import octal, pointer, quote
from emu.trace.forms.form import (
    HEXED,
    MOST_SHOWN,
    PLACE,
    UINT,
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
    result,
)
from emu.trace.forms.times import CLOCKS, TIMESPEC

_OPERATION_FLAGS = flags({0x1000: "SEM_UNDO", 0o4000: "IPC_NOWAIT"}, "SEM_")
_SEMBUF = Record("Hhh", ("sem_num", str), ("sem_op", str), ("sem_flg", lambda value: _OPERATION_FLAGS(value & 0xFFFF)))
_STAT, _SET, _RMID = 2, 1, 0


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


def _stat(show: Callable[[View, int], str]) -> Form:
    return Form(
        lambda at, call: pointer(call.values[at]) if call.failed else show(call.view, call.values[at]), written=True
    )


def shmctl(values: tuple[int, ...], view: View) -> Forms:
    """shmctl(2)."""
    return {2: _stat(_shmid)} if U32(values[1]) & 0xFF in (_STAT, 13) else {}


def msgctl(values: tuple[int, ...], view: View) -> Forms:
    """msgctl(2)."""
    return {2: _stat(_msqid)} if U32(values[1]) & 0xFF in (_STAT, 11) else {}


def _message(at: int, call: Shown, length: int) -> str:
    """struct msgbuf: the type, and so many bytes."""
    data = call.view.peek(call.values[at], 8) if call.values[at] else b""
    if len(data) < 8:
        return pointer(call.values[at])
    kind = int.from_bytes(data, "little", signed=True)
    return f"{{mtype={kind}, mtext={shown_buffer(call.view, call.values[at] + 8, length)}}}"


# -- asynchronous I/O ----------------------------------------------------------------------------------------------

_IO_EVENT = Record("QQqq", ("data", hexed), ("obj", hexed), ("res", str), ("res2", str))
_AIO = {0: "PREAD", 1: "PWRITE", 2: "FSYNC", 3: "FDSYNC", 5: "POLL", 6: "NOOP", 7: "PREADV", 8: "PWRITEV"}
_IOCB = struct.Struct("<QIiHhIQQqQII")
_POLLED = {1: "POLLIN", 2: "POLLPRI", 4: "POLLOUT", 8: "POLLERR", 16: "POLLHUP"}


def _iocb(view: View, address: int, *, head: bool = False) -> str:
    """struct iocb, or only what all operations have."""
    data = view.peek(address, _IOCB.size) if address else b""
    if len(data) < _IOCB.size:
        return pointer(address)
    tag, _, _, operation, _, fd, place, size, offset, _, kinds, told = _IOCB.unpack(data)
    name = f"IOCB_CMD_{_AIO[operation]}" if operation in _AIO else f"{operation} /* IOCB_CMD_??? */"
    text = f"aio_data={hexed(tag)}, aio_lio_opcode={name}, aio_fildes={S32(fd)}"
    if head:
        return "{" + text + "}"
    if operation == 5:
        text += f", aio_buf={flags(_POLLED, 'POLL')(place)}"
    elif operation in (0, 1):
        shown = quote(view.peek(place, min(size, 32)), cut=size > 32) if operation == 1 else hexed(place)
        text += f", aio_buf={shown}, aio_nbytes={size}, aio_offset={offset}"
    elif operation in (7, 8):
        text += f", aio_buf={pointer(place)}, aio_nbytes={size}, aio_offset={offset}"
    if kinds & 1:
        text += f", aio_flags=IOCB_FLAG_RESFD, aio_resfd={S32(told)}"
    return "{" + text + "}"


def _iocbs(at: int, call: Shown) -> str:
    count = call.values[at - 1]
    address = call.values[at]
    if count < 0 or not address:
        return pointer(address)
    data = call.view.peek(address, 8 * min(count, MOST_SHOWN))
    if count and not data:
        return pointer(address)
    return (
        "[" + ", ".join(_iocb(call.view, place) for (place,) in struct.iter_unpack("<Q", data[: len(data) & ~7])) + "]"
    )


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
_WAITV = Record("QQII", ("val", hexed), ("uaddr", pointer), ("flags", _FUTEX2))
_PERF_TYPES = names_of("PERF_TYPE_", "HARDWARE SOFTWARE TRACEPOINT HW_CACHE RAW BREAKPOINT")
_SOFTWARE = names_of(
    "PERF_COUNT_SW_", "CPU_CLOCK TASK_CLOCK PAGE_FAULTS CONTEXT_SWITCHES CPU_MIGRATIONS PAGE_FAULTS_MIN "
    "PAGE_FAULTS_MAJ ALIGNMENT_FAULTS EMULATION_FAULTS DUMMY BPF_OUTPUT CGROUP_SWITCHES",
)  # fmt: skip
_HARDWARE = names_of(
    "PERF_COUNT_HW_", "CPU_CYCLES INSTRUCTIONS CACHE_REFERENCES CACHE_MISSES BRANCH_INSTRUCTIONS BRANCH_MISSES "
    "BUS_CYCLES STALLED_CYCLES_FRONTEND STALLED_CYCLES_BACKEND REF_CPU_CYCLES",
)  # fmt: skip
_READ_FORMAT = bits_of("PERF_FORMAT_", "TOTAL_TIME_ENABLED TOTAL_TIME_RUNNING ID GROUP LOST")
_SAMPLE = bits_of(
    "PERF_SAMPLE_", "IP TID TIME ADDR READ CALLCHAIN ID CPU PERIOD STREAM_ID RAW BRANCH_STACK REGS_USER STACK_USER "
    "WEIGHT DATA_SRC IDENTIFIER TRANSACTION REGS_INTR PHYS_ADDR AUX CGROUP DATA_PAGE_SIZE CODE_PAGE_SIZE WEIGHT_STRUCT",
)  # fmt: skip
_ATTR = struct.Struct("<IIQQQQQ")
_ATTR_SIZES = {size: f"PERF_ATTR_SIZE_VER{n}" for n, size in enumerate((64, 72, 80, 96, 104, 112, 120, 128))}
_ATTR_BITS = [
    "disabled",
    "inherit",
    "pinned",
    "exclusive",
    "exclude_user",
    "exclude_kernel",
    "exclude_hv",
    "exclude_idle",
    "mmap",
    "comm",
    "freq",
    "inherit_stat",
    "enable_on_exec",
    "task",
    "watermark",
]
_SKIDS = ("arbitrary skid", "constant skid", "requested to have 0 skid", "must have 0 skid")


def _attr_size(size: int) -> str:
    return _ATTR_SIZES.get(size) or f"{hexed(size)} /* PERF_ATTR_SIZE_??? */"


def _perf_attr(at: int, call: Shown) -> str:
    """struct perf_event_attr, as far as strace shows it."""
    data = call.view.peek(call.values[at], _ATTR.size) if call.values[at] else b""
    if len(data) < _ATTR.size:
        return pointer(call.values[at])
    kind, size, config, period, sampled, read, bits = _ATTR.unpack(data)
    named = {0: (_HARDWARE, "PERF_COUNT_HW_"), 1: (_SOFTWARE, "PERF_COUNT_SW_")}.get(kind)
    what = hexed(config) if named is None else one_of(*named)(config)
    rate = "sample_freq" if bits & 1 << 10 else "sample_period"
    texts = [
        f"type={one_of(_PERF_TYPES, 'PERF_TYPE_')(kind)}", f"size={_attr_size(size)}", f"config={what}",
        f"{rate}={period}", f"sample_type={flags(_SAMPLE, 'PERF_SAMPLE_')(sampled)}",
        f"read_format={flags(_READ_FORMAT, 'PERF_FORMAT_')(read)}",
    ]  # fmt: skip
    texts += [f"{name}=1" for bit, name in enumerate(_ATTR_BITS) if bits >> bit & 1]
    skid = bits >> 15 & 3
    texts.append(f"precise_ip={skid} /* {_SKIDS[skid]} */")
    return "{" + ", ".join(texts) + ", ...}"


_FEATURES = bits_of(
    "IORING_FEAT_", "SINGLE_MMAP NODROP SUBMIT_STABLE RW_CUR_POS CUR_PERSONALITY FAST_POLL POLL_32BITS "
    "SQPOLL_NONFIXED EXT_ARG NATIVE_WORKERS RSRC_TAGS CQE_SKIP LINKED_FILE REG_REG_RING",
)  # fmt: skip
_SETUP = bits_of(
    "IORING_SETUP_", "IOPOLL SQPOLL SQ_AFF CQSIZE CLAMP ATTACH_WQ R_DISABLED SUBMIT_ALL COOP_TASKRUN TASKRUN_FLAG "
    "SQE128 CQE32 SINGLE_ISSUER DEFER_TASKRUN NO_MMAP REGISTERED_FD_ONLY NO_SQARRAY",
)  # fmt: skip
_REGISTER = names_of(
    "IORING_", "REGISTER_BUFFERS UNREGISTER_BUFFERS REGISTER_FILES UNREGISTER_FILES REGISTER_EVENTFD "
    "UNREGISTER_EVENTFD REGISTER_FILES_UPDATE REGISTER_EVENTFD_ASYNC REGISTER_PROBE REGISTER_PERSONALITY "
    "UNREGISTER_PERSONALITY REGISTER_RESTRICTIONS REGISTER_ENABLE_RINGS REGISTER_FILES2 REGISTER_FILES_UPDATE2 "
    "REGISTER_BUFFERS2 REGISTER_BUFFERS_UPDATE REGISTER_IOWQ_AFF UNREGISTER_IOWQ_AFF REGISTER_IOWQ_MAX_WORKERS "
    "REGISTER_RING_FDS UNREGISTER_RING_FDS REGISTER_PBUF_RING UNREGISTER_PBUF_RING REGISTER_SYNC_CANCEL "
    "REGISTER_FILE_ALLOC_RANGE",
)  # fmt: skip
_SQ_OFFSETS = ("head", "tail", "ring_mask", "ring_entries", "flags", "dropped", "array")
_CQ_OFFSETS = ("head", "tail", "ring_mask", "ring_entries", "overflow", "cqes", "flags")
_PARAMS = struct.Struct("<7I3I7IIQ7IIQ")


def _params(at: int, call: Shown) -> str:
    """struct io_uring_params: what is asked for, and with success what there is."""
    data = call.view.peek(call.values[at], _PARAMS.size) if call.values[at] else b""
    if len(data) < _PARAMS.size:
        return pointer(call.values[at])
    values = _PARAMS.unpack(data)
    sq_entries, cq_entries, kinds, cpu, idle, features, shared = values[:7]
    text = f"flags={flags(_SETUP, 'IORING_SETUP_')(kinds)}, sq_thread_cpu={cpu}, sq_thread_idle={idle}"
    if kinds & 0x20:
        text += f", wq_fd={shared}"
    if call.failed:
        return "{" + text + "}"
    offsets = [
        ", ".join(f"{name}={value}" for name, value in zip(names, part, strict=False))
        for names, part in ((_SQ_OFFSETS, values[10:19]), (_CQ_OFFSETS, values[19:28]))
    ]
    offers = f"features={flags(_FEATURES, 'IORING_FEAT_')(features)}"
    text += f", sq_entries={sq_entries}, cq_entries={cq_entries}, {offers}"
    return f"{{{text}, sq_off={{{offsets[0]}}}, cq_off={{{offsets[1]}}}}}"


_RECEIVE = {0o10000: "MSG_NOERROR", 0o20000: "MSG_EXCEPT", 0o40000: "MSG_COPY", 0o4000: "IPC_NOWAIT"}


def mq_open(values: tuple[int, ...], view: View) -> Forms:
    """mq_open(2), which looks at attributes only to make a queue."""
    return {} if values[1] & 0o100 else {3: None}


COMMANDS = {"mq_open": mq_open, "shmctl": shmctl, "msgctl": msgctl, "landlock_add_rule": landlock_add_rule}
FORMS: dict[str, Forms] = {
    "semop": {1: array(_SEMBUF, argument(2))},
    "semtimedop": {1: array(_SEMBUF, argument(2)), 3: given(TIMESPEC)},
    "msgsnd": {1: Form(lambda at, call: _message(at, call, call.values[at + 1]))},
    "msgrcv": {
        4: number(flags(_RECEIVE, "MSG_")),
        1: Form(
            lambda at, call: pointer(call.values[at]) if call.failed else _message(at, call, call.values[at + 1]),
            written=True,
        ),
    },
    "mq_timedreceive": {3: got(UINT), 4: given(TIMESPEC)},
    "io_setup": {1: got(PLACE)},
    "io_submit": {2: Form(_iocbs)},
    "io_getevents": {3: array(_IO_EVENT, result, written=True), 4: given(TIMESPEC)},
    "io_pgetevents": {3: array(_IO_EVENT, result, written=True), 4: given(TIMESPEC)},
    "io_cancel": {1: Form(lambda at, call: _iocb(call.view, call.values[at], head=True)), 2: got(_IO_EVENT)},
    "landlock_create_ruleset": {0: Form(_ruleset)},
    "futex_waitv": {0: array(_WAITV, argument(1)), 2: HEXED, 3: given(TIMESPEC), 4: number(one_of(CLOCKS, "CLOCK_"))},
    "futex_wait": {4: given(TIMESPEC), 5: number(one_of(CLOCKS, "CLOCK_"))},
    "perf_event_open": {0: Form(_perf_attr)},
    "io_uring_setup": {1: Form(_params, written=True)},
    "io_uring_register": {1: number(one_of(_REGISTER, "IORING_"))},
}
