"""Asynchronous I/O, io_uring and performance events, as strace writes them."""

from __future__ import annotations

import struct

from emu.linux.argument import S32, U32, Shown, View
from emu.linux.words import pointer, quote
from emu.trace.forms.form import (
    ADDRESS,
    INT,
    MOST_SHOWN,
    PLACE,
    Bare,
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
from emu.trace.forms.processes import io_priority
from emu.trace.forms.ready import mask_and_size
from emu.trace.forms.times import TIMESPEC

_IO_EVENT = Record("QQqq", ("data", hexed), ("obj", hexed), ("res", str), ("res2", str))
_AIO = {0: "PREAD", 1: "PWRITE", 2: "FSYNC", 3: "FDSYNC", 5: "POLL", 6: "NOOP", 7: "PREADV", 8: "PWRITEV"}
_IOCB = struct.Struct("<QIiHhIQQqQII")
_RW_FLAGS = flags(bits_of("RWF_", "HIPRI DSYNC SYNC NOWAIT APPEND NOAPPEND ATOMIC DONTCACHE NOSIGNAL"), "RWF_")
_POLLED = {1: "POLLIN", 2: "POLLPRI", 4: "POLLOUT", 8: "POLLERR", 16: "POLLHUP"}


def _iocb(view: View, address: int, *, head: bool = False) -> str:
    """struct iocb, or only what all operations have."""
    data = view.peek(address, _IOCB.size) if address else b""
    if len(data) < _IOCB.size:
        return pointer(address)
    tag, key, how, operation, priority, fd, place, size, offset, _, kinds, told = _IOCB.unpack(data)
    name = f"IOCB_CMD_{_AIO[operation]}" if operation in _AIO else f"{operation} /* IOCB_CMD_??? */"
    text = f"aio_data={hexed(tag)}"
    text += f", aio_key={key}" if key else ""
    text += f", aio_rw_flags={_RW_FLAGS(U32(how))}" if how else ""
    text += f", aio_lio_opcode={name}"
    text += f", aio_reqprio={io_priority(priority & 0xFFFF)}" if priority or kinds & 2 else ""
    text += f", aio_fildes={S32(fd)}"
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
        "[" + ", ".join(_iocb(call.view, place) for (place,) in struct.iter_unpack("<Q", data[: len(data) & ~7]))
        + (", ...]" if count > MOST_SHOWN else "]")
    )  # fmt: skip


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
_ATTR, _ATTR_SIZE_VER0 = struct.Struct("<IIQQQQQ"), 64
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
_MORE_BITS = [
    "mmap_data",
    "sample_id_all",
    "exclude_host",
    "exclude_guest",
    "exclude_callchain_kernel",
    "exclude_callchain_user",
    "mmap2",
    "comm_exec",
    "use_clockid",
    "context_switch",
    "write_backward",
    "namespaces",
    "ksymbol",
    "bpf_event",
    "aux_output",
    "cgroup",
    "text_poke",
    "build_id",
    "inherit_thread",
    "remove_on_exec",
    "sigtrap",
]
_FIRST_OF_MORE = 17
_SKIDS = ("arbitrary skid", "constant skid", "requested to have 0 skid", "must have 0 skid")


def _attr_size(size: int) -> str:
    return _ATTR_SIZES.get(size) or f"{hexed(size)} /* PERF_ATTR_SIZE_??? */"


def _attr_size_before(at: int, call: Shown) -> str:
    """The size that a program gives, which the kernel corrects."""
    data = call.view.peek(call.values[at] + 4, 4) if call.values[at] else b""
    return str(int.from_bytes(data, "little")) if len(data) == 4 else ""


