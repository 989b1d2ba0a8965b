/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All that a guest program stands on: a start, printing, a few string
 * functions, and what to do when a system call fails. A program is one source
 * file that includes this and defines main().
 */
#ifndef GUEST_H
#define GUEST_H

#include "linux.h"

int main(int argc, char **argv, char **envp);

/* ---- memory and strings; the compiler itself may call the first two ---- */

void *memcpy(void *to, const void *from, size_t size)
{
	void *result = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return result;
}

void *memset(void *to, int byte, size_t size)
{
	void *result = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
	return result;
}

static inline size_t strlen(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

static inline int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (u8)*a - (u8)*b;
}

/* Does `text` begin with `start`? */
static inline int starts_with(const char *text, const char *start)
{
	while (*start && *text == *start)
		text++, start++;
	return !*start;
}

/* What follows the last slash of a path. */
static inline const char *base_name(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/')
			base = path + 1;
	return base;
}

/* ---- printing ---- */

/* Text on its way to a file descriptor: one print() is one write(2) if it fits. */
struct output {
	int fd;
	size_t used;
	char text[1024];
};

static inline void output_flush(struct output *out)
{
	size_t done = 0;

	while (done < out->used) {
		long n = sys_write(out->fd, out->text + done, out->used - done);

		if (n <= 0)
			break; /* nowhere left to complain */
		done += n;
	}
	out->used = 0;
}

static inline void output_char(struct output *out, char c)
{
	if (out->used == sizeof(out->text))
		output_flush(out);
	out->text[out->used++] = c;
}

static inline void output_string(struct output *out, const char *text)
{
	while (*text)
		output_char(out, *text++);
}

static inline void output_number(struct output *out, u64 value, u64 base)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	while (n)
		output_char(out, digits[--n]);
}

static inline void output_signed(struct output *out, long value)
{
	if (value < 0)
		output_char(out, '-');
	output_number(out, value < 0 ? -(u64)value : (u64)value, 10);
}

/* Knows %s %c %d %u %x %ld %lu %lx and %%. */
static inline void output_format(struct output *out, const char *format, __builtin_va_list values)
{
	for (; *format; format++) {
		int is_long;

		if (*format != '%') {
			output_char(out, *format);
			continue;
		}
		is_long = *++format == 'l';
		format += is_long;
		switch (*format) {
		case 's':
			output_string(out, __builtin_va_arg(values, const char *));
			break;
		case 'c':
			output_char(out, __builtin_va_arg(values, int));
			break;
		case 'd':
			output_signed(out, is_long ? __builtin_va_arg(values, long)
						   : __builtin_va_arg(values, int));
			break;
		case 'u':
			output_number(out, is_long ? __builtin_va_arg(values, u64)
						   : __builtin_va_arg(values, u32), 10);
			break;
		case 'x':
			output_number(out, is_long ? __builtin_va_arg(values, u64)
						   : __builtin_va_arg(values, u32), 16);
			break;
		default:
			output_char(out, *format);
		}
	}
}

/* print("pid %d %s %x %lu\n", ...) on standard output. */
__attribute__((format(printf, 1, 2), unused)) static void print(const char *format, ...)
{
	struct output out;
	__builtin_va_list values;

	out.fd = 1;
	out.used = 0;
	__builtin_va_start(values, format);
	output_format(&out, format, values);
	__builtin_va_end(values);
	output_flush(&out);
}

/* The same on standard error. */
__attribute__((format(printf, 1, 2), unused)) static void complain(const char *format, ...)
{
	struct output out;
	__builtin_va_list values;

	out.fd = 2;
	out.used = 0;
	__builtin_va_start(values, format);
	output_format(&out, format, values);
	__builtin_va_end(values);
	output_flush(&out);
}

/* ---- errors ---- */

#define GUEST_NAME(name, number) case number: return #name;

/* The name of an errno, or NULL where this header does not know it. */
static inline const char *errno_name(int number)
{
	switch (number) {
	GUEST_ERRNOS(GUEST_NAME)
	}
	return NULL;
}

static inline const char *signal_name(int signo)
{
	switch (signo) {
	GUEST_SIGNALS(GUEST_NAME)
	}
	return "SIG?";
}

/* A system call's result as a word: "ok", or the name of its error. */
static inline const char *result_name(long result)
{
	const char *name = is_error(result) ? errno_name(-result) : "ok";

	return name ? name : "an unknown errno";
}

