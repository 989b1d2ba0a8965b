/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What these programs use of the x86-64 Linux ABI: numbers, flags, structures
 * and one wrapper a system call. No libc and no kernel header is needed.
 *
 * A wrapper sys_NAME() is the bare system call: it returns what the kernel
 * returned, so an error is a small negative number, -ENOENT for example, and
 * never a global variable.
 */
#ifndef GUEST_LINUX_H
#define GUEST_LINUX_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef unsigned long size_t;

#define NULL ((void *)0)
#define PAGE_SIZE 4096UL

/* ---- system call numbers (arch/x86/entry/syscalls/syscall_64.tbl) ---- */

#define __NR_read 0
#define __NR_write 1
#define __NR_open 2
#define __NR_close 3
#define __NR_fstat 5
#define __NR_mmap 9
#define __NR_mprotect 10
#define __NR_munmap 11
#define __NR_brk 12
#define __NR_rt_sigaction 13
#define __NR_rt_sigprocmask 14
#define __NR_rt_sigreturn 15
#define __NR_ioctl 16
#define __NR_pread64 17
#define __NR_sched_yield 24
#define __NR_dup2 33
#define __NR_pause 34
#define __NR_getpid 39
#define __NR_fork 57
#define __NR_execve 59
#define __NR_wait4 61
#define __NR_kill 62
#define __NR_fcntl 72
#define __NR_ftruncate 77
#define __NR_unlink 87
#define __NR_getuid 102
#define __NR_sigaltstack 131
#define __NR_exit_group 231
#define __NR_pipe2 293

/* ---- errors, as X(NAME, number), so that they can be printed by name ---- */

#define GUEST_ERRNOS(X)                                                                          \
	X(EPERM, 1) X(ENOENT, 2) X(ESRCH, 3) X(EINTR, 4) X(EIO, 5) X(ENXIO, 6) X(E2BIG, 7)       \
	X(ENOEXEC, 8) X(EBADF, 9) X(ECHILD, 10) X(EAGAIN, 11) X(ENOMEM, 12) X(EACCES, 13)        \
	X(EFAULT, 14) X(EBUSY, 16) X(EEXIST, 17) X(EXDEV, 18) X(ENODEV, 19) X(ENOTDIR, 20)       \
	X(EISDIR, 21) X(EINVAL, 22) X(ENFILE, 23) X(EMFILE, 24) X(ENOTTY, 25) X(ETXTBSY, 26)     \
	X(EFBIG, 27) X(ENOSPC, 28) X(ESPIPE, 29) X(EROFS, 30) X(EMLINK, 31) X(EPIPE, 32)         \
	X(ERANGE, 34) X(ENAMETOOLONG, 36) X(ENOSYS, 38) X(ENOTEMPTY, 39) X(ELOOP, 40)            \
	X(EOVERFLOW, 75) X(EOPNOTSUPP, 95) X(ETIMEDOUT, 110) X(EOWNERDEAD, 130)

#define GUEST_ENUM(name, number) name = number,
enum { GUEST_ERRNOS(GUEST_ENUM) };

/* ---- files ---- */

#define O_RDONLY 0
#define O_RDWR 2
#define O_CREAT 0100
#define O_EXCL 0200
#define O_NONBLOCK 04000
#define O_CLOEXEC 02000000
#define F_GETFD 1
#define F_SETFD 2
#define FD_CLOEXEC 1

struct stat {
	u64 st_dev, st_ino, st_nlink;
	u32 st_mode, st_uid, st_gid, pad;
	u64 st_rdev;
	long st_size, st_blksize, st_blocks;
	u64 times[6];
	long reserved[3];
};
_Static_assert(sizeof(struct stat) == 144, "struct stat of x86-64");

/* ---- memory ---- */

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4

#define MAP_SHARED 0x01
#define MAP_PRIVATE 0x02
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_NORESERVE 0x4000

/* ---- signals ---- */

#define GUEST_SIGNALS(X)                                                                         \
	X(SIGHUP, 1) X(SIGINT, 2) X(SIGQUIT, 3) X(SIGILL, 4) X(SIGTRAP, 5) X(SIGABRT, 6)         \
	X(SIGBUS, 7) X(SIGFPE, 8) X(SIGKILL, 9) X(SIGUSR1, 10) X(SIGSEGV, 11) X(SIGUSR2, 12)     \
	X(SIGPIPE, 13) X(SIGALRM, 14) X(SIGTERM, 15) X(SIGCHLD, 17)

enum { GUEST_SIGNALS(GUEST_ENUM) };

#define SIGNAL_BIT(signo) (1UL << ((signo) - 1))
#define SIG_DFL ((void *)0)
#define SIG_IGN ((void *)1)

#define SA_SIGINFO 0x00000004UL
#define SA_RESTORER 0x04000000UL
#define SA_ONSTACK 0x08000000UL
#define SA_NODEFER 0x40000000UL

#define SS_DISABLE 2

#define SIG_BLOCK 0
#define SIG_UNBLOCK 1

#define SI_KERNEL 0x80
#define ILL_ILLOPN 2
#define FPE_INTDIV 1
#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define BUS_ADRERR 2

struct sigaction {
	void *handler;
	u64 flags;
	void *restorer; /* the kernel returns from a handler through this; see guest_restorer */
	u64 mask;
};

