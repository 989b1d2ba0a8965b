"""What the kernel's work costs in guest time, besides the nanosecond of each instruction: the one table of it.

The numbers are those of a Linux 6.18 on a Xeon (Sapphire Rapids), rounded: loops around each call, the best of seven.
``docs/time.md`` has the table, made from here.
"""

from __future__ import annotations


class Cost:
    """Nanoseconds."""

    CALL = 75
    KIBIBYTE = 32
    FAULT = 500
    PAGE = 250
    HUGE_PAGE = 60_000
    MAPPED = 30
    ADDRESS_SPACE = 15_000
    TRAP = 300
    SIGNAL = 500
    SWITCH = 350
    WAKE = 350
    IDLE = 1_000
    POLLED = 20
    RDTSC = 20


#: What each of them stands for.
MEANING = (
    (Cost.CALL, "a system call: into the kernel and back"),
    (Cost.KIBIBYTE, "each KiB that a call of the read and write kind moves"),
    (Cost.POLLED, "each descriptor that poll or select looks at"),
    (Cost.FAULT, "a page fault that is resolved, the kernel's own on user memory included"),
    (Cost.PAGE, "a page that is filled with zeros or copied for it"),
    (Cost.HUGE_PAGE, "a page of 2 MiB that is filled with zeros or copied"),
    (Cost.MAPPED, "each page that is unmapped, that fork maps in the child, or of which mprotect changes the rights"),
    (Cost.ADDRESS_SPACE, "a new address space: fork without CLONE_VM"),
    (Cost.TRAP, "an exception that becomes a signal"),
    (Cost.SIGNAL, "a handler that is entered: its frame"),
    (Cost.SWITCH, "another task on a vCPU"),
    (Cost.WAKE, "a call that goes on after it has slept"),
    (Cost.IDLE, "an idle machine that a timer wakes: it is so much later"),
    (Cost.RDTSC, "RDTSC or RDTSCP"),
)
_PATH = (
    "access faccessat faccessat2 stat lstat newfstatat statx readlink readlinkat chdir chmod fchmodat chown lchown "
    "fchownat utime utimes utimensat futimesat truncate statfs getxattr lgetxattr listxattr llistxattr "
    "inotify_add_watch name_to_handle_at"
)
_NEW_NAME = (
    "creat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat "
    "setxattr lsetxattr removexattr lremovexattr mount umount2 pivot_root chroot"
)
_DATA = (
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 sendfile splice tee vmsplice getdents "
    "getdents64 copy_file_range clock_gettime clock_getres gettimeofday futex epoll_ctl poll ppoll select pselect6 "
    "epoll_wait epoll_pwait epoll_pwait2 fstat getcwd uname getrandom sched_yield"
)
_SOCKET = (
    "sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg accept accept4 connect bind listen shutdown msgsnd msgrcv semop "
    "semtimedop mq_timedsend mq_timedreceive kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal "
    "rt_sigreturn timer_create timer_delete timer_settime timerfd_settime setitimer nanosleep clock_nanosleep"
)
_NEW_FILE = (
    "open openat openat2 pipe pipe2 eventfd eventfd2 epoll_create epoll_create1 timerfd_create signalfd signalfd4 "
    "memfd_create inotify_init inotify_init1 pidfd_open open_by_handle_at shmget semget msgget mq_open"
)
_MEMORY = "mmap munmap brk mremap madvise process_madvise shmat shmdt mlock mlock2 munlock msync"
#: What calls take besides :attr:`Cost.CALL`, in ns, by their names; those that are not here take nothing more.
CALLS = {
    50: _DATA.split(),
    200: (*_PATH.split(), *_SOCKET.split()),
    400: (*_NEW_FILE.split(), "wait4", "waitid", "ptrace", "process_vm_readv", "process_vm_writev"),
    500: _MEMORY.split(),
    1_000: ("socket", "socketpair", "mprotect", "pkey_mprotect"),
    1_500: _NEW_NAME.split(),
    3_000: ("exit", "exit_group"),
    4_000: ("clone", "clone3", "fork", "vfork"),
    30_000: ("execve", "execveat"),
}


def costs_of_calls() -> dict[str, int]:
    """What a call takes besides :attr:`Cost.CALL`, by its name."""
    return {name: ns for ns, names in CALLS.items() for name in names}


#: A byte that is moved takes this part of a nanosecond (as a shift): :attr:`Cost.KIBIBYTE`.
BYTE_SHIFT = 5


def table() -> str:
    """The table of ``docs/time.md``."""
    rows = [(f"{ns:,}", meaning) for ns, meaning in MEANING]
    rows += [(f"+ {ns:,}", ", ".join(sorted(names))) for ns, names in CALLS.items()]
    return "".join(f"| {ns} | {what} |\n" for ns, what in (("ns", "what"), ("---:", "---"), *rows))


if __name__ == "__main__":
    print(table(), end="")
