/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fpu: what the floating-point registers hold at the start of a program, in a
 * signal handler and after it, and in a child and a thread.
 *
 * Prints:
 *   start: control 37f, status 0, tags 0, mxcsr 1f80, registers 0
 *   handler: control 37f, status 0, tags 0, mxcsr 1f80, registers 0
 *   frame of the handler: control 27f, status 3000, tags c0, mxcsr 3f80, registers 9, st0 7, st1 5
 *   after the handler: control 27f, status 3000, tags c0, mxcsr 3f80, registers 9
 *   st0 7, st1 5
 *   child: control 27f, status 3000, tags c0, mxcsr 3f80, registers 9
 *   thread: control 27f, status 3000, tags c0, mxcsr 3f80, registers 9
 *   handler: control 37f, status 0, tags 0, mxcsr 1f80, registers 0
 *   frame of the handler: control 27f, status 3000, tags c0, mxcsr 3f80, registers 9, st0 7, st1 5
 *   after a handler that has removed the frame: control 37f, status 0, tags 0, mxcsr 1f80, registers 0
 *   start: control 37f, status 0, tags 0, mxcsr 1f80, registers 0
 *
 * The last line is of the same program after execve, which it calls with other values in the registers.
 */
#include "thread.h"

struct fxsave {
	u16 control, status;
	u8 tags, zero;
	u16 opcode;
	u64 pointers[2];
	u32 mxcsr, mask;
	struct {
		u64 mantissa;
		u16 exponent, rest[3];
	} st[8];
	u64 xmm[16][2];
	u64 rest[12];
} __attribute__((aligned(16)));

static struct fxsave image;

static void show(const char *when, const struct fxsave *image, const char *end)
{
	u64 registers = 0;

	for (int i = 0; i < 16; i++)
		registers |= image->xmm[i][0] | image->xmm[i][1];
	print("%s: control %x, status %x, tags %x, mxcsr %x, registers %lx%s", when, image->control, image->status,
	      image->tags, image->mxcsr, registers, end);
}

#define SHOW(when)                                                                               \
	do {                                                                                     \
		__asm__ volatile("fxsave %0" : "=m"(image));                                     \
		show(when, &image, "\n");                                                        \
	} while (0)

/* Other values than those of the start: round to 53 bits, flush towards minus infinity, two numbers on the stack. */
static void change(void)
{
	u16 control = 0x27f;
	u32 mxcsr = 0x3f80, five = 5, seven = 7;

	__asm__ volatile("fninit; fldcw %0; ldmxcsr %1; fildl %2; fildl %3" : : "m"(control), "m"(mxcsr), "m"(five), "m"(seven));
	__asm__ volatile("movq %0, %%xmm9" : : "r"(9UL));
}

static u64 integer(const struct fxsave *image, int i)
{
	return image->st[i].mantissa >> (63 - (image->st[i].exponent - 0x3fff));
}

static void handler(int signo, struct siginfo *info, struct ucontext *context)
{
	struct fxsave *saved = context->fpstate;

	(void)info;
	SHOW("handler");
	show("frame of the handler", saved, "");
	print(", st0 %lu, st1 %lu\n", integer(saved, 0), integer(saved, 1));
	__asm__ volatile("fld1; fld1; fld1; pcmpeqd %%xmm9, %%xmm9" : : : "memory");
	if (signo == SIGUSR2)
		context->fpstate = NULL;
}

static int thread(u64 unused)
{
	(void)unused;
	SHOW("thread");
	return 0;
}

int main(int argc, char **argv, char **envp)
{
	static volatile int tid;
	u32 five, seven;
	long pid;

	SHOW("start");
	if (argc > 1)
		return 0;
	on_signal(SIGUSR1, handler, SA_SIGINFO, 0);
	change();
	sys_kill(sys_getpid(), SIGUSR1);
	SHOW("after the handler");
	__asm__ volatile("fistpl %0; fistpl %1" : "=m"(seven), "=m"(five));
	print("st0 %d, st1 %d\n", seven, five);
	change();
	pid = must(sys_fork(), "fork");
	if (pid == 0) {
		SHOW("child");
		sys_exit_group(0);
	}
	wait_for(pid);
	must(start_thread(thread, 0, &tid, 0, 0), "clone");
	join_thread(&tid);
	on_signal(SIGUSR2, handler, SA_SIGINFO, 0);
	sys_kill(sys_getpid(), SIGUSR2);
	SHOW("after a handler that has removed the frame");
	change();
	must(sys_execve("/proc/self/exe", (char *[]){ argv[0], "again", NULL }, envp), "execve");
	return 0;
}
