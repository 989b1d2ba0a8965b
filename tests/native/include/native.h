/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All that a guest in tests/native/guests stands on. Types and constants are
 * those of the system's headers; no library is linked, so that a built guest
 * has 3 to 6 KB. A guest is one file that includes this and defines main().
 *
 *   SHOW(open, "a", O_RDONLY)   makes the call and prints: open("a", O_RDONLY) = ENOENT
 *   DO(fork)                    the same for a result that differs from run to run: fork() = ok
 *   MUST(open, "a", O_RDONLY)   prints nothing, but ends the guest if the call fails
 *   SYS(open, "a", O_RDONLY)    prints nothing
 *
 * The result of each is the kernel's: an error is a small negative number,
 * -ENOENT for example. There is no errno.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "numbers.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long u64;

#define PAGE 4096UL
#define UNUSED __attribute__((unused))
/* An address of user space at which there is never anything. */
#define NOWHERE ((void *)16)
/* How many elements an array has. */
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

int main(); /* (void), or (int argc, char **argv, char **envp) */

/* ---- system calls ---- */

UNUSED static long system_call(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define NATIVE_SYS1(n) system_call(__NR_##n, 0, 0, 0, 0, 0, 0)
#define NATIVE_SYS2(n, a) system_call(__NR_##n, (long)(a), 0, 0, 0, 0, 0)
#define NATIVE_SYS3(n, a, b) system_call(__NR_##n, (long)(a), (long)(b), 0, 0, 0, 0)
#define NATIVE_SYS4(n, a, b, c) system_call(__NR_##n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define NATIVE_SYS5(n, a, b, c, d)                                                               \
	system_call(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define NATIVE_SYS6(n, a, b, c, d, e)                                                            \
	system_call(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define NATIVE_SYS7(n, a, b, c, d, e, f)                                                         \
	system_call(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define NATIVE_PICK(a, b, c, d, e, f, g, chosen, ...) chosen

/* SYS(name, ...): the bare call; arguments that are not given are 0. */
#define SYS(...)                                                                                 \
	NATIVE_PICK(__VA_ARGS__, NATIVE_SYS7, NATIVE_SYS6, NATIVE_SYS5, NATIVE_SYS4, NATIVE_SYS3, \
		    NATIVE_SYS2, NATIVE_SYS1, )(__VA_ARGS__)
/* The call and its result, printed. */
#define SHOW(name, ...) show(#name "(" #__VA_ARGS__ ")", SYS(name, ##__VA_ARGS__))
/* The call, and "ok" or its error. */
#define DO(name, ...) show_if_ok(#name "(" #__VA_ARGS__ ")", SYS(name, ##__VA_ARGS__))
/* A call that must succeed; printed only if it does not. */
#define MUST(name, ...) must(#name "(" #__VA_ARGS__ ")", SYS(name, ##__VA_ARGS__))
/* The same two for a value of the guest's own: SAY(x) prints "x = 3". */
#define SAY(value) show(#value, (long)(value))

__attribute__((noreturn, unused)) static void leave(int status)
{
	for (;;)
		SYS(exit_group, status);
}

/* ---- memory and strings; the compiler itself may call the first four ---- */

UNUSED void *memcpy(void *to, const void *from, size_t size)
{
	void *result = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return result;
}

UNUSED void *memset(void *to, int byte, size_t size)
{
	void *result = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
	return result;
}

UNUSED int memcmp(const void *a, const void *b, size_t size)
{
	const u8 *p = a, *q = b;

	for (; size; size--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

UNUSED size_t strlen(const char *text)
{
	size_t length = 0;

	for (; text[length]; length++)
		__asm__ volatile(""); /* or the compiler makes this a call of strlen */
	return length;
}

UNUSED static int same(const char *a, const char *b)
{
	return strlen(a) == strlen(b) && !memcmp(a, b, strlen(a));
}

/* ---- printing ---- */

struct native_text {
	int fd;
	u32 used;
	char text[1024];
};

static void native_flush(struct native_text *out)
{
	u32 done = 0;

	while (done < out->used) {
		long n = SYS(write, out->fd, out->text + done, out->used - done);

		if (n <= 0)
			break; /* nowhere left to complain */
		done += n;
	}
	out->used = 0;
}

static void native_char(struct native_text *out, char c)
{
	if (out->used == sizeof(out->text))
		native_flush(out);
	out->text[out->used++] = c;
}

static void native_number(struct native_text *out, u64 value, u32 base)
{
	char digits[24];
	int n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	while (n)
		native_char(out, digits[--n]);
}

/* Knows %s %c %d %u %x %o, each with l or without, and %%. */
static void native_format(struct native_text *out, const char *format, __builtin_va_list values)
{
	for (; *format; format++) {
		int is_long;
		long number;

		if (*format != '%') {
			native_char(out, *format);
			continue;
		}
		is_long = *++format == 'l';
		format += is_long;
		if (*format == 's') {
			for (const char *text = __builtin_va_arg(values, const char *); *text; text++)
				native_char(out, *text);
			continue;
		}
		if (*format == '%') {
			native_char(out, '%');
			continue;
		}
		number = is_long ? __builtin_va_arg(values, long) : __builtin_va_arg(values, int);
		if (*format == 'c') {
			native_char(out, number);
		} else if (*format == 'd') {
			if (number < 0)
				native_char(out, '-');
			native_number(out, number < 0 ? -(u64)number : (u64)number, 10);
		} else {
			native_number(out, is_long ? (u64)number : (u32)number,
				      *format == 'x' ? 16 : *format == 'o' ? 8 : 10);
		}
	}
}

/*
 * One write(2) on standard output, if it fits into 1024 bytes. With WHOLE_LINES, which a guest that prints its lines in
 * many parts defines, one for each line: what a process has begun it must end itself, and threads must not print.
 */
__attribute__((format(printf, 1, 2), unused)) static void print(const char *format, ...)
{
#ifdef WHOLE_LINES
	static struct native_text out;
#else
	struct native_text out;

	out.used = 0;
#endif
	__builtin_va_list values;

	out.fd = 1;
	__builtin_va_start(values, format);
	native_format(&out, format, values);
	__builtin_va_end(values);
#ifdef WHOLE_LINES
	if (out.used && out.text[out.used - 1] != '\n')
		return;
#endif
	native_flush(&out);
}

/* The same on standard error. */
__attribute__((format(printf, 1, 2), unused)) static void complain(const char *format, ...)
{
	struct native_text out;
	__builtin_va_list values;

	out.fd = 2;
	out.used = 0;
	__builtin_va_start(values, format);
	native_format(&out, format, values);
	__builtin_va_end(values);
	native_flush(&out);
}

/* ---- names ---- */

static const char native_errnos[] =
	"\0EPERM\0ENOENT\0ESRCH\0EINTR\0EIO\0ENXIO\0E2BIG\0ENOEXEC\0EBADF\0ECHILD\0EAGAIN\0ENOMEM\0"
	"EACCES\0EFAULT\0ENOTBLK\0EBUSY\0EEXIST\0EXDEV\0ENODEV\0ENOTDIR\0EISDIR\0EINVAL\0ENFILE\0"
	"EMFILE\0ENOTTY\0ETXTBSY\0EFBIG\0ENOSPC\0ESPIPE\0EROFS\0EMLINK\0EPIPE\0EDOM\0ERANGE\0"
	"EDEADLK\0ENAMETOOLONG\0ENOLCK\0ENOSYS\0ENOTEMPTY\0ELOOP\0E41\0ENOMSG\0EIDRM\0ECHRNG\0"
	"EL2NSYNC\0EL3HLT\0EL3RST\0ELNRNG\0EUNATCH\0ENOCSI\0EL2HLT\0EBADE\0EBADR\0EXFULL\0ENOANO\0"
	"EBADRQC\0EBADSLT\0E58\0EBFONT\0ENOSTR\0ENODATA\0ETIME\0ENOSR\0ENONET\0ENOPKG\0EREMOTE\0"
	"ENOLINK\0EADV\0ESRMNT\0ECOMM\0EPROTO\0EMULTIHOP\0EDOTDOT\0EBADMSG\0EOVERFLOW\0ENOTUNIQ\0"
	"EBADFD\0EREMCHG\0ELIBACC\0ELIBBAD\0ELIBSCN\0ELIBMAX\0ELIBEXEC\0EILSEQ\0ERESTART\0ESTRPIPE\0"
	"EUSERS\0ENOTSOCK\0EDESTADDRREQ\0EMSGSIZE\0EPROTOTYPE\0ENOPROTOOPT\0EPROTONOSUPPORT\0"
	"ESOCKTNOSUPPORT\0EOPNOTSUPP\0EPFNOSUPPORT\0EAFNOSUPPORT\0EADDRINUSE\0EADDRNOTAVAIL\0"
	"ENETDOWN\0ENETUNREACH\0ENETRESET\0ECONNABORTED\0ECONNRESET\0ENOBUFS\0EISCONN\0ENOTCONN\0"
	"ESHUTDOWN\0ETOOMANYREFS\0ETIMEDOUT\0ECONNREFUSED\0EHOSTDOWN\0EHOSTUNREACH\0EALREADY\0"
	"EINPROGRESS\0ESTALE\0EUCLEAN\0ENOTNAM\0ENAVAIL\0EISNAM\0EREMOTEIO\0EDQUOT\0ENOMEDIUM\0"
	"EMEDIUMTYPE\0ECANCELED\0ENOKEY\0EKEYEXPIRED\0EKEYREVOKED\0EKEYREJECTED\0EOWNERDEAD\0"
	"ENOTRECOVERABLE\0ERFKILL\0EHWPOISON\0";

static const char native_signals[] =
	"no signal\0SIGHUP\0SIGINT\0SIGQUIT\0SIGILL\0SIGTRAP\0SIGABRT\0SIGBUS\0SIGFPE\0SIGKILL\0"
	"SIGUSR1\0SIGSEGV\0SIGUSR2\0SIGPIPE\0SIGALRM\0SIGTERM\0SIGSTKFLT\0SIGCHLD\0SIGCONT\0"
	"SIGSTOP\0SIGTSTP\0SIGTTIN\0SIGTTOU\0SIGURG\0SIGXCPU\0SIGXFSZ\0SIGVTALRM\0SIGPROF\0"
	"SIGWINCH\0SIGIO\0SIGPWR\0SIGSYS\0";

UNUSED static const char *native_nth(const char *names, u32 size, u32 n)
{
	const char *end = names + size - 1;

	for (; n && names < end; n--)
		names += strlen(names) + 1;
	return names < end ? names : "?";
}

UNUSED static const char *errno_name(int number)
{
	return native_nth(native_errnos, sizeof(native_errnos), number);
}

UNUSED static const char *signal_name(int signo)
{
	return signo >= 32 ? "a real-time signal" : native_nth(native_signals, sizeof(native_signals), signo);
}

/* The last 4095 values stand for an error; this also tells an mmap() error from an address. */
UNUSED static int failed(long result)
{
	return result < 0 && result > -4096;
}

/* "ok", or the name of the error. */
UNUSED static const char *result_name(long result)
{
	return failed(result) ? errno_name(-result) : "ok";
}

UNUSED static long show(const char *what, long result)
{
	if (failed(result))
		print("%s = %s\n", what, errno_name(-result));
	else
		print("%s = %ld\n", what, result);
	return result;
}

UNUSED static long show_if_ok(const char *what, long result)
{
	print("%s = %s\n", what, result_name(result));
	return result;
}

UNUSED static long must(const char *what, long result)
{
	if (failed(result)) {
		complain("%s = %s\n", what, errno_name(-result));
		leave(1);
	}
	return result;
}

/* ---- what many guests do ---- */

/* A new file with this text. */
UNUSED static void put(const char *path, const char *text)
{
	int fd = MUST(open, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	MUST(write, fd, text, strlen(text));
	MUST(close, fd);
}

/* Prints what is in a file, up to 512 bytes. */
UNUSED static void cat(const char *path)
{
	char text[513];
	int fd = MUST(open, path, O_RDONLY);
	long n = MUST(read, fd, text, sizeof(text) - 1);

	text[n] = 0;
	print("%s: %s\n", path, text);
	MUST(close, fd);
}

/* Fresh zero memory, MAP_PRIVATE or MAP_SHARED, readable and writable. */
UNUSED static void *anonymous(size_t size, int flags)
{
	return (void *)MUST(mmap, 0, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
}

/* Waits for a child and prints how it ended: "child: exit 3". */
UNUSED static void reap(long pid)
{
	int status = 0;

	MUST(wait4, pid, &status, 0, 0);
	if (WIFSIGNALED(status))
		print("child: killed by %s\n", signal_name(WTERMSIG(status)));
	else
		print("child: exit %d\n", WEXITSTATUS(status));
}

/* From root to this user and group, with no other groups and no way back. */
UNUSED static void become(u32 uid)
{
	MUST(setgroups, 0, 0);
	MUST(setresgid, uid, uid, uid);
	MUST(setresuid, uid, uid, uid);
}

/* The same numbers on each run: 0 to below - 1. Another SEED gives others. */
#ifndef SEED
#define SEED 1
#endif
UNUSED static u32 chance(u32 below)
{
	static u64 state = SEED;

	state = state * 6364136223846793005UL + 1442695040888963407UL;
	return (state >> 33) % below;
}

UNUSED static void sleep_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	while (SYS(nanosleep, &time, &time) == -EINTR)
		;
}

/* ---- signals ---- */

#define SIGNAL_BIT(signo) (1UL << ((signo) - 1))
#define SA_RESTORER 0x04000000UL
#define SIGSET_SIZE sizeof(u64)

/* struct sigaction as the kernel has it. */
struct kernel_sigaction {
	void *handler;
	u64 flags;
	void (*restorer)(void); /* the kernel returns from a handler through this */
	u64 mask;
};

void native_restorer(void) __attribute__((visibility("hidden")));
__asm__(".section .text.native_restorer, \"ax\"\n"
	".globl native_restorer\n"
	".hidden native_restorer\n"
	".type native_restorer, @function\n"
	"native_restorer:\n"
	"	mov $15, %eax\n" /* __NR_rt_sigreturn */
	"	syscall\n"
	"	ud2\n"
	".size native_restorer, . - native_restorer\n"
	".text\n");

/* Has handler(signo[, siginfo_t *, ucontext_t *]) called. */
UNUSED static void handle(int signo, void *handler, u64 flags)
{
	struct kernel_sigaction action = { handler, flags | SA_RESTORER, native_restorer, 0 };

	MUST(rt_sigaction, signo, &action, NULL, SIGSET_SIZE);
}

/* A child that sends this process a signal every 30 ms, until end_child(). */
UNUSED static long signals_from_a_child(int signo)
{
	long me = SYS(getpid), pid = MUST(fork);

	if (pid)
		return pid;
	for (;;) {
		sleep_ms(30);
		MUST(kill, me, signo);
	}
}

/* Ends a child, and says nothing. */
UNUSED static void end_child(long pid)
{
	MUST(kill, pid, SIGKILL);
	while (SYS(wait4, pid, NULL, 0, NULL) == -EINTR)
		;
}

/* Blocks these signals (SIGNAL_BIT() | ...) and no others. */
UNUSED static void block_only(u64 mask)
{
	MUST(rt_sigprocmask, SIG_SETMASK, &mask, NULL, SIGSET_SIZE);
}

/* ---- threads ---- */

#define THREAD_STACK (64UL << 10)

long native_clone(u64 flags, void *stack, volatile int *parent_tid, volatile int *child_tid);
__asm__(".section .text.native_clone, \"ax\"\n"
	".globl native_clone\n"
	".hidden native_clone\n"
	"native_clone:\n"
	"	mov %rcx, %r10\n"
	"	xor %r8d, %r8d\n"
	"	mov $56, %eax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jnz 1f\n"
	"	xor %ebp, %ebp\n"
	"	pop %rax\n"
	"	pop %rdi\n"
	"	call *%rax\n"
	"	mov %eax, %edi\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	"1:	ret\n"
	".text\n");

/* A thread that runs function(argument); *tid is 0 again when it has ended. The result is its number. */
UNUSED static long thread(int (*function)(u64), u64 argument, volatile int *tid)
{
	u64 *stack = anonymous(THREAD_STACK, MAP_PRIVATE);

	stack += THREAD_STACK / sizeof(*stack);
	*--stack = argument;
	*--stack = (u64)function;
	*tid = -1; /* the kernel writes it before the thread runs */
	return must("clone", native_clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
						  CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
					  stack, tid, tid));
}

/* Waits for a thread's end. */
UNUSED static void join(volatile int *tid)
{
	int now;

	while ((now = *tid))
		SYS(futex, tid, FUTEX_WAIT, now, NULL);
}

/* ---- the start ---- */

__asm__(".text\n"
	".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	call native_start\n" /* the kernel leaves rsp a multiple of 16, as a call wants it */
	"	ud2\n");

__attribute__((noreturn, used)) static void native_start(long *stack)
{
	char **argv = (char **)(stack + 1);

	leave(main(stack[0], argv, argv + stack[0] + 1));
}

#endif