struct siginfo {
	int signo, error, code, pad;
	u64 address; /* of a fault signal; other signals keep other things here */
	u64 rest[13];
};
_Static_assert(sizeof(struct siginfo) == 128, "siginfo_t of x86-64");

struct sigstack {
	void *base;
	int flags;
	size_t size;
};

/* The registers that a handler sees, and may change: they are loaded again when it returns. */
struct ucontext {
	u64 flags;
	struct ucontext *link;
	struct sigstack stack;
	u64 r8, r9, r10, r11, r12, r13, r14, r15;
	u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 error, trap, oldmask, cr2; /* of the exception that made the signal */
	void *fpstate;
	u64 reserved[8];
	u64 mask; /* the signal mask before the handler, and again after it */
};

/* ---- processes ---- */

#define WNOHANG 1

#define AT_NULL 0
#define AT_PHDR 3
#define AT_PHENT 4
#define AT_PHNUM 5
#define AT_PAGESZ 6
#define AT_ENTRY 9
#define AT_UID 11
#define AT_SECURE 23
#define AT_RANDOM 25
#define AT_EXECFN 31

/* ---- the system calls ---- */

static inline long syscall6(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	long result;
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static inline long syscall3(long number, u64 a, u64 b, u64 c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

/* The last 4095 values stand for an error; this also tells an mmap() error from an address. */
static inline int is_error(long result)
{
	return result < 0 && result > -4096;
}

static inline long sys_read(int fd, void *data, size_t size)
{
	return syscall3(__NR_read, fd, (u64)data, size);
}

static inline long sys_write(int fd, const void *data, size_t size)
{
	return syscall3(__NR_write, fd, (u64)data, size);
}

static inline long sys_pread(int fd, void *data, size_t size, u64 offset)
{
	return syscall6(__NR_pread64, fd, (u64)data, size, offset, 0, 0);
}

static inline long sys_open(const char *path, int flags, int mode)
{
	return syscall3(__NR_open, (u64)path, flags, mode);
}

static inline long sys_close(int fd)
{
	return syscall3(__NR_close, fd, 0, 0);
}

static inline long sys_fstat(int fd, struct stat *stat)
{
	return syscall3(__NR_fstat, fd, (u64)stat, 0);
}

static inline long sys_ftruncate(int fd, u64 size)
{
	return syscall3(__NR_ftruncate, fd, size, 0);
}

static inline long sys_unlink(const char *path)
{
	return syscall3(__NR_unlink, (u64)path, 0, 0);
}

static inline long sys_ioctl(int fd, u64 command, const void *argument)
{
	return syscall3(__NR_ioctl, fd, command, (u64)argument);
}

static inline long sys_fcntl(int fd, int command, u64 argument)
{
	return syscall3(__NR_fcntl, fd, command, argument);
}

static inline long sys_pipe2(int fds[2], int flags)
{
	return syscall3(__NR_pipe2, (u64)fds, flags, 0);
}

static inline long sys_dup2(int from, int to)
{
	return syscall3(__NR_dup2, from, to, 0);
}

static inline long sys_mmap(u64 address, size_t size, int prot, int flags, int fd, u64 offset)
{
	return syscall6(__NR_mmap, address, size, prot, flags, (u64)(long)fd, offset);
}

static inline long sys_munmap(u64 address, size_t size)
{
	return syscall3(__NR_munmap, address, size, 0);
}

static inline long sys_mprotect(u64 address, size_t size, int prot)
{
	return syscall3(__NR_mprotect, address, size, prot);
}

static inline u64 sys_brk(u64 end)
{
	return syscall3(__NR_brk, end, 0, 0);
}

static inline long sys_sched_yield(void)
{
	return syscall3(__NR_sched_yield, 0, 0, 0);
}

static inline long sys_getpid(void)
{
	return syscall3(__NR_getpid, 0, 0, 0);
}

static inline long sys_getuid(void)
{
	return syscall3(__NR_getuid, 0, 0, 0);
}

static inline long sys_fork(void)
{
	return syscall3(__NR_fork, 0, 0, 0);
}

static inline long sys_execve(const char *path, char **argv, char **envp)
{
	return syscall3(__NR_execve, (u64)path, (u64)argv, (u64)envp);
}

static inline long sys_wait4(long pid, int *status, int options)
{
	return syscall6(__NR_wait4, pid, (u64)status, options, 0, 0, 0);
}

static inline long sys_kill(long pid, int signo)
{
	return syscall3(__NR_kill, pid, signo, 0);
}

static inline long sys_pause(void)
{
	return syscall3(__NR_pause, 0, 0, 0);
}

static inline long sys_rt_sigaction(int signo, const struct sigaction *new, struct sigaction *old)
{
	return syscall6(__NR_rt_sigaction, signo, (u64)new, (u64)old, sizeof(u64), 0, 0);
}

static inline long sys_rt_sigprocmask(int how, const u64 *new, u64 *old)
{
	return syscall6(__NR_rt_sigprocmask, how, (u64)new, (u64)old, sizeof(u64), 0, 0);
}

static inline long sys_sigaltstack(const struct sigstack *new, struct sigstack *old)
{
	return syscall3(__NR_sigaltstack, (u64)new, (u64)old, 0);
}

__attribute__((noreturn)) static inline void sys_exit_group(int status)
{
	for (;;)
		syscall3(__NR_exit_group, status, 0, 0);
}

#endif
