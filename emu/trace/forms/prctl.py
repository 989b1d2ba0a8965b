"""prctl(2), whose arguments depend on the option, as strace writes them."""

from __future__ import annotations

from emu.linux.argument import U32, Shown, View
from emu.linux.words import pointer
from emu.syscalls.types import signal_words
from emu.trace.forms.commands import FILTER
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    HEXED,
    PLACE,
    UINT,
    Box,
    Form,
    Forms,
    flags,
    given,
    got,
    names_of,
    number,
    one_of,
    string,
)
from emu.trace.forms.processes import CAPABILITY

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


_TSC = one_of({1: "PR_TSC_ENABLE", 2: "PR_TSC_SIGSEGV"}, "PR_TSC_")
_MM = names_of(
    "PR_SET_MM_", "START_CODE END_CODE START_DATA END_DATA START_STACK START_BRK BRK ARG_START ARG_END ENV_START "
    "ENV_END AUXV EXE_FILE MAP MAP_SIZE", 1,
)  # fmt: skip
_KILLS = names_of("PR_MCE_KILL_", "CLEAR SET")
_KILL_POLICIES = one_of(names_of("PR_MCE_KILL_", "LATE EARLY DEFAULT"), "PR_MCE_KILL_")
_MODE = number(one_of(_SECCOMP_MODES, "SECCOMP_MODE_"))
_MODE_FILTER = 2
_SPECULATIONS = names_of("PR_SPEC_", "STORE_BYPASS INDIRECT_BRANCH L1D_FLUSH")
_SPECULATION = number(one_of(_SPECULATIONS, "PR_SPEC_"))
_SPEC_CONTROL = {1: "PRCTL", 2: "ENABLE", 4: "DISABLE", 8: "FORCE_DISABLE", 0x10: "DISABLE_NOEXEC"}
_SPEC_CONTROL = {bit: f"PR_SPEC_{name}" for bit, name in _SPEC_CONTROL.items()}
_VMA = one_of({0: "PR_SET_VMA_ANON_NAME"}, "PR_SET_VMA_")


#: The arguments that an option looks at; what is not here are plain numbers.
_OF_PRCTL: dict[str, tuple[Form, ...]] = {
    "PR_SET_PDEATHSIG": (number(signal_words),), "PR_GET_PDEATHSIG": (got(_SIGNAL_BOX),), "PR_GET_DUMPABLE": (),
    "PR_SET_DUMPABLE": (number(_DUMPABLE),), "PR_GET_KEEPCAPS": (), "PR_SET_KEEPCAPS": (DECIMAL,),
    "PR_SET_NAME": (_NAME,),
    "PR_GET_NAME": (Form(_got_name, written=True),),
    "PR_GET_UNALIGN": (got(UINT),), "PR_SET_UNALIGN": (HEXED,), "PR_GET_FPEMU": (got(UINT),), "PR_SET_FPEMU": (HEXED,),
    "PR_GET_FPEXC": (got(UINT),), "PR_SET_FPEXC": (HEXED,), "PR_SET_TIMING": (DECIMAL,), "PR_GET_ENDIAN": (got(UINT),),
    "PR_SET_ENDIAN": (HEXED,), "PR_SET_FP_MODE": (HEXED,), "PR_GET_FP_MODE": (), "PR_SVE_SET_VL": (HEXED,),
    "PR_SVE_GET_VL": (), "PR_SME_SET_VL": (HEXED,), "PR_SME_GET_VL": (),
    "PR_SET_MM": (number(one_of(_MM, "PR_SET_MM_")), HEXED, HEXED, HEXED),
    "PR_GET_SECCOMP": (), "PR_CAPBSET_READ": (number(CAPABILITY),), "PR_CAPBSET_DROP": (number(CAPABILITY),),
    "PR_GET_SECUREBITS": (), "PR_SET_SECUREBITS": (number(_securebits),), "PR_SET_TIMERSLACK": (DECIMAL,),
    "PR_GET_TIMERSLACK": (), "PR_GET_TIMING": (), "PR_TASK_PERF_EVENTS_DISABLE": (), "PR_TASK_PERF_EVENTS_ENABLE": (),
    "PR_SET_CHILD_SUBREAPER": (DECIMAL,), "PR_GET_CHILD_SUBREAPER": (got(UINT),), "PR_GET_TID_ADDRESS": (got(PLACE),),
    "PR_SET_NO_NEW_PRIVS": (DECIMAL, HEXED, HEXED, HEXED), "PR_GET_NO_NEW_PRIVS": (HEXED, HEXED, HEXED, HEXED),
    "PR_SET_THP_DISABLE": (DECIMAL, HEXED, HEXED, HEXED), "PR_GET_THP_DISABLE": (HEXED, HEXED, HEXED, HEXED),
    "PR_GET_TSC": (got(Box("I", _TSC)),), "PR_SET_TSC": (number(_TSC),),
}  # fmt: skip


def prctl(values: tuple[int, ...], view: View) -> Forms:
    """prctl(2)."""
    name = _PRCTL.get(U32(values[0]), "")
    plain: tuple[Form, ...] = (HEXED,) * 4
    if name == "PR_CAP_AMBIENT":
        operation = U32(values[1])
        wanted = number(CAPABILITY) if operation in (1, 2, 3) else HEXED
        plain = (number(one_of(_AMBIENT, "PR_CAP_AMBIENT_")), wanted, HEXED, HEXED)
    if name == "PR_SET_SECCOMP":
        plain = (_MODE, given(FILTER)) if U32(values[1]) == _MODE_FILTER else (_MODE, HEXED, HEXED, HEXED)
    if name == "PR_MCE_KILL":
        policy = number(_KILL_POLICIES) if U32(values[1]) == 1 else HEXED
        plain = (number(one_of(_KILLS, "PR_MCE_KILL_")), policy, HEXED, HEXED)
    if name == "PR_GET_SPECULATION_CTRL":
        plain = (_SPECULATION,)
    if name == "PR_SET_SPECULATION_CTRL":
        plain = (_SPECULATION, number(one_of(_SPEC_CONTROL, "PR_SPEC_")))
    if name == "PR_SET_VMA" and values[1] == 0:
        plain = (number(_VMA), ADDRESS, DECIMAL, string(80))
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
    if option == "PR_MCE_KILL_GET":
        return f"{found} ({_KILL_POLICIES(found)})"
    if option == "PR_GET_SECUREBITS":
        return f"{found:#x} ({_securebits(found)})" if found else "0"
    return None