def _perf_attr(at: int, call: Shown) -> str:
    """struct perf_event_attr, as far as strace shows it."""
    data = call.view.peek(call.values[at], _ATTR.size) if call.values[at] else b""
    if len(data) < _ATTR.size:
        return pointer(call.values[at])
    kind, size, config, period, sampled, read, bits = _ATTR.unpack(data)
    before = call.before.get(at, "")
    asked = int(before) if before else size
    if 0 < asked < _ATTR_SIZE_VER0:
        return pointer(call.values[at])
    sizes = _attr_size(asked) + (f" => {_attr_size(size)}" if size != asked else "")
    named = {0: (_HARDWARE, "PERF_COUNT_HW_"), 1: (_SOFTWARE, "PERF_COUNT_SW_")}.get(kind)
    what = hexed(config) if named is None else one_of(*named)(config)
    rate = "sample_freq" if bits & 1 << 10 else "sample_period"
    texts = [
        f"type={one_of(_PERF_TYPES, 'PERF_TYPE_')(kind)}", f"size={sizes}", f"config={what}",
        f"{rate}={period}", f"sample_type={flags(_SAMPLE, 'PERF_SAMPLE_')(sampled)}",
        f"read_format={flags(_READ_FORMAT, 'PERF_FORMAT_')(read)}",
    ]  # fmt: skip
    texts += [f"{name}=1" for bit, name in enumerate(_ATTR_BITS) if bits >> bit & 1]
    skid = bits >> 15 & 3
    texts.append(f"precise_ip={skid} /* {_SKIDS[skid]} */")
    texts += [f"{name}=1" for bit, name in enumerate(_MORE_BITS, _FIRST_OF_MORE) if bits >> bit & 1]
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
    text = f"flags={flags(_SETUP, 'IORING_SETUP_')(kinds)}, sq_thread_cpu={hexed(cpu)}, sq_thread_idle={idle}"
    if kinds & 0x20:
        text += f", wq_fd={S32(shared)}"
    if any(values[7:10]):
        text += f", resv=[{', '.join(map(hexed, values[7:10]))}]"
    if call.failed:
        return "{" + text + "}"
    offsets = [
        ", ".join(f"{name}={value}" for name, value in zip(names, part, strict=False))
        for names, part in ((_SQ_OFFSETS, values[10:19]), (_CQ_OFFSETS, values[19:28]))
    ]
    offers = f"features={flags(_FEATURES, 'IORING_FEAT_')(features)}"
    text += f", sq_entries={sq_entries}, cq_entries={cq_entries}, {offers}"
    return f"{{{text}, sq_off={{{offsets[0]}}}, cq_off={{{offsets[1]}}}}}"


_PERF_FLAGS = bits_of("PERF_FLAG_", "FD_NO_GROUP FD_OUTPUT PID_CGROUP FD_CLOEXEC")
_PIECE, _DESCRIPTOR = Record("QQ", ("iov_base", pointer), ("iov_len", str)), Bare("i")


def io_uring_register(values: tuple[int, ...], view: View) -> Forms:
    """io_uring_register(2): buffers, descriptors and numbers; what else there is, is an address."""
    shapes: dict[int, Form] = {
        0: array(_PIECE, argument(3)), 2: array(_DESCRIPTOR, argument(3)), 4: given(INT), 7: given(INT),
    }  # fmt: skip
    return {2: shapes[U32(values[1])]} if U32(values[1]) in shapes else {}


COMMANDS = {"io_uring_register": io_uring_register}
#: What is looked at when a call begins, as the call changes it.
BEFORE: dict[str, Forms] = {"perf_event_open": {0: Form(_attr_size_before)}}
FORMS: dict[str, Forms] = {
    "io_destroy": {0: ADDRESS},
    "io_setup": {1: got(PLACE)},
    "io_submit": {0: ADDRESS, 2: Form(_iocbs)},
    "io_getevents": {0: ADDRESS, 3: array(_IO_EVENT, result, written=True), 4: given(TIMESPEC)},
    "io_pgetevents": {
        0: ADDRESS,
        3: array(_IO_EVENT, result, written=True),
        4: given(TIMESPEC),
        5: Form(mask_and_size),
    },
    "io_cancel": {
        0: ADDRESS,
        1: Form(lambda at, call: _iocb(call.view, call.values[at], head=True)),
        2: got(_IO_EVENT),
    },
    "perf_event_open": {0: Form(_perf_attr, written=True), 4: number(flags(_PERF_FLAGS, "PERF_FLAG_"))},
    "io_uring_setup": {1: Form(_params, written=True)},
    "io_uring_register": {1: number(one_of(_REGISTER, "IORING_REGISTER_"))},
}  # fmt: skip
