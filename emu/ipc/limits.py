"""The limits of System V IPC, as the kernel has them without a sysctl (include/uapi/linux/{shm,sem,msg}.h), and those
of POSIX message queues (include/linux/ipc_namespace.h).
"""

from __future__ import annotations

#: Segments: how many, and of how many bytes; all of them, in pages.
SHMMNI, SHMMIN = 4096, 1
SHMMAX = SHMALL = (1 << 64) - 1 - (1 << 24)
#: Semaphores: in a set, operations in a call, sets, the largest value, semaphores in all.
SEMMSL, SEMOPM, SEMMNI, SEMVMX = 32000, 500, 32000, 32767
SEMMNS = SEMMSL * SEMMNI
#: Messages: queues, bytes in a message, bytes in a queue.
MSGMNI, MSGMAX, MSGMNB = 32000, 8192, 16384

#: POSIX message queues: priorities, and what nobody may go beyond.
MQ_PRIO_MAX, HARD_MSGMAX, HARD_MSGSIZEMAX = 32768, 65536, 16 << 20
MIN_MSGMAX, MIN_MSGSIZEMAX = 1, 128


class MqueueLimits:
    """/proc/sys/fs/mqueue: messages in a queue, bytes in a message, queues; the first two of queues whose maker says
    nothing.
    """

    def __init__(self) -> None:
        self.msg_max = self.msg_default = 10
        self.msgsize_max = self.msgsize_default = 8192
        self.queues_max = 256
