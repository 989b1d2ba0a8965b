"""Signals as strace prints them when they arrive."""

from __future__ import annotations

from emu.kernel.signal_state import NSIG, SYNCHRONOUS, SiCode, Sig, SigInfo, signal_name
from emu.linux.argument import S32
from emu.linux.words import pointer

_SI_CODES: dict[int, str] = {
    Sig.SEGV: "SEGV_MAPERR SEGV_ACCERR SEGV_BNDERR SEGV_PKUERR",
    Sig.BUS: "BUS_ADRALN BUS_ADRERR BUS_OBJERR BUS_MCEERR_AR BUS_MCEERR_AO",
    Sig.FPE: "FPE_INTDIV FPE_INTOVF FPE_FLTDIV FPE_FLTOVF FPE_FLTUND FPE_FLTRES FPE_FLTINV FPE_FLTSUB",
    Sig.ILL: "ILL_ILLOPC ILL_ILLOPN ILL_ILLADR ILL_ILLTRP ILL_PRVOPC ILL_PRVREG ILL_COPROC ILL_BADSTK",
    Sig.TRAP: "TRAP_BRKPT TRAP_TRACE TRAP_BRANCH TRAP_HWBKPT TRAP_UNK TRAP_PERF",
    Sig.CHLD: "CLD_EXITED CLD_KILLED CLD_DUMPED CLD_TRAPPED CLD_STOPPED CLD_CONTINUED",
    Sig.IO: "POLL_IN POLL_OUT POLL_MSG POLL_ERR POLL_PRI POLL_HUP",
    Sig.SYS: "SYS_SECCOMP SYS_USER_DISPATCH",
}
#: Those of several signals that the kernel here never gives itself: programs do (rt_sigqueueinfo).
_OTHERS = {-3: "SI_MESGQ", -4: "SI_ASYNCIO", -5: "SI_SIGIO", -7: "SI_DETHREAD", -60: "SI_ASYNCNL"}


def si_code(info: SigInfo) -> str:
    """Why there is a signal."""
    names = _SI_CODES.get(info.signo, "").split()
    if 0 < info.code <= len(names):
        return names[info.code - 1]
    if info.code in SiCode._value2member_map_:
        return f"SI_{SiCode(info.code).name}"
    return _OTHERS.get(info.code, str(info.code))


def siginfo(info: SigInfo) -> str:
    """The fields of siginfo_t that the kind of signal has."""
    name = signal_name(info.signo) if 0 < info.signo <= NSIG else str(info.signo)
    text = f"si_signo={name}, si_code={si_code(info)}"
    if info.signo == Sig.CHLD and info.code > 0:
        status = signal_name(info.status) if info.code != 1 and 0 < info.status <= NSIG else info.status
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}, si_status={status}, {_times(info)}"
    if info.code == SiCode.TIMER:
        return f"{text}, si_timerid={info.timer_id}, si_overrun={info.overrun}{_value(info)}"
    if info.code == SiCode.QUEUE:
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}{_value(info)}"
    if info.code <= 0:
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}"
    if info.code == SiCode.KERNEL and info.signo not in SYNCHRONOUS:
        return text
    return f"{text}, si_addr={pointer(info.address)}"


def _times(info: SigInfo) -> str:
    """How long a child has run, in ticks of 10 ms, and where that is not nothing, in seconds."""
    said = [f"{ticks} /* {ticks // 100}.{ticks % 100:02} s */" if ticks else "0" for ticks in (info.utime, info.stime)]
    return f"si_utime={said[0]}, si_stime={said[1]}"


def _value(info: SigInfo) -> str:
    return f", si_int={S32(info.value)}, si_ptr={info.value:#x}" if info.value else ""
