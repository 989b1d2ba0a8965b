/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tracer finds in RAX where a signal meets a sleep: for a time, and until a point in time. */
#include "native.h"
#include <linux/ptrace.h>
#include <sys/user.h>

enum { MS = 1000000 };

static void traced(long flags, long clock)
{
	long pid = DO(fork);

	if (!pid) {
		struct timespec t = { 0, 400 * MS };

		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		MUST(kill, DO(getpid), SIGSTOP);
		if (flags & TIMER_ABSTIME) {
			MUST(clock_gettime, clock, &t);
			t.tv_nsec += 400 * MS;
			t.tv_sec += t.tv_nsec / (1000 * MS);
			t.tv_nsec %= 1000 * MS;
		}
		SHOW(clock_nanosleep, clock, flags, &t, NULL);
		leave(0);
	}
	struct user_regs_struct regs;
	int status;

	MUST(wait4, pid, &status, 0, NULL);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	sleep_ms(100);
	MUST(kill, pid, SIGWINCH);
	MUST(wait4, pid, &status, 0, NULL);
	MUST(ptrace, PTRACE_GETREGS, pid, 0, &regs);
	print("flags %d: rax %d of call %d\n", (int)flags, (int)regs.rax, (int)regs.orig_rax);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	reap(pid);
}

int main(void)
{
	traced(0, CLOCK_MONOTONIC);
	traced(TIMER_ABSTIME, CLOCK_MONOTONIC);
	traced(TIMER_ABSTIME, CLOCK_REALTIME);
	return 0;
}
