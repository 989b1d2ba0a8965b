/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sigaltstack(2) that changes nothing is not looked at, and siginfo of an unknown kind must end with zeros. */
#include "native.h"
#include <ucontext.h>

static stack_t seen;

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info;
	seen = ((ucontext_t *)context)->uc_stack;
}

static void stack(const char *what, void *sp, int flags, unsigned long size)
{
	stack_t new = {sp, flags, size}, old = {(void *)1, 77, 77};

	print("%s: ", what);
	SHOW(sigaltstack, &new, &old);
	print("was %s %x %ld\n", old.ss_sp ? "somewhere" : "nowhere", (unsigned)old.ss_flags, (long)old.ss_size);
}

static void queue(int signo, int code, int at)
{
	unsigned char info[128] = {0};
	int *words = (int *)info;

	words[2] = code;
	if (at >= 0)
		info[at] = 1;
	print("%d at %d: ", code, at);
	SHOW(rt_sigqueueinfo, SYS(getpid), signo, info);
}

int main(void)
{
	static char room[16384];

	stack("none, as it is", NULL, 0, 0);
	SHOW(sigaltstack, NULL, NOWHERE);
	stack("too small", room, 0, 100);
	handle(SIGUSR1, handler, SA_SIGINFO);
	MUST(kill, SYS(getpid), SIGUSR1);
	print("frame: %x\n", (unsigned)seen.ss_flags);
	stack("off", NULL, SS_DISABLE, 0);
	MUST(kill, SYS(getpid), SIGUSR1);
	print("frame: %x\n", (unsigned)seen.ss_flags);
	stack("none", NULL, 0, 0);
	stack("a stack", room, 0, sizeof room);
	stack("the same", room, 0, sizeof room);
	stack("on", room, SS_ONSTACK, sizeof room);
	MUST(kill, SYS(getpid), SIGUSR1);
	print("frame: %x\n", (unsigned)seen.ss_flags);
	stack("what is no mode", room, 4, sizeof room);
	handle(SIGUSR2, SIG_IGN, 0);
	handle(SIGSEGV, SIG_IGN, 0);
	for (int at = -1; at < 128; at = at < 0 ? 16 : at + 31) {
		queue(SIGUSR2, -1, at);
		queue(SIGUSR2, -7, at);
		queue(SIGUSR2, -8, at);
		queue(SIGUSR2, -60, at);
		queue(SIGUSR2, -61, at);
		queue(SIGUSR2, 6, at);
		queue(SIGUSR2, 7, at);
		queue(SIGUSR2, 0x80, at);
		queue(SIGSEGV, 9, at);
		queue(SIGSEGV, 11, at);
	}
	SHOW(rt_sigqueueinfo, SYS(getpid), 99, NOWHERE);
	return 0;
}
