"""Processes, threads and their rights, as strace writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from emu.kernel.fork import CloneFlags
from emu.linux.argument import U32, Shown, View
from emu.linux.words import pointer, unknown
from emu.syscalls.types import CLONE, CLONE_NAMES, signal_words
from emu.trace.forms.form import (
    DECIMAL,
    HEXED,
    INT,
    PLACE,
    UINT,
    ULONG,
    Form,
    Forms,
    Record,
    array,
    beyond,
    bits_of,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
    pointed,
    text_field,
)
from emu.trace.forms.ready import mask
from emu.trace.forms.times import RUSAGE, TIMESPEC
from emu.trace.words import given_siginfo

CAPABILITIES = names_of(
    "CAP_", "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE "
    "SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE "
    "AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
    "CHECKPOINT_RESTORE",
)  # fmt: skip
CAPABILITY = one_of(CAPABILITIES, "CAP_")
_VERSIONS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 3}


# -- signals and children ------------------------------------------------------------------------------------------


class _Siginfo(Record):
    def __init__(self) -> None:
        super().__init__("128s")

    def words(self, values: tuple[Any, ...]) -> str:
        data: bytes = values[0]
        return given_siginfo(data)


SIGINFO = _Siginfo()


def _old_mask(at: int, call: Shown) -> str:
    return pointer(call.values[at]) if call.failed else mask(at + 1).text(at, call)


def _one_mask(at: int, call: Shown) -> str:
    return mask(at + 3).text(at, call)


# -- new tasks -----------------------------------------------------------------------------------------------------

_CLONE_NEWTIME = 0x80
_CLONE = CLONE_NAMES
_CLONE3 = {
    **_CLONE, _CLONE_NEWTIME: "CLONE_NEWTIME", 0x100000000: "CLONE_CLEAR_SIGHAND", 0x200000000: "CLONE_INTO_CGROUP",
}  # fmt: skip
_UNSHARE = {
    bit: name for bit, name in {_CLONE_NEWTIME: "CLONE_NEWTIME", **_CLONE}.items()
    if name.removeprefix("CLONE_") in ("VM", "FS", "FILES", "SIGHAND", "THREAD", "SYSVSEM") or "_NEW" in name
}  # fmt: skip
_CLONE_PIDFD, _CLONE_PARENT_SETTID, _CLONE_CHILD = 0x1000, 0x100000, 0x1200000
_CLONE_SETTLS, _CLONE_INTO_CGROUP = 0x80000, 0x200000000


def _clone_args(at: int, call: Shown) -> str:
    """struct clone_args: the fields that the flags select, and what the call has written."""
    given_size = call.values[at + 1]
    size = min(given_size, 88)
    data = call.view.peek(call.values[at], size) if call.values[at] and size >= 64 else b""
    if len(data) < size or not data:
        return pointer(call.values[at])
    values = struct.unpack("<11Q", data.ljust(88, b"\0"))
    kinds, pidfd, child, parent, exit_signal, stack, stack_size, tls, tids, tids_size, cgroup = values
    texts = [f"flags={flags(_CLONE3, 'CLONE_')(kinds)}"]
    if kinds & _CLONE_PIDFD:
        texts.append(f"pidfd={pointer(pidfd)}")
    if kinds & _CLONE_CHILD:
        texts.append(f"child_tid={pointer(child)}")
    if kinds & _CLONE_PARENT_SETTID:
        texts.append(f"parent_tid={pointer(parent)}")
    texts.append(f"exit_signal={signal_words(exit_signal) if exit_signal else '0'}")
    texts += [f"stack={pointer(stack)}", f"stack_size={hexed(stack_size)}"]
    if kinds & _CLONE_SETTLS:
        texts.append(f"tls={pointer(tls)}")
    if tids or tids_size:
        texts += [f"set_tid={_tids(call.view, tids, tids_size)}", f"set_tid_size={tids_size}"]
    if (cgroup or kinds & _CLONE_INTO_CGROUP) and given_size >= 88:
        texts.append(f"cgroup={cgroup}")
    text = "{" + ", ".join(texts) + beyond(call.view, call.values[at], 88, given_size) + "}"
    if call.failed:
        return text
    wrote = []
    if kinds & _CLONE_PIDFD:
        wrote.append(f"pidfd={pointed(INT, call.view, pidfd)}")
    if kinds & _CLONE_PARENT_SETTID:
        wrote.append(f"parent_tid={pointed(INT, call.view, parent)}")
    return f"{text} => {{{', '.join(wrote)}}}" if wrote else text


def _tids(view: View, address: int, count: int) -> str:
    data = view.peek(address, 4 * count) if 0 < count <= 32 else b""
    if not data or len(data) < 4 * count:
        return pointer(address)
    return "[" + ", ".join(str(each) for (each,) in struct.iter_unpack("<i", data[: len(data) & ~3])) + "]"


# -- scheduling ----------------------------------------------------------------------------------------------------

_POLICIES = names_of("SCHED_", "OTHER FIFO RR BATCH ISO IDLE DEADLINE")
_RESET_ON_FORK, _KEEP_POLICY, _KEEP_PARAMS = 0x40000000, 0x8, 0x10
_SCHED_FLAGS = bits_of(
    "SCHED_FLAG_", "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX"
)
_IO_CLASSES = names_of("IOPRIO_CLASS_", "NONE RT BE IDLE")


def _sched_attr(at: int, call: Shown) -> str:
    """struct sched_attr, in the size that it says."""
    data = call.view.peek(call.values[at], 56) if call.values[at] else b""
    if len(data) < 48:
        return pointer(call.values[at])
    size, policy, kinds, nice, priority, runtime, deadline, period, least, most = struct.unpack(
        "<IIQiIQQQII", data.ljust(56, b"\0")
    )
    before = call.before.get(at)
    if before not in (None, str(size)):  # too large, or too small: the kernel says which it knows
        return f"{{size={before}}} => {{size={size}}}"
    if 0 < size < 48:
        return f"{{size={size}}}"
    texts = [f"size={size}"]
    if kinds & _KEEP_POLICY or not kinds & _KEEP_PARAMS:
        texts.append(f"sched_policy={one_of(_POLICIES, 'SCHED_')(policy)}")
    texts.append(f"sched_flags={flags(_SCHED_FLAGS, 'SCHED_FLAG_')(kinds)}")
    if not kinds & _KEEP_PARAMS:
        texts += [f"sched_nice={nice}", f"sched_priority={priority}", f"sched_runtime={runtime}"]
        texts += [f"sched_deadline={deadline}", f"sched_period={period}"]
    if size >= 56:
        texts += [f"sched_util_min={least}", f"sched_util_max={most}"]
    return "{" + ", ".join(texts) + (", ..." if size > 56 else "") + "}"


def _attr_size(at: int, call: Shown) -> str:
    data = call.view.peek(call.values[at], 4) if call.values[at] else b""
    return str(int.from_bytes(data, "little")) if len(data) == 4 else ""


def _policy(value: int) -> str:
    """A policy, with its flag."""
    kind, reset = U32(value) & ~_RESET_ON_FORK, U32(value) & _RESET_ON_FORK
    if kind not in _POLICIES or (reset and not kind):
        return unknown(value, "SCHED_")
    return _POLICIES[kind] + ("|SCHED_RESET_ON_FORK" if reset else "")


def _cpus(length: Callable[[Shown], int], *, written: bool) -> Form:
    """A set of processors of so many bytes."""

    def text(at: int, call: Shown) -> str:
        size = min(max(length(call), 0), 128)
        data = call.view.peek(call.values[at], size) if call.values[at] else b""
        if (written and call.failed) or len(data) < size or not call.values[at]:
            return pointer(call.values[at])
        bits = int.from_bytes(data, "little")
        cpus = [str(cpu) for cpu in range(8 * size) if bits >> cpu & 1]
        return "[" + " ".join([*cpus, "..."] if length(call) > size else cpus) + "]"

    return Form(text, written)


def io_priority(value: int) -> str:
    """A class and a level."""
    return f"IOPRIO_PRIO_VALUE({one_of(_IO_CLASSES, 'IOPRIO_CLASS_')(U32(value) >> 13)}, {value & 0x1FFF})"


# -- capabilities and names ----------------------------------------------------------------------------------------


def _capability_set(value: int) -> str:
    names = [f"1<<{CAPABILITIES.get(at, f'{at:#x}')}" for at in range(64) if value >> at & 1]
    return "|".join(names) or "0"


def _header(at: int, call: Shown) -> str:
    data = call.view.peek(call.values[at], 8) if call.values[at] else b""
    if len(data) < 8:
        return pointer(call.values[at])
    version, pid = struct.unpack("<Ii", data)
    name = (
        f"_LINUX_CAPABILITY_VERSION_{_VERSIONS[version]}"
        if version in _VERSIONS
        else unknown(version, "_LINUX_CAPABILITY_VERSION_")
    )
    return f"{{version={name}, pid={pid}}}"


def _data(at: int, call: Shown) -> str:
    head = call.view.peek(call.values[0], 8) if call.values[0] else b""
    if len(head) < 8:
        return pointer(call.values[at])
    head = head[:4]
    both = _VERSIONS.get(int.from_bytes(head, "little"), 1) > 1
    data = call.view.peek(call.values[at], 24 if both else 12) if call.values[at] else b""
    if len(data) < (24 if both else 12):
        return pointer(call.values[at])
    values = struct.unpack("<6I", data.ljust(24, b"\0"))
    sets = [values[n] | values[n + 3] << 32 for n in range(3)]
    names = ("effective", "permitted", "inheritable")
    return "{" + ", ".join(f"{name}={_capability_set(each)}" for name, each in zip(names, sets, strict=True)) + "}"


_UTSNAME = Record("65s65s", ("sysname", text_field()), ("nodename", text_field()), rest=True)


class _Sysinfo(Record):
    """struct sysinfo."""

    def __init__(self) -> None:
        super().__init__("q3QQQQQQQH6xQQI4x")

    def words(self, values: tuple[Any, ...]) -> str:
        names = [
            "totalram",
            "freeram",
            "sharedram",
            "bufferram",
            "totalswap",
            "freeswap",
            "procs",
            "totalhigh",
            "freehigh",
            "mem_unit",
        ]
        rest = ", ".join(f"{name}={value}" for name, value in zip(names, values[4:], strict=True))
        return f"{{uptime={values[0]}, loads=[{values[1]}, {values[2]}, {values[3]}], {rest}}}"


_WAITED = got(SIGINFO)
_IDS: Forms = {0: got(UINT), 1: got(UINT), 2: got(UINT)}


def _usage_of_child(at: int, call: Shown) -> str:
    return got(RUSAGE).text(at, call) if call.result else pointer(call.values[at])


_USAGE_OF_CHILD = Form(_usage_of_child, written=True)
_WAIT = {
    1: "WNOHANG", 4: "WEXITED", 2: "WSTOPPED", 8: "WCONTINUED", 0x1000000: "WNOWAIT", 0x80000000: "__WCLONE",
    0x40000000: "__WALL", 0x20000000: "__WNOTHREAD",
}  # fmt: skip
_NAMESPACES = {bit: name for bit, name in CloneFlags.names().items() if name.startswith("CLONE_NEW")}
_WAIT_OPTIONS = number(lambda value: flags(_WAIT, "W")(value & 0xFFFFFFFF))
FORMS: dict[str, Forms] = {
    "setns": {1: number(flags({_CLONE_NEWTIME: "CLONE_NEWTIME", **_NAMESPACES}, "CLONE_NEW"))},
    "wait4": {2: _WAIT_OPTIONS, 3: _USAGE_OF_CHILD},
    "waitid": {
        3: _WAIT_OPTIONS,
        2: _WAITED,
        4: Form(
            lambda at, call: got(RUSAGE).text(at, call) if call.result == 0 else pointer(call.values[at]), written=True
        ),
    },
    "rt_sigprocmask": {1: mask(3), 2: Form(_old_mask, written=True)},
    "rt_sigtimedwait": {0: Form(_one_mask), 1: got(SIGINFO), 2: given(TIMESPEC)},
    "rt_sigqueueinfo": {2: given(SIGINFO)},
    "rt_tgsigqueueinfo": {3: given(SIGINFO)},
    "pidfd_send_signal": {2: given(SIGINFO)},
    "clone3": {0: Form(_clone_args, written=True)},
    "sched_setattr": {1: Form(_sched_attr, written=True)},
    "sched_getattr": {
        1: Form(lambda at, call: pointer(call.values[at]) if call.failed else _sched_attr(at, call), written=True)
    },
    "sched_setaffinity": {2: _cpus(lambda call: call.values[1], written=False)},
    "sched_getaffinity": {2: _cpus(lambda call: call.result or 0, written=True)},
    "sched_get_priority_max": {0: number(one_of(_POLICIES, "SCHED_"))},
    "sched_get_priority_min": {0: number(one_of(_POLICIES, "SCHED_"))},
    "sched_setscheduler": {1: number(_policy), 2: given(INT)},
    "unshare": {0: number(flags(_UNSHARE, "CLONE_"))},
    "process_mrelease": {1: HEXED},
    "sched_setparam": {1: given(INT)},
    "sched_getparam": {1: got(INT)},
    "getcpu": {0: got(UINT), 1: got(UINT)},
    "ioprio_set": {2: number(io_priority)},
    "getresuid": _IDS,
    "getresgid": _IDS,
    "get_robust_list": {1: got(PLACE), 2: got(ULONG)},
    "capget": {
        0: Form(_header),
        1: Form(lambda at, call: pointer(call.values[at]) if call.failed else _data(at, call), written=True),
    },
    "capset": {0: Form(_header), 1: Form(_data)},
    "uname": {0: got(_UTSNAME)},
    "sysinfo": {0: got(_Sysinfo())},
    "process_vm_readv": {3: Form(lambda at, call: plain_pieces(at, call)), 5: DECIMAL},
    "process_vm_writev": {3: Form(lambda at, call: plain_pieces(at, call)), 5: DECIMAL},
    "process_madvise": {1: Form(lambda at, call: plain_pieces(at, call))},
    "pidfd_getfd": {2: HEXED},
}


def plain_pieces(at: int, call: Shown) -> str:
    """An iovec of another process, whose buffers are not read."""
    record = Record("QQ", ("iov_base", pointer), ("iov_len", str))
    return array(record, lambda each: each.values[at + 1]).text(at, call)


_CLONE_VFORK = 0x4000


def _cloned(at: int, call: Shown) -> str:
    """The arguments of clone, and the number that it has written."""
    text, place = CLONE[0].text(at, call), call.values[2]
    if call.failed or not place:
        return text
    return text.replace(f"parent_tid={pointer(place)}", f"parent_tid={pointed(INT, call.view, place)}")


def clone(values: tuple[int, ...], view: View) -> Forms:
    """clone(2): with some flags it writes a number, which is shown if nobody waits for it meanwhile."""
    writes = values[0] & (_CLONE_PARENT_SETTID | _CLONE_PIDFD) and not values[0] & _CLONE_VFORK
    return {0: Form(_cloned, written=True)} if writes else {}


COMMANDS = {"clone": clone}
#: What is looked at when a call begins, as the call changes it.
BEFORE: dict[str, Forms] = {"sched_setattr": {1: Form(_attr_size)}}