/* Ends the program: "what: errno ENOENT" on standard error, exit status 1. */
__attribute__((noreturn, unused)) static void die(const char *what, int number)
{
	const char *name = errno_name(number);

	if (name)
		complain("%s: errno %s\n", what, name);
	else
		complain("%s: errno %d\n", what, number);
	sys_exit_group(1);
}

/* The result of a system call that must succeed. */
static inline long must(long result, const char *what)
{
	if (is_error(result))
		die(what, -result);
	return result;
}

/* Ends a program that was called wrongly: exit status 2. */
__attribute__((noreturn)) static inline void usage(const char *text)
{
	complain("usage: %s\n", text);
	sys_exit_group(2);
}

/* A number of the command line: decimal, with K, M or G for powers of 1024. */
static inline u64 atou64(const char *text)
{
	const char *p = text;
	u64 value = 0;

	while (*p >= '0' && *p <= '9')
		value = value * 10 + (*p++ - '0');
	if (p != text) {
		int shift = *p == 'K' ? 10 : *p == 'M' ? 20 : *p == 'G' ? 30 : 0;

		if (!p[shift != 0])
			return value << shift;
	}
	complain("not a number: %s\n", text);
	sys_exit_group(2);
}

/* ---- checks ---- */

static int guest_wrong __attribute__((unused)); /* how many checks have failed */

/* One line a check: "name: ok" or "name: WRONG". main() then returns guest_wrong != 0. */
static inline void check(const char *name, int good)
{
	guest_wrong += !good;
	print("%s: %s\n", name, good ? "ok" : "WRONG");
}

/* ---- what many of the programs do ---- */

/* `size` bytes of fresh zero memory, MAP_PRIVATE or MAP_SHARED, readable and writable. */
static inline void *anonymous(size_t size, int flags)
{
	return (void *)must(sys_mmap(0, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0),
			    "mmap");
}

/* A new empty file without a name, open for reading and writing. */
static inline int scratch_file(void)
{
	char path[] = "/tmp/guest-0000000000000000";
	u64 pid = sys_getpid();
	char *end = path + sizeof(path) - 2;
	int fd;

	for (; pid; pid /= 10)
		*end-- = '0' + pid % 10;
	fd = must(sys_open(path, O_RDWR | O_CREAT | O_EXCL, 0600), "open a scratch file in /tmp");
	must(sys_unlink(path), "unlink the scratch file");
	return fd;
}

/* Waits for one child. Its status is as wait4(2) gives it: exited() and killed_by() read it. */
static inline int wait_for(long pid)
{
	int status = 0;

	must(sys_wait4(pid, &status, 0), "wait4");
	return status;
}

/* The exit status of a child that ended by itself, -1 for one that a signal ended. */
static inline int exited(int status)
{
	return (status & 0x7f) ? -1 : (status >> 8) & 0xff;
}

/* The signal that ended a child, 0 if none did. */
static inline int killed_by(int status)
{
	return status & 0x7f;
}

/* ---- signal handlers ---- */

/* The kernel puts this address on the stack of a handler, as its return address. */
__asm__(".text\n"
	".type guest_restorer, @function\n"
	"guest_restorer:\n"
	"	mov $15, %eax\n" /* __NR_rt_sigreturn */
	"	syscall\n"
	"	ud2\n"
	".size guest_restorer, . - guest_restorer\n");
extern void guest_restorer(void) __attribute__((visibility("hidden")));

/* Has `handler` called for `signo`, with the signals in `mask` blocked meanwhile. */
static inline void on_signal(int signo, void *handler, u64 flags, u64 mask)
{
	struct sigaction action = { handler, flags | SA_RESTORER, guest_restorer, mask };

	must(sys_rt_sigaction(signo, &action, NULL), "rt_sigaction");
}

/* ---- the start ---- */

#ifdef __PIE__
#include "relocate.h"
#endif

/* The stack as the kernel made it: argc, argv, NULL, envp, NULL, auxiliary vector. */
static u64 *guest_stack __attribute__((unused));

__asm__(".text\n"
	".globl _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	call guest_start\n" /* the kernel leaves rsp a multiple of 16, as a call wants it */
	"	ud2\n"
	".size _start, . - _start\n");
extern void _start(void) __attribute__((visibility("hidden")));

__attribute__((noreturn, used)) static void guest_start(u64 *stack)
{
	int argc = (int)stack[0];
	char **argv = (char **)(stack + 1);

#ifdef __PIE__
	relocate();
#endif
	guest_stack = stack;
	sys_exit_group(main(argc, argv, argv + argc + 1));
}

#endif
