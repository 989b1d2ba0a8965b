"""/proc/config.gz: the options of a Linux kernel that has what this machine has (init/Kconfig and others)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from emu.linux.version import RELEASE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

#: Options that hold of every machine.
_YES = (
    "64BIT", "X86_64", "X86", "MMU", "CC_IS_GCC", "MULTIUSER", "PRINTK", "BUG", "ELF_CORE", "BINFMT_ELF",
    "BINFMT_SCRIPT", "COREDUMP", "SYSCTL", "PROC_FS", "PROC_SYSCTL", "PROC_PAGE_MONITOR", "PROC_CHILDREN", "SYSFS",
    "TMPFS", "TMPFS_XATTR", "TMPFS_POSIX_ACL", "FS_POSIX_ACL", "SHMEM", "DEVTMPFS", "DEBUG_FS", "HUGETLBFS",
    "HUGETLB_PAGE", "FILE_LOCKING", "INOTIFY_USER", "DNOTIFY", "FSNOTIFY", "UNIX98_PTYS", "TTY", "BASE_FULL",
    "FUTEX", "EPOLL", "EVENTFD", "SIGNALFD", "TIMERFD", "POSIX_TIMERS", "HIGH_RES_TIMERS", "NO_HZ_IDLE", "HZ_250",
    "SYSVIPC", "SYSVIPC_SYSCTL", "POSIX_MQUEUE_SYSCTL", "NET", "UNIX", "INET", "IPV6", "PACKET_DIAG",
    "ADVISE_SYSCALLS", "MEMBARRIER", "CHECKPOINT_RESTORE", "KALLSYMS", "SYSFS_SYSCALL", "SYSCTL_SYSCALL",
    "X86_VSYSCALL_EMULATION", "LEGACY_VSYSCALL_XONLY", "ARCH_USES_HIGH_VMA_FLAGS", "EXPERT", "IKCONFIG",
    "IKCONFIG_PROC", "PREEMPT", "CGROUPS", "CGROUP_PIDS", "MEMCG",
    "TRANSPARENT_HUGEPAGE", "TRANSPARENT_HUGEPAGE_MADVISE", "COMPACTION",
)  # fmt: skip
#: Options that go with a system call.
_BY_CALL = {
    "AIO": "io_setup", "POSIX_MQUEUE": "mq_open", "FHANDLE": "open_by_handle_at", "KEYS": "keyctl",
    "CROSS_MEMORY_ATTACH": "process_vm_readv", "KCMP": "kcmp", "RSEQ": "rseq", "SECCOMP": "seccomp",
    "SECCOMP_FILTER": "seccomp", "FANOTIFY": "fanotify_init", "IO_URING": "io_uring_setup",
    "USERFAULTFD": "userfaultfd",
    "BPF_SYSCALL": "bpf", "PERF_EVENTS": "perf_event_open", "MODULES": "init_module", "KEXEC": "kexec_load",
    "KEXEC_FILE": "kexec_file_load", "X86_IOPL_IOPERM": "iopl",
    "QUOTA": "quotactl", "SWAP": "swapon", "BSD_PROCESS_ACCT": "acct", "MEMFD_CREATE": "memfd_create",
    "SECRETMEM": "memfd_secret", "PROCESS_MADVISE": "process_madvise", "FUTEX_PI": "futex_waitv", "NUMA": "mbind",
    "MIGRATION": "move_pages",
    "MODIFY_LDT_SYSCALL": "modify_ldt", "SECURITY_LANDLOCK": "landlock_create_ruleset",
    "SECURITY": "lsm_list_modules", "SECURITY_NETWORK": "lsm_list_modules", "SECURITY_PATH": "lsm_list_modules",
}  # fmt: skip
_NO = (
    "NAMESPACES", "UTS_NS", "TIME_NS", "IPC_NS", "USER_NS", "PID_NS", "NET_NS", "CPUSETS",
    "KSM", "ZSWAP", "AUDIT", "SECURITY_SELINUX", "EXT4_FS", "XFS_FS", "BTRFS_FS",
    "OVERLAY_FS", "FUSE_FS", "BLK_DEV_LOOP", "MEMORY_FAILURE", "WATCH_QUEUE", "TUN",
    "VETH", "DUMMY", "TLS", "VSOCKETS", "CRYPTO_USER_API", "RTC_CLASS", "FTRACE", "KPROBES",
    "DEBUG_KERNEL", "KASAN", "IA32_EMULATION", "X86_X32_ABI",
)  # fmt: skip


def config(kernel: Kernel) -> bytes:
    """The text."""
    calls = {call.name for call in kernel.entry.calls()}
    yes = {*_YES} | {option for option, call in _BY_CALL.items() if call in calls}
    no = {*_NO} | (_BY_CALL.keys() - yes)
    if kernel.cpus > 1:
        yes.add("SMP")
    lines = [f"#\n# Linux/x86 {RELEASE} Kernel Configuration\n#"]
    lines += [f"CONFIG_{name}=y" for name in sorted(yes)]
    lines += [
        f'CONFIG_HZ=250\nCONFIG_NR_CPUS={kernel.cpus}\nCONFIG_DEFAULT_HOSTNAME="{kernel.namespaces.initial.uts.hostname}"'
    ]
    lines += [f"# CONFIG_{name} is not set" for name in sorted(no - yes)]
    return ("\n".join(lines) + "\n").encode()


def config_gz(kernel: Kernel) -> bytes:
    """/proc/config.gz."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # without the time that gzip.compress() puts in
    return packer.compress(config(kernel)) + packer.flush()
