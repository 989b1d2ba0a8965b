"""Calls whose arguments depend on a command: futex, prctl, keyctl, ptrace and the like."""

from __future__ import annotations

from collections.abc import Callable

from emu.linux.argument import S32, U32, Shown, View
from emu.linux.words import pointer, unknown
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    HEXED,
    PLACE,
    SIGNED,
    UNSIGNED,
    Box,
    Form,
    Forms,
    Record,
    bits_of,
    buffer,
    filled,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
    signed,
    string,
)
from emu.trace.forms.times import TIMESPEC

#: Forms of a call by its arguments.
ByArguments = Callable[[tuple[int, ...], View], Forms]

# -- futex ---------------------------------------------------------------------------------------------------------

_FUTEX = names_of(
    "FUTEX_", "WAIT WAKE FD REQUEUE CMP_REQUEUE WAKE_OP LOCK_PI UNLOCK_PI TRYLOCK_PI WAIT_BITSET WAKE_BITSET "
    "WAIT_REQUEUE_PI CMP_REQUEUE_PI LOCK_PI2",
)  # fmt: skip
_PRIVATE, _REALTIME, _FUTEX_COMMAND, _FD = 0x80, 0x100, 0x7F, 2
#: Those that strace knows with FUTEX_CLOCK_REALTIME.
_ON_A_CLOCK = frozenset({0, 9, 11})


def _futex_operation(value: int) -> str:
    command, private, realtime = value & ~(_PRIVATE | _REALTIME), value & _PRIVATE, value & _REALTIME
    name = _FUTEX.get(U32(command))
    if name is None or (realtime and command not in _ON_A_CLOCK):
        return unknown(value, "FUTEX_")
    told = "|FUTEX_PRIVATE_FLAG" if command == _FD else "_PRIVATE"
    return name + (told if private else "") + ("|FUTEX_CLOCK_REALTIME" if realtime else "")


def _bitset(value: int) -> str:
    return "FUTEX_BITSET_MATCH_ANY" if U32(value) == 0xFFFFFFFF else hexed(U32(value))


_OPERATORS, _COMPARISONS = ["SET", "ADD", "OR", "ANDN", "XOR"], ["EQ", "NE", "LT", "LE", "GT", "GE"]


def _wake_op(value: int) -> str:
    """The operation of FUTEX_WAKE_OP, as its macro has it."""
    operation, comparison, argument, against = value >> 28 & 7, value >> 24 & 15, value >> 12 & 0xFFF, value & 0xFFF
    shift = "FUTEX_OP_OPARG_SHIFT<<28|" if value >> 31 & 1 else ""
    name = f"FUTEX_OP_{_OPERATORS[operation]}" if operation < 5 else f"{operation:#x} /* FUTEX_OP_??? */"
    compares = (
        f"FUTEX_OP_CMP_{_COMPARISONS[comparison]}" if comparison < 6 else f"{comparison:#x} /* FUTEX_OP_CMP_??? */"
    )
    return f"{shift}{name}<<28|{hexed(argument)}<<12|{compares}<<24|{hexed(against)}"


_TIMEOUT, _SECOND = given(TIMESPEC), ADDRESS


def futex(values: tuple[int, ...], view: View) -> Forms:
    """futex(2)."""
    command = values[1] & _FUTEX_COMMAND
    forms: dict[int, Form | None] = {0: ADDRESS, 1: number(_futex_operation), 2: UNSIGNED}
    shapes: dict[int, Forms] = {
        0: {3: _TIMEOUT}, 1: {}, 2: {}, 3: {3: UNSIGNED, 4: _SECOND}, 4: {3: UNSIGNED, 4: _SECOND, 5: UNSIGNED},
        5: {3: UNSIGNED, 4: _SECOND, 5: number(_wake_op)}, 6: {2: None, 3: _TIMEOUT}, 7: {2: None}, 8: {2: None},
        9: {3: _TIMEOUT, 5: number(_bitset)}, 10: {5: number(_bitset)}, 11: {3: _TIMEOUT, 4: _SECOND},
        12: {3: UNSIGNED, 4: _SECOND, 5: UNSIGNED}, 13: {2: None, 3: _TIMEOUT},
    }  # fmt: skip
    if command not in shapes:
        return forms | {3: ADDRESS, 4: ADDRESS, 5: number(lambda value: hexed(U32(value)))}
    forms |= dict.fromkeys((3, 4, 5)) | dict(shapes[command])
    if command == 9:
        forms[3] = _TIMEOUT
    return forms


