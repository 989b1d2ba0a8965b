"""Calls whose arguments depend on a command: futex, prctl, keyctl, ptrace and the like."""

from __future__ import annotations

from collections.abc import Callable

from emu.linux.argument import S32, U32, Shown, View
from emu.linux.words import pointer
from emu.syscalls.types import signal_words
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    HEXED,
    PLACE,
    SIGNED,
    UINT,
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
from emu.trace.forms.processes import CAPABILITY, SIGINFO
from emu.trace.forms.times import TIMESPEC

#: Forms of a call by its arguments.
ByArguments = Callable[[tuple[int, ...], View], Forms]

# -- futex ---------------------------------------------------------------------------------------------------------

_FUTEX = names_of(
    "FUTEX_", "WAIT WAKE FD REQUEUE CMP_REQUEUE WAKE_OP LOCK_PI UNLOCK_PI TRYLOCK_PI WAIT_BITSET WAKE_BITSET "
    "WAIT_REQUEUE_PI CMP_REQUEUE_PI LOCK_PI2",
)  # fmt: skip
_PRIVATE, _REALTIME = 0x80, 0x100


def _futex_operation(value: int) -> str:
    command, private, realtime = value & ~(_PRIVATE | _REALTIME), value & _PRIVATE, value & _REALTIME
    name = _FUTEX.get(U32(command))
    if name is None:
        return f"{U32(value):#x} /* FUTEX_??? */"
    return name + ("_PRIVATE" if private else "") + ("|FUTEX_CLOCK_REALTIME" if realtime else "")


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
    command = values[1] & ~(_PRIVATE | _REALTIME)
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


# -- prctl ---------------------------------------------------------------------------------------------------------

_PRCTL = names_of(
    "PR_", "SET_PDEATHSIG GET_PDEATHSIG GET_DUMPABLE SET_DUMPABLE GET_UNALIGN SET_UNALIGN GET_KEEPCAPS SET_KEEPCAPS "
    "GET_FPEMU SET_FPEMU GET_FPEXC SET_FPEXC GET_TIMING SET_TIMING SET_NAME GET_NAME - - GET_ENDIAN SET_ENDIAN "
    "GET_SECCOMP SET_SECCOMP CAPBSET_READ CAPBSET_DROP GET_TSC SET_TSC GET_SECUREBITS SET_SECUREBITS SET_TIMERSLACK "
    "GET_TIMERSLACK TASK_PERF_EVENTS_DISABLE TASK_PERF_EVENTS_ENABLE MCE_KILL MCE_KILL_GET SET_MM "
    "SET_CHILD_SUBREAPER GET_CHILD_SUBREAPER SET_NO_NEW_PRIVS GET_NO_NEW_PRIVS GET_TID_ADDRESS SET_THP_DISABLE "
    "GET_THP_DISABLE MPX_ENABLE_MANAGEMENT MPX_DISABLE_MANAGEMENT SET_FP_MODE GET_FP_MODE CAP_AMBIENT - - SVE_SET_VL "
    "SVE_GET_VL GET_SPECULATION_CTRL SET_SPECULATION_CTRL PAC_RESET_KEYS SET_TAGGED_ADDR_CTRL GET_TAGGED_ADDR_CTRL "
    "SET_IO_FLUSHER GET_IO_FLUSHER SET_SYSCALL_USER_DISPATCH PAC_SET_ENABLED_KEYS PAC_GET_ENABLED_KEYS SCHED_CORE "
    "SME_SET_VL SME_GET_VL SET_MDWE GET_MDWE SET_MEMORY_MERGE GET_MEMORY_MERGE", 1,
)  # fmt: skip
_PRCTL |= {0x53564D41: "PR_SET_VMA", 0x59616D61: "PR_SET_PTRACER", 78: "PR_FUTEX_HASH"}
_SECUREBITS = names_of(
    "SECBIT_", "NOROOT NOROOT_LOCKED NO_SETUID_FIXUP NO_SETUID_FIXUP_LOCKED KEEP_CAPS KEEP_CAPS_LOCKED "
    "NO_CAP_AMBIENT_RAISE NO_CAP_AMBIENT_RAISE_LOCKED",
)  # fmt: skip
_securebits = flags({1 << at: name for at, name in _SECUREBITS.items()}, "SECBIT_")
_AMBIENT = names_of("PR_CAP_AMBIENT_", "IS_SET RAISE LOWER CLEAR_ALL", 1)
_DUMPABLE = one_of(names_of("SUID_DUMP_", "DISABLE USER ROOT"), "SUID_DUMP_")
_SECCOMP_MODES = names_of("SECCOMP_MODE_", "DISABLED STRICT FILTER")
_NAME = string(15)
_SIGNAL_BOX = Box("i", signal_words)


