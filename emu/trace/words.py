"""Signals as strace prints them when they arrive."""

from __future__ import annotations

import errno
import struct

from emu.kernel.seccomp import AUDIT_ARCH_X86_64
from emu.kernel.signal_state import NSIG, SYNCHRONOUS, SiCode, Sig, SigInfo, signal_name
from emu.linux.argument import S32
from emu.linux.syscall_names import NAMES
from emu.linux.words import hexadecimal, pointer
from emu.syscalls import NUMBERS, table_of

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


_MOST_ERRNO = 4095
#: Of two names of an error, the one that strace prints.
_ERRORS = {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN", errno.EDEADLK: "EDEADLK"}


def error_name(number: int) -> str:
    """The name of an error: of two, the one that strace prints."""
    return _ERRORS.get(number) or errno.errorcode.get(number, str(number))


def call_name(number: int) -> str:
    """The number of a system call as its macro; one without a name as it is."""
    subject = next((subject for subject, numbers in NUMBERS.items() if number in numbers), None)
    rows = () if subject is None else table_of(subject)
    name = next((row.name for row in rows if row.number == number), NAMES.get(number))
    return f"__NR_{name}" if name else f"{number:#x}"


def si_code(info: SigInfo) -> str:
    """Why there is a signal."""
    names = _SI_CODES.get(info.signo, "").split()
    if 0 < info.code <= len(names):
        return names[info.code - 1]
    if info.code in SiCode._value2member_map_:
        return f"SI_{SiCode(info.code).name}"
    return _OTHERS.get(info.code) or hexadecimal(info.code & 0xFFFFFFFF)


#: siginfo_t: its head, and what may stand behind that.
_HEAD, _SOURCE, _PLACE = struct.Struct("<iii4x"), struct.Struct("<iiQ"), struct.Struct("<Qi")
_CHILD = struct.Struct("<iIi4xqq")


def given_siginfo(data: bytes) -> str:
    """A siginfo_t in memory, as it is: what a program has made up, or the kernel passes on."""
    signo, error, code = _HEAD.unpack_from(data)
    if not signo:
        return "{}"
    head = SigInfo(signo, code)
    name = signal_name(signo) if 0 < signo <= NSIG else str(signo)
    text = f"si_signo={name}, si_code={si_code(head)}"
    if error:
        text += f", si_errno={error_name(error) if 0 < error <= _MOST_ERRNO else error & 0xFFFFFFFF}"
    pid, uid, value = _SOURCE.unpack_from(data, _HEAD.size)
    place, fd = _PLACE.unpack_from(data, _HEAD.size)
    if code > 0 and code != SiCode.KERNEL:
        if signo == Sig.CHLD:
            child = SigInfo(signo, code, 0, *_CHILD.unpack_from(data, _HEAD.size)[:3])
            utime, stime = _CHILD.unpack_from(data, _HEAD.size)[3:]
            return f"{{{text}, {_of_child(child._replace(utime=utime, stime=stime))}}}"
        if signo in (Sig.ILL, Sig.FPE, Sig.SEGV, Sig.BUS):
            return f"{{{text}, si_addr={pointer(place)}}}"
        if signo == Sig.IO:
            return f"{{{text}, si_band={place}, si_fd={fd}}}"
        if signo == Sig.SYS:
            number, arch = struct.unpack_from("<iI", data, _HEAD.size + 8)
            shown = "AUDIT_ARCH_X86_64" if arch == AUDIT_ARCH_X86_64 else f"{arch:#x}"
            return f"{{{text}, si_call_addr={pointer(place)}, si_syscall={call_name(number)}, si_arch={shown}}}"
    if code == SiCode.TIMER:
        return f"{{{text}, si_timerid={pid:#x}, si_overrun={uid}{_value(head._replace(value=value))}}}"
    source = f", si_pid={pid}, si_uid={uid}" if pid or uid or code in (SiCode.USER, SiCode.TKILL, SiCode.QUEUE) else ""
    return f"{{{text}{source}{_value(head._replace(value=value)) if code not in (SiCode.USER, SiCode.TKILL) else ''}}}"


def siginfo(info: SigInfo) -> str:
    """The fields of siginfo_t that the kind of signal has."""
    if info.given:
        return given_siginfo(info.given)[1:-1]
    name = signal_name(info.signo) if 0 < info.signo <= NSIG else str(info.signo)
    text = f"si_signo={name}, si_code={si_code(info)}"
    if info.signo == Sig.CHLD and info.code > 0:
        return f"{text}, {_of_child(info)}"
    if info.code == SiCode.TIMER:
        return f"{text}, si_timerid={info.timer_id}, si_overrun={info.overrun}{_value(info)}"
    if info.code == SiCode.QUEUE:
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}{_value(info)}"
    if info.code <= 0:
        return f"{text}, si_pid={info.pid}, si_uid={info.uid}"
    if info.code == SiCode.KERNEL and info.signo not in SYNCHRONOUS:
        return text
    return f"{text}, si_addr={pointer(info.address)}"


def _of_child(info: SigInfo) -> str:
    """Who has ended, how, and how long it has run."""
    status = signal_name(info.status) if info.code != 1 and 0 < info.status <= NSIG else info.status
    return f"si_pid={info.pid}, si_uid={info.uid}, si_status={status}, {_times(info)}"


def _times(info: SigInfo) -> str:
    """How long a child has run, in ticks of 10 ms, and where that is not nothing, in seconds."""
    said = [f"{ticks} /* {ticks // 100}.{ticks % 100:02} s */" if ticks else "0" for ticks in (info.utime, info.stime)]
    return f"si_utime={said[0]}, si_stime={said[1]}"


def _value(info: SigInfo) -> str:
    return f", si_int={S32(info.value)}, si_ptr={info.value:#x}" if info.value else ""