# -- keys ----------------------------------------------------------------------------------------------------------

_KEYRINGS = {
    -1: "KEY_SPEC_THREAD_KEYRING", -2: "KEY_SPEC_PROCESS_KEYRING", -3: "KEY_SPEC_SESSION_KEYRING",
    -4: "KEY_SPEC_USER_KEYRING",
    -5: "KEY_SPEC_USER_SESSION_KEYRING", -6: "KEY_SPEC_GROUP_KEYRING", -7: "KEY_SPEC_REQKEY_AUTH_KEY",
    -8: "KEY_SPEC_REQUESTOR_KEYRING",
}  # fmt: skip
KEY = number(lambda value: _KEYRINGS.get(S32(value), signed(value)))
_DEFAULTS = names_of(
    "KEY_REQKEY_DEFL_", "NO_CHANGE DEFAULT THREAD_KEYRING PROCESS_KEYRING SESSION_KEYRING USER_KEYRING "
    "USER_SESSION_KEYRING GROUP_KEYRING REQUESTOR_KEYRING", -1,
)  # fmt: skip
_RIGHTS = {
    1 << at + 8 * who: f"KEY_{name}_{right}"
    for who, name in ((3, "POS"), (2, "USR"), (1, "GRP"), (0, "OTH"))
    for at, right in enumerate(["VIEW", "READ", "WRITE", "SEARCH", "LINK", "SETATTR"])
}
_CAPS = (
    bits_of(
        "KEYCTL_CAPS0_",
        "CAPABILITIES PERSISTENT_KEYRINGS DIFFIE_HELLMAN PUBLIC_KEY BIG_KEY INVALIDATE RESTRICT_KEYRING MOVE",
    ),
    bits_of("KEYCTL_CAPS1_", "NS_KEYRING_NAME NS_KEY_TAG NOTIFICATIONS"),
)


def _read_length(at: int) -> Callable[[Shown], int]:
    return lambda call: min(call.values[at], call.result or 0)


def _text_length(at: int) -> Callable[[Shown], int]:
    """Without the NUL behind it."""
    return lambda call: min(call.values[at], max(0, (call.result or 0) - 1))


def _key_capabilities(at: int, call: Shown) -> str:
    if call.failed:
        return pointer(call.values[at])
    data = call.view.peek(call.values[at], min(call.values[at + 1], call.result or 0))
    words = [flags(names, "KEYCTL_CAPS_")(byte) for names, byte in zip(_CAPS, data, strict=False)]
    return f"[{', '.join(words)}]"


_KEYCTL = names_of(
    "KEYCTL_", "GET_KEYRING_ID JOIN_SESSION_KEYRING UPDATE REVOKE CHOWN SETPERM DESCRIBE CLEAR LINK UNLINK SEARCH READ "
    "INSTANTIATE NEGATE SET_REQKEY_KEYRING SET_TIMEOUT ASSUME_AUTHORITY GET_SECURITY SESSION_TO_PARENT REJECT "
    "INSTANTIATE_IOV INVALIDATE GET_PERSISTENT DH_COMPUTE PKEY_QUERY PKEY_ENCRYPT PKEY_DECRYPT PKEY_SIGN PKEY_VERIFY "
    "RESTRICT_KEYRING MOVE CAPABILITIES WATCH_KEY",
)  # fmt: skip
_TEXT = string()
_DEF = number(lambda value: _DEFAULTS.get(S32(value)) or f"{S32(value)} /* KEY_REQKEY_DEFL_??? */")
_MOVE_FLAGS = number(flags({1: "KEYCTL_MOVE_EXCL"}, "KEYCTL_MOVE_"))
_OF_KEYCTL: dict[int, tuple[Form, ...]] = {
    0: (KEY, SIGNED), 1: (_TEXT,), 2: (KEY, buffer(3), DECIMAL), 3: (KEY,), 4: (KEY, SIGNED, SIGNED),
    5: (KEY, number(lambda value: flags(_RIGHTS, "KEY_")(U32(value)))),
    6: (KEY, filled(_text_length(3)), DECIMAL), 7: (KEY,),
    8: (KEY, KEY), 9: (KEY, KEY), 10: (KEY, _TEXT, _TEXT, KEY), 11: (KEY, filled(_read_length(3)), DECIMAL),
    12: (KEY, buffer(3), DECIMAL, KEY), 13: (KEY, UNSIGNED, KEY), 14: (_DEF,), 15: (KEY, UNSIGNED), 16: (KEY,),
    17: (KEY, filled(_text_length(3)), DECIMAL), 18: (), 21: (KEY,), 22: (SIGNED, KEY), 29: (KEY, _TEXT, _TEXT),
    19: (KEY, UNSIGNED, UNSIGNED, KEY), 20: (KEY, ADDRESS, DECIMAL, KEY),
    23: (ADDRESS, filled(_read_length(3)), DECIMAL, ADDRESS), 24: (SIGNED, HEXED, _TEXT, ADDRESS),
    25: (ADDRESS, _TEXT, ADDRESS, ADDRESS), 26: (ADDRESS, _TEXT, ADDRESS, ADDRESS),
    27: (ADDRESS, _TEXT, ADDRESS, ADDRESS), 28: (ADDRESS, _TEXT, ADDRESS, ADDRESS),
    30: (KEY, KEY, KEY, _MOVE_FLAGS), 31: (Form(_key_capabilities, written=True), DECIMAL),
}  # fmt: skip


