"""System calls: one module for each subject, with a table of handlers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.linux.syscall import Syscall

#: The subjects, and the numbers of the calls that each has a row for.
NUMBERS: dict[str, tuple[int, ...]] = {
    "openclose": (2, 3, 22, 85, 257, 293, 319, 436),
    "files": (0, 1, 8, *range(17, 21), 40, 295, 296, *range(326, 329)),
    "fcntl": (72,),
    "fdctl": (16, 32, 33, *range(73, 78), 162, 187, 221, 285, 292, 306),
    "poll": (7, 23, 270, 271),
    "memory": (*range(9, 13), 25, 216, *range(329, 332), 462),
    "futex": (202, 273, 274),
    "limits": (97, 160, 302),
    "process": (24, 39, *range(56, 61), 98, 158, 186, 203, 204, 218, 231, 309, 435),
    "rseq": (334,),
    "wait": (61, 247),
    "sessions": (*range(109, 113), 121, 124),
    "identity": (102, *range(104, 109), *range(113, 121), 122, 123),
    "signals": (*range(13, 16), 34, 62, 127, 128, 130, 131, 200, 234),
    "system": (63, 99, 318),
    "swap": (167, 168),
    "times": (35, 96, 201, *range(228, 231)),
    "prctl": (157,),
    "attributes": (*range(4, 7), 21, *range(90, 95), 132, 235, *range(260, 263), 268, 269, 280, 332, 439, 452),
    "directories": (78, 137, 138, 217),
    "mounts": (155, 165, 166),
    "fsmount": (*range(428, 434), 442, 467),
    "naming": (*range(79, 85), *range(86, 90), 95, 133, 161, 258, 259, *range(263, 268), 316),
    "residence": (*range(26, 29), *range(149, 153), 325),
    "mempolicy": (*range(237, 240), 256, 279, 450),
    "backing": (447, 451, 453),
    "userfaultfd": (323,),
    "eventpoll": (213, 232, 233, 281, 284, 290, 291, 441),
    "timers": (*range(36, 39), 100, *range(222, 227), 283, 286, 287),
    "queued": (129, 282, 289, 297),
    "pidfd": (424, 434, 438),
    "inotify": (*range(253, 256), 294),
    "sockets": (*range(41, 44), *range(48, 54), 288),
    "sockopt": (54, 55),
    "messages": (*range(44, 48), 299, 307),
    "sysv": (*range(29, 32), *range(64, 72), 220),
    "mqueue": (*range(240, 246),),
    "aio": (*range(206, 211), 333),
    "splice": (*range(275, 278),),
    "lookup": (322, 437),
    "handles": (303, 304),
    "fileattr": (468, 469),
    "keys": (*range(248, 251),),
    "filesystems": (136, 139, 179, 443),
    "statmount": (457, 458),
    "xattr": (*range(188, 200), *range(463, 467)),
    "scheduling": (*range(140, 149), 251, 252, 314, 315),
    "privileges": (103, 125, 126, 135, 153, 163, *range(169, 172), 312, 324),
    "namespaces": (272, 308),
    "seccomp": (317,),
    "remote": (278, 310, 311, 440, 448),
    "clockset": (159, 164, 227, 305),
    "futex2": (449, *range(454, 457)),
    "ptrace": (101, 219),
    "ldt": (154,),
    "lsm": (*range(459, 462),),
    "bpf": (321,),
    "perf": (298,),
    "fanotify": (300, 301),
    "landlock": (*range(444, 447),),
    "uring": (425, 426),
    "uringregister": (427,),
}  # fmt: skip


def table_of(subject: str) -> tuple[Syscall, ...]:
    """The rows of a subject, whose module is imported now."""
    table: tuple[Syscall, ...] = import_module(f"emu.syscalls.{subject}").TABLE
    return table


def all_tables() -> Iterator[tuple[Syscall, ...]]:
    """The tables of every subject."""
    return map(table_of, NUMBERS)


@functools.cache
def late_tables() -> Mapping[int, Callable[[], tuple[Syscall, ...]]]:
    """By the number of each system call, what gives the table that has it: most programs ask for few subjects."""
    return {number: partial(table_of, subject) for subject, numbers in NUMBERS.items() for number in numbers}
