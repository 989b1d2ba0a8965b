"""/proc/PID/status (fs/proc/array.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.pidns import numbers
from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import SIG_DFL, SIG_IGN, mask_of
from emu.linux.limits import Rlimit
from emu.mm.hugefault import huge_bytes
from emu.mm.residents import resident
from emu.proc.memory import is_code, stack_bytes, text_bytes
from emu.proc.pidfile import sees
from emu.proc.system import cpu_list

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.pidns import PidNamespace
    from emu.mm.address_space import AddressSpace

_WORDS = {
    "R": "running", "S": "sleeping", "D": "disk sleep", "T": "stopped", "t": "tracing stop", "X": "dead", "Z": "zombie",
}  # fmt: skip
#: Words of 32 bits in a mask of nodes (CONFIG_NODES_SHIFT=10).
_NODE_WORDS = 32


def status(kernel: Kernel, task: Task, space: PidNamespace | None) -> bytes:
    """/proc/PID/status, as a PID namespace sees it."""

    def inside(pid: int) -> str:
        return "\t".join(map(str, numbers(task, pid, space)))

    who, group = task.credentials, task.group
    reader = who if kernel.current is None else kernel.current.credentials
    letter = task.state_letter
    fields: dict[str, object] = {
        "Name": escaped(task.comm),
        "Umask": f"{task.fs.umask:04o}",
        "State": f"{letter} ({_WORDS[letter]})",
        "Tgid": sees(space, task.tgid),
        "Ngid": 0,
        "Pid": sees(space, task.pid),
        "PPid": sees(space, task.ppid),
        "TracerPid": 0 if task.ptrace is None else sees(space, task.ptrace.tracer.tgid),
        "Uid": "\t".join(str(reader.shown("uid", each)) for each in (who.uid, who.euid, who.suid, who.fsuid)),
        "Gid": "\t".join(str(reader.shown("gid", each)) for each in (who.gid, who.egid, who.sgid, who.fsgid)),
        "FDSize": max(64, 1 << (max(task.files, default=0)).bit_length()) if task.alive else 0,
        "Groups": "".join(f"{reader.shown('gid', group)} " for group in who.groups) or " ",
        "NStgid": inside(task.tgid),
        "NSpid": inside(task.pid),
        "NSpgid": inside(task.pgid),
        "NSsid": inside(task.sid),
        "Kthread": 0,
    }
    if task.alive:
        fields |= _memory(task.mm)
    fields |= {"Threads": len(group.threads.keys() | {task.tgid}), **_signals(task), **_rights(task)}
    allowed = kernel.scheduler.queues.allowed(task)
    fields |= {
        "Cpus_allowed": f"{allowed:x}",
        "Cpus_allowed_list": cpu_list(allowed),
        "Mems_allowed": ",".join(["00000000"] * (_NODE_WORDS - 1) + ["00000001"]),
        "Mems_allowed_list": 0,
        "voluntary_ctxt_switches": task.usage.voluntary_switches,
        "nonvoluntary_ctxt_switches": task.usage.involuntary_switches,
    }
    return "".join(f"{name}:\t{value}\n" for name, value in fields.items()).encode("utf-8", "surrogateescape")


def escaped(name: str) -> str:
    """A name with its newlines and backslashes as C writes them (proc_task_name)."""
    return name.replace("\\", "\\\\").replace("\n", "\\n")


def _memory(mm: AddressSpace) -> dict[str, object]:
    """task_mem()."""
    anon, of_files, shmem = resident(mm)
    code = sum(vma.length for vma in mm.vmas if is_code(vma))
    program = min(text_bytes(mm), code)
    figures = {
        "VmPeak": max(mm.hiwater_bytes, mm.total_bytes) >> 10,
        "VmSize": mm.total_bytes >> 10,
        "VmLck": mm.locked_bytes >> 10,
        "VmPin": 0,
        "VmHWM": mm.peak << 2,
        "VmRSS": (anon + of_files + shmem) << 2,
        "RssAnon": anon << 2,
        "RssFile": of_files << 2,
        "RssShmem": shmem << 2,
        "VmData": mm.data_bytes >> 10,
        "VmStk": stack_bytes(mm) >> 10,
        "VmExe": program >> 10,
        "VmLib": (code - program) >> 10,
        "VmPTE": mm.tables.vm_pte_bytes >> 10,
        "VmSwap": mm.rss_swap << 2,
        "HugetlbPages": huge_bytes(mm) >> 10,
    }
    words: dict[str, object] = {name: f"{value:>8} kB" for name, value in figures.items()}
    return words | {"CoreDumping": 0, "THP_enabled": int(mm.thp_disable != 1), "untag_mask": "0xffffffffffffffff"}


def _signals(task: Task) -> dict[str, object]:
    signals = task.signals
    ignored = caught = 0
    for number, action in enumerate(signals.actions[1:]):
        ignored |= (action.handler == SIG_IGN) << number
        caught |= (action.handler not in (SIG_DFL, SIG_IGN)) << number
    queued = len(signals.pending) + len(signals.shared)
    return {
        "SigQ": f"{queued}/{limits_of(task, Rlimit.SIGPENDING)[0]}",
        "SigPnd": f"{mask_of(signals.pending):016x}",
        "ShdPnd": f"{mask_of(signals.shared):016x}",
        "SigBlk": f"{signals.blocked:016x}",
        "SigIgn": f"{ignored:016x}",
        "SigCgt": f"{caught:016x}",
    }


def _rights(task: Task) -> dict[str, object]:
    """Capabilities, and seccomp."""
    who = task.credentials
    return {
        "CapInh": f"{who.inheritable:016x}",
        "CapPrm": f"{who.permitted:016x}",
        "CapEff": f"{who.effective:016x}",
        "CapBnd": f"{who.bounding:016x}",
        "CapAmb": f"{who.ambient:016x}",
        "NoNewPrivs": int(who.no_new_privs),
        "Seccomp": 0 if task.seccomp is None else task.seccomp.mode,
        "Seccomp_filters": 0 if task.seccomp is None else len(task.seccomp.filters),
        "Speculation_Store_Bypass": "not vulnerable",
        "SpeculationIndirectBranch": "not affected",
    }