def keyctl(values: tuple[int, ...], view: View) -> Forms:
    """keyctl(2)."""
    forms = _OF_KEYCTL.get(S32(values[0]), (HEXED,) * 4)
    return {0: number(one_of(_KEYCTL, "KEYCTL_"))} | {
        at: forms[at - 1] if at <= len(forms) else None for at in (1, 2, 3, 4)
    }


# -- others --------------------------------------------------------------------------------------------------------

_ARCH_GETS = frozenset({0x1003, 0x1004})
_SECCOMP_ACTIONS = {
    0x80000000: "SECCOMP_RET_KILL_PROCESS", 0: "SECCOMP_RET_KILL_THREAD", 0x30000: "SECCOMP_RET_TRAP",
    0x50000: "SECCOMP_RET_ERRNO", 0x7FC00000: "SECCOMP_RET_USER_NOTIF", 0x7FF00000: "SECCOMP_RET_TRACE",
    0x7FFC0000: "SECCOMP_RET_LOG", 0x7FFF0000: "SECCOMP_RET_ALLOW",
}  # fmt: skip
FILTER = Record("H6xQ", ("len", str), ("filter", pointer))
_ACTION = Box("I", lambda value: _SECCOMP_ACTIONS.get(value) or f"{value:#x} /* SECCOMP_RET_??? */")
_SIZES = Record("3H", ("seccomp_notif", str), ("seccomp_notif_resp", str), ("seccomp_data", str))


def arch_prctl(values: tuple[int, ...], view: View) -> Forms:
    """arch_prctl(2)."""
    return {1: got(PLACE)} if values[0] in _ARCH_GETS else {} if values[0] & ~3 == 0x1000 else {1: HEXED}


_SECCOMP = number(
    one_of(
        names_of("SECCOMP_", "SET_MODE_STRICT SET_MODE_FILTER GET_ACTION_AVAIL GET_NOTIF_SIZES"), "SECCOMP_SET_MODE_"
    )
)


def seccomp(values: tuple[int, ...], view: View) -> Forms:
    """seccomp(2)."""
    shapes: dict[int, Forms] = {
        1: {2: given(FILTER)}, 2: {1: HEXED, 2: given(_ACTION)}, 3: {1: HEXED, 2: got(_SIZES)},
    }  # fmt: skip
    return {0: _SECCOMP, **shapes.get(U32(values[0]), {1: HEXED})}


_BARRIERS = {
    1: "GLOBAL", 2: "GLOBAL_EXPEDITED", 4: "REGISTER_GLOBAL_EXPEDITED", 8: "PRIVATE_EXPEDITED",
    16: "REGISTER_PRIVATE_EXPEDITED", 32: "PRIVATE_EXPEDITED_SYNC_CORE", 64: "REGISTER_PRIVATE_EXPEDITED_SYNC_CORE",
    128: "PRIVATE_EXPEDITED_RSEQ", 256: "REGISTER_PRIVATE_EXPEDITED_RSEQ",
}  # fmt: skip
_BARRIER_FLAG = number(flags({1: "MEMBARRIER_CMD_FLAG_CPU"}, "MEMBARRIER_CMD_FLAG_"))


