"""Resource limits: their numbers and initial values (include/asm-generic/resource.h)."""

from __future__ import annotations

from enum import IntEnum

INFINITY = 0xFFFF_FFFF_FFFF_FFFF
#: RLIMIT_NOFILE of a first process, soft and hard, and how high it can be made (/proc/sys/fs/nr_open).
INR_OPEN_CUR, INR_OPEN_MAX, NR_OPEN = 1024, 1 << 14, 1 << 20


class Rlimit(IntEnum):
    """RLIMIT_*."""

    CPU = 0
    FSIZE = 1
    DATA = 2
    STACK = 3
    CORE = 4
    RSS = 5
    NPROC = 6
    NOFILE = 7
    MEMLOCK = 8
    AS = 9
    LOCKS = 10
    SIGPENDING = 11
    MSGQUEUE = 12
    NICE = 13
    RTPRIO = 14
    RTTIME = 15


_MLOCK_LIMIT = 8 << 20
#: (soft, hard) of a first process, where not infinite.
INIT_RLIMITS = {
    Rlimit.STACK: (8 << 20, INFINITY),
    Rlimit.CORE: (0, INFINITY),
    Rlimit.NPROC: (4096, 4096),
    Rlimit.NOFILE: (INR_OPEN_CUR, INR_OPEN_MAX),
    Rlimit.MEMLOCK: (_MLOCK_LIMIT, _MLOCK_LIMIT),
    Rlimit.SIGPENDING: (4096, 4096),
    Rlimit.MSGQUEUE: (819200, 819200),
    Rlimit.NICE: (0, 0),
    Rlimit.RTPRIO: (0, 0),
}