def _got_name(at: int, call: Shown) -> str:
    return pointer(call.values[at]) if call.failed else _NAME.text(at, call)


#: The arguments that an option looks at; what is not here are plain numbers.
_OF_PRCTL: dict[str, tuple[Form, ...]] = {
    "PR_SET_PDEATHSIG": (number(signal_words),), "PR_GET_PDEATHSIG": (got(_SIGNAL_BOX),), "PR_GET_DUMPABLE": (),
    "PR_SET_DUMPABLE": (number(_DUMPABLE),), "PR_GET_KEEPCAPS": (), "PR_SET_KEEPCAPS": (DECIMAL,),
    "PR_SET_NAME": (_NAME,),
    "PR_GET_NAME": (Form(_got_name, written=True),),
    "PR_GET_SECCOMP": (), "PR_CAPBSET_READ": (number(CAPABILITY),), "PR_CAPBSET_DROP": (number(CAPABILITY),),
    "PR_GET_SECUREBITS": (), "PR_SET_SECUREBITS": (number(_securebits),), "PR_SET_TIMERSLACK": (DECIMAL,),
    "PR_GET_TIMERSLACK": (), "PR_GET_TIMING": (), "PR_TASK_PERF_EVENTS_DISABLE": (), "PR_TASK_PERF_EVENTS_ENABLE": (),
    "PR_SET_CHILD_SUBREAPER": (DECIMAL,), "PR_GET_CHILD_SUBREAPER": (got(UINT),), "PR_GET_TID_ADDRESS": (got(PLACE),),
    "PR_SET_NO_NEW_PRIVS": (DECIMAL, HEXED, HEXED, HEXED), "PR_GET_NO_NEW_PRIVS": (HEXED, HEXED, HEXED, HEXED),
    "PR_SET_THP_DISABLE": (DECIMAL, HEXED, HEXED, HEXED), "PR_GET_THP_DISABLE": (HEXED, HEXED, HEXED, HEXED),
    "PR_SET_SECCOMP": (number(one_of(_SECCOMP_MODES, "SECCOMP_MODE_")), ADDRESS), "PR_GET_TSC": (got(UINT),),
    "PR_SET_TSC": (number(one_of({1: "PR_TSC_ENABLE", 2: "PR_TSC_SIGSEGV"}, "PR_TSC_")),),
}  # fmt: skip


def prctl(values: tuple[int, ...], view: View) -> Forms:
    """prctl(2)."""
    name = _PRCTL.get(U32(values[0]), "")
    plain = (HEXED,) * 4
    if name == "PR_CAP_AMBIENT":
        operation = U32(values[1])
        wanted = number(CAPABILITY) if operation in (1, 2, 3) else HEXED
        plain = (number(one_of(_AMBIENT, "PR_CAP_AMBIENT_")), wanted, HEXED, HEXED)
    forms = _OF_PRCTL.get(name, plain)
    return {
        0: number(one_of(_PRCTL, "PR_")),
        **{at: forms[at - 1] if at <= len(forms) else None for at in (1, 2, 3, 4)},
    }


def prctl_result(found: int, call: Shown) -> str | None:
    """What options return that is not just a number."""
    option = _PRCTL.get(U32(call.values[0]))
    if option == "PR_GET_DUMPABLE":
        return f"{found} ({_DUMPABLE(found)})"
    if option == "PR_GET_SECUREBITS":
        return f"{found:#x} ({_securebits(found)})" if found else "0"
    return None


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