def membarrier(values: tuple[int, ...], view: View) -> Forms:
    """membarrier(2), which looks at a processor only with a flag."""
    return {1: _BARRIER_FLAG, 2: SIGNED if values[1] & 1 else None}


def barriers(found: int, call: Shown) -> str:
    """The commands that there are."""
    if call.values[0] != 0:
        return str(found)
    names = flags({bit: f"MEMBARRIER_CMD_{name}" for bit, name in _BARRIERS.items()}, "MEMBARRIER_CMD_")
    return f"{found:#x} ({names(found)})"


_PERSONAS = {
    0: "PER_LINUX", 6: "PER_BSD", 8: "PER_LINUX32", 12: "PER_RISCOS", 15: "PER_OSF4", 16: "PER_HPUX", 0xFF: "PER_MASK",
}  # fmt: skip
_PERSONA_BITS = {
    0x0020000: "UNAME26", 0x0040000: "ADDR_NO_RANDOMIZE", 0x0080000: "FDPIC_FUNCPTRS", 0x0100000: "MMAP_PAGE_ZERO",
    0x0200000: "ADDR_COMPAT_LAYOUT", 0x0400000: "READ_IMPLIES_EXEC", 0x0800000: "ADDR_LIMIT_32BIT",
    0x1000000: "SHORT_INODE",
    0x2000000: "WHOLE_SECONDS", 0x4000000: "STICKY_TIMEOUTS", 0x8000000: "ADDR_LIMIT_3GB",
}  # fmt: skip


def persona(value: int) -> str:
    """A personality, or -1, which only asks."""
    value = U32(value)
    if value == 0xFFFFFFFF:
        return "0xffffffff"
    name = _PERSONAS.get(value & 0xFF, f"{value & 0xFF:#x} /* PER_??? */")
    rest = value & ~0xFF
    return f"{name}|{flags(_PERSONA_BITS, '')(rest)}" if rest else name


_LOG = names_of(
    "SYSLOG_ACTION_",
    "CLOSE OPEN READ READ_ALL READ_CLEAR CLEAR CONSOLE_OFF CONSOLE_ON CONSOLE_LEVEL SIZE_UNREAD SIZE_BUFFER",
)


def _log_action(value: int) -> str:
    return f"{S32(value)} /* {_LOG[U32(value)]} */" if U32(value) in _LOG else f"{S32(value)} /* SYSLOG_ACTION_??? */"


_LEVELS = names_of("LOGLEVEL_", "EMERG ALERT CRIT ERR WARNING NOTICE INFO DEBUG")


def _log_level(value: int) -> str:
    level, debug = S32(value), len(_LEVELS) - 1
    name = _LEVELS.get(level, f"LOGLEVEL_DEBUG+{level - debug}" if level > debug else f"LOGLEVEL_EMERG-{-level}")
    return f"{level} /* {name} */"


def syslog(values: tuple[int, ...], view: View) -> Forms:
    """syslog(2)."""
    action = U32(values[0])
    if action in (2, 3, 4):
        return {0: number(_log_action), 1: filled(), 2: SIGNED}
    shown = {8: {1: ADDRESS, 2: number(_log_level)}}.get(
        action, {1: ADDRESS, 2: SIGNED} if action not in _LOG else {1: None, 2: None}
    )
    return {0: number(_log_action), **shown}


_EPOLL_TARGET = 7
_TARGET = Record("3I", ("efd", signed), ("tfd", signed), ("toff", str))


def kcmp(values: tuple[int, ...], view: View) -> Forms:
    """kcmp(2), which looks at descriptors for files only."""
    kind = U32(values[2])
    if kind == _EPOLL_TARGET:
        return {3: SIGNED, 4: given(_TARGET)}
    return {3: SIGNED, 4: SIGNED} if kind == 0 else {3: None, 4: None} if kind < _EPOLL_TARGET else {3: HEXED, 4: HEXED}


COMMANDS: dict[str, ByArguments] = {
    "syslog": syslog, "kcmp": kcmp,
    "futex": futex, "keyctl": keyctl, "arch_prctl": arch_prctl, "seccomp": seccomp,
    "membarrier": membarrier,
}  # fmt: skip
FORMS: dict[str, Forms] = {
    "personality": {0: number(persona)},
    "add_key": {2: buffer(3), 4: KEY},
    "request_key": {3: KEY},
}
