"""/proc/sysvipc, and the limits of System V IPC in /proc/sys/kernel (proc_sysvipc(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.ipc.limits import MSGMAX, MSGMNB, MSGMNI, SEMMNI, SEMMNS, SEMMSL, SEMOPM, SHMALL, SHMMAX, SHMMNI
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.ipc.namespace import IpcNamespace
    from emu.kernel.kernel import Kernel

_SHM = (
    "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime"
    "      ctime                   rss                  swap\n"
)
_SEM = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
_MSG = (
    "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime"
    "      ctime\n"
)

LIMITS = {
    "shmmax": SHMMAX, "shmall": SHMALL, "shmmni": SHMMNI, "msgmax": MSGMAX, "msgmnb": MSGMNB, "msgmni": MSGMNI,
    "sem": f"{SEMMSL}\t{SEMMNS}\t{SEMOPM}\t{SEMMNI}",
}  # fmt: skip


def init(kernel: Kernel) -> None:
    """/proc/sysvipc and its limits."""
    procfs = kernel.vfs.procfs
    procfs.create_file("sysvipc/shm", lambda: segments(kernel.ipc).encode())
    procfs.create_file("sysvipc/sem", lambda: semaphores(kernel.ipc).encode())
    procfs.create_file("sysvipc/msg", lambda: queues(kernel.ipc).encode())
    for name, value in LIMITS.items():
        procfs.add_sysctl(f"kernel/{name}", f"{value}\n".encode)


def segments(ipc: IpcNamespace) -> str:
    """/proc/sysvipc/shm."""
    return _SHM + "".join(
        f"{s.key:10} {s.id:10}  {s.mode:4o} {s.size:21} {s.cpid:5} {s.lpid:5}  {s.attached:5} "
        f"{s.uid:5} {s.gid:5} {s.cuid:5} {s.cgid:5} {s.atime:10} {s.dtime:10} {s.ctime:10} "
        f"{s.pages_present * PAGE_SIZE:21} {s.pages_swapped * PAGE_SIZE:21}\n"
        for s in ipc.shm
    )


def semaphores(ipc: IpcNamespace) -> str:
    """/proc/sysvipc/sem."""
    return _SEM + "".join(
        f"{s.key:10} {s.id:10}  {s.mode:4o} {len(s.values):10} "
        f"{s.uid:5} {s.gid:5} {s.cuid:5} {s.cgid:5} {s.otime:10} {s.ctime:10}\n"
        for s in ipc.sem
    )


def queues(ipc: IpcNamespace) -> str:
    """/proc/sysvipc/msg."""
    return _MSG + "".join(
        f"{q.key:10} {q.id:10}  {q.mode:4o}  {q.cbytes:10} {len(q.messages):10} {q.lspid:5} {q.lrpid:5} "
        f"{q.uid:5} {q.gid:5} {q.cuid:5} {q.cgid:5} {q.stime:10} {q.rtime:10} {q.ctime:10}\n"
        for q in ipc.msg
    )