_TEXT = string()
_DEF = number(one_of(_DEFAULTS, "KEY_REQKEY_DEFL_"))
_OF_KEYCTL: dict[int, tuple[Form, ...]] = {
    0: (KEY, SIGNED), 1: (_TEXT,), 2: (KEY, buffer(3), DECIMAL), 3: (KEY,), 4: (KEY, SIGNED, SIGNED),
    5: (KEY, number(lambda value: flags(_RIGHTS, "KEY_")(U32(value)))),
    6: (KEY, filled(_text_length(3)), DECIMAL), 7: (KEY,),
    8: (KEY, KEY), 9: (KEY, KEY), 10: (KEY, _TEXT, _TEXT, KEY), 11: (KEY, filled(_read_length(3)), DECIMAL),
    12: (KEY, buffer(3), DECIMAL, KEY), 13: (KEY, UNSIGNED, KEY), 14: (_DEF,), 15: (KEY, UNSIGNED), 16: (KEY,),
    17: (KEY, filled(_text_length(3)), DECIMAL), 18: (), 21: (KEY,), 22: (SIGNED, KEY), 29: (KEY, _TEXT, _TEXT),
    30: (KEY, KEY, KEY, HEXED), 31: (Form(_key_capabilities, written=True), DECIMAL),
}  # fmt: skip


def keyctl(values: tuple[int, ...], view: View) -> Forms:
    """keyctl(2)."""
    forms = _OF_KEYCTL.get(S32(values[0]), (HEXED,) * 4)
    return {at: forms[at - 1] if at <= len(forms) else None for at in (1, 2, 3, 4)}


# -- ptrace --------------------------------------------------------------------------------------------------------

_TRACE_OPTIONS = {
    1: "PTRACE_O_TRACESYSGOOD", 2: "PTRACE_O_TRACEFORK", 4: "PTRACE_O_TRACEVFORK", 8: "PTRACE_O_TRACECLONE",
    0x10: "PTRACE_O_TRACEEXEC", 0x20: "PTRACE_O_TRACEVFORKDONE", 0x40: "PTRACE_O_TRACEEXIT",
    0x80: "PTRACE_O_TRACESECCOMP",
    0x100000: "PTRACE_O_EXITKILL", 0x200000: "PTRACE_O_SUSPEND_SECCOMP",
}  # fmt: skip
_OPTION_FORM = number(flags(_TRACE_OPTIONS, "PTRACE_O_"))
_RESUMES = frozenset({7, 9, 17, 24, 31, 32})
_PEEKS, _POKES = frozenset({1, 2, 3}), frozenset({4, 5, 6})
_WORD = number(hexed)


def ptrace(values: tuple[int, ...], view: View) -> Forms:
    """ptrace(2)."""
    request = values[0]
    if request in (0, 16, 8, 0x4207):  # TRACEME, ATTACH, KILL, INTERRUPT
        return {1: None if request == 0 else SIGNED, 2: None, 3: None}
    if request in _RESUMES or request == 0x4208:  # LISTEN
        return {2: ADDRESS, 3: number(lambda value: signal_words(value) if value else "0")}
    if request in _PEEKS:
        return {2: ADDRESS, 3: got(Box("Q", hexed))}
    if request in _POKES:
        return {2: ADDRESS, 3: _WORD}
    if request in (0x4200, 0x4206):  # SETOPTIONS, SEIZE
        return {2: ADDRESS, 3: _OPTION_FORM}
    if request == 0x4201:  # GETEVENTMSG
        return {2: ADDRESS, 3: got(Box("Q"))}
    if request == 0x4202:  # GETSIGINFO
        return {2: ADDRESS, 3: got(SIGINFO)}
    return {2: ADDRESS, 3: given(SIGINFO)} if request == 0x4203 else {}


# -- others --------------------------------------------------------------------------------------------------------

