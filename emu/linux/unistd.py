"""The numbers of those system calls that the kernel itself knows, below the tables of emu/syscalls (asm/unistd_64.h).

Plain integers, since native code has them as constants.
"""

NR_READ, NR_WRITE, NR_LSEEK = 0, 1, 8
NR_MMAP, NR_MPROTECT, NR_MUNMAP = 9, 10, 11
NR_RT_SIGPROCMASK, NR_RT_SIGRETURN, NR_KILL = 14, 15, 62
NR_GETPID, NR_GETPPID, NR_GETPGRP, NR_GETTID = 39, 110, 111, 186
NR_GETUID, NR_GETGID, NR_GETEUID, NR_GETEGID = 102, 104, 107, 108
NR_CLONE, NR_EXIT, NR_EXIT_GROUP = 56, 60, 231
NR_GETTIMEOFDAY, NR_TIME, NR_CLOCK_GETTIME, NR_CLOCK_GETRES = 96, 201, 228, 229
NR_FUTEX, NR_RESTART_SYSCALL = 202, 219
