"""Signals as strace prints them when they arrive."""

from __future__ import annotations

from emu.kernel.signal_state import SYNCHRONOUS, SiCode, Sig, SigInfo, signal_name
from emu.linux.argument import S32
from emu.linux.words import pointer

_SI_CODES = {
    Sig.SEGV: ("", "SEGV_MAPERR", "SEGV_ACCERR"),
    Sig.BUS: ("", "BUS_ADRALN", "BUS_ADRERR"),
    Sig.FPE: ("", "FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV"),
    Sig.ILL: ("", "ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC"),
    Sig.TRAP: ("", "TRAP_BRKPT", "TRAP_TRACE"),
    Sig.CHLD: ("", "CLD_EXITED", "CLD_KILLED", "CLD_DUMPED"),
}


def si_code(info: SigInfo) -> str:
    """Why there is a signal."""
    names = _SI_CODES.get(Sig(info.signo), ()) if info.signo < 32 else ()
    if 0 < info.code < len(names):
        return names[info.code]
    return f"SI_{SiCode(info.code).name}" if info.code in SiCode._value2member_map_ else str(info.code)


def siginfo(info: SigInfo) -> str:
    """The fields of siginfo_t that the kind of signal has."""
    text = f"si_signo={signal_name(info.signo)}, si_code={si_code(info)}"
    if info.signo == Sig.CHLD and info.code > 0:
        status = signal_name(info.status) if info.code != 1 else info.status
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}, si_status={status}, si_utime=0, si_stime=0"
    if info.code == SiCode.TIMER:
        return f"{text}, si_timerid={info.timer_id}, si_overrun={info.overrun}{_value(info)}"
    if info.code == SiCode.QUEUE:
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}{_value(info)}"
    if info.code <= 0:
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}"
    if info.code == SiCode.KERNEL and info.signo not in SYNCHRONOUS:
        return text
    return f"{text}, si_addr={pointer(info.address)}"


def _value(info: SigInfo) -> str:
    return f", si_int={S32(info.value)}, si_ptr={info.value:#x}" if info.value else ""