_ARCH_GETS = frozenset({0x1003, 0x1004})
_SECCOMP_ACTIONS = {
    0x80000000: "SECCOMP_RET_KILL_PROCESS", 0: "SECCOMP_RET_KILL_THREAD", 0x30000: "SECCOMP_RET_TRAP",
    0x50000: "SECCOMP_RET_ERRNO", 0x7FC00000: "SECCOMP_RET_USER_NOTIF", 0x7FF00000: "SECCOMP_RET_TRACE",
    0x7FFC0000: "SECCOMP_RET_LOG", 0x7FFF0000: "SECCOMP_RET_ALLOW",
}  # fmt: skip
_FILTER = Record("H6xQ", ("len", str), ("filter", pointer))
_ACTION = Box("I", lambda value: _SECCOMP_ACTIONS.get(value) or f"{value:#x} /* SECCOMP_RET_??? */")
_SIZES = Record("3H", ("seccomp_notif", str), ("seccomp_notif_resp", str), ("seccomp_data", str))


def arch_prctl(values: tuple[int, ...], view: View) -> Forms:
    """arch_prctl(2)."""
    return {1: got(PLACE)} if values[0] in _ARCH_GETS else {} if values[0] & ~3 == 0x1000 else {1: HEXED}


def seccomp(values: tuple[int, ...], view: View) -> Forms:
    """seccomp(2)."""
    shapes = {1: given(_FILTER), 2: given(_ACTION), 3: got(_SIZES)}
    return {2: shapes[U32(values[0])]} if U32(values[0]) in shapes else {}


_BARRIERS = {
    1: "GLOBAL", 2: "GLOBAL_EXPEDITED", 4: "REGISTER_GLOBAL_EXPEDITED", 8: "PRIVATE_EXPEDITED",
    16: "REGISTER_PRIVATE_EXPEDITED", 32: "PRIVATE_EXPEDITED_SYNC_CORE", 64: "REGISTER_PRIVATE_EXPEDITED_SYNC_CORE",
    128: "PRIVATE_EXPEDITED_RSEQ", 256: "REGISTER_PRIVATE_EXPEDITED_RSEQ",
}  # fmt: skip
_BARRIER_FLAG = number(flags({1: "MEMBARRIER_CMD_FLAG_CPU"}, "MEMBARRIER_CMD_FLAG_"))


def membarrier(values: tuple[int, ...], view: View) -> Forms:
    """membarrier(2), which looks at a processor only with a flag."""
    return {1: _BARRIER_FLAG, 2: SIGNED if U32(values[1]) == 1 else None}


def barriers(found: int, call: Shown) -> str:
    """The commands that there are."""
    if call.values[0] != 0:
        return str(found)
    names = flags({bit: f"MEMBARRIER_CMD_{name}" for bit, name in _BARRIERS.items()}, "MEMBARRIER_CMD_")
    return f"{found:#x} ({names(found)})"


_PERSONAS = {0: "PER_LINUX", 8: "PER_LINUX32"}
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


def syslog(values: tuple[int, ...], view: View) -> Forms:
    """syslog(2)."""
    action = U32(values[0])
    if action in (2, 3, 4):
        return {0: number(_log_action), 1: filled(), 2: SIGNED}
    shown = {8: {1: ADDRESS, 2: SIGNED}}.get(
        action, {1: ADDRESS, 2: SIGNED} if action not in _LOG else {1: None, 2: None}
    )
    return {0: number(_log_action), **shown}


def kcmp(values: tuple[int, ...], view: View) -> Forms:
    """kcmp(2), which looks at descriptors for files only."""
    return {3: UNSIGNED, 4: UNSIGNED} if U32(values[2]) == 0 else {3: None, 4: None} if U32(values[2]) < 7 else {}


COMMANDS: dict[str, ByArguments] = {
    "syslog": syslog, "kcmp": kcmp,
    "futex": futex, "prctl": prctl, "keyctl": keyctl, "ptrace": ptrace, "arch_prctl": arch_prctl, "seccomp": seccomp,
    "membarrier": membarrier,
}  # fmt: skip
FORMS: dict[str, Forms] = {
    "personality": {0: number(persona)},
    "modify_ldt": {0: SIGNED, 1: ADDRESS},
    "add_key": {2: buffer(3), 4: KEY},
    "request_key": {3: KEY},
}
