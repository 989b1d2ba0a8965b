/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PTRACE_ATTACH: the stop, what may be asked of whom, PTRACE_KILL, and the end of a tracer. */
// needs: root
#include "native.h"
#include <linux/ptrace.h>

static void next(long pid)
{
	int status;

	MUST(wait4, pid, &status, __WALL, NULL);
	if (WIFSTOPPED(status))
		print("%s, event %d\n", signal_name(WSTOPSIG(status)), status >> 16);
	else
		print("killed by %s\n", signal_name(WTERMSIG(status)));
}

static long waiter(void)
{
	long pid = MUST(fork);

	if (!pid)
		for (;;)
			SYS(pause);
	return pid;
}

int main(void)
{
	long pid = waiter(), tracer, other;
	u64 word;

	SHOW(ptrace, PTRACE_ATTACH, 99999999, 0, 0);
	SHOW(ptrace, PTRACE_ATTACH, SYS(getpid), 0, 0);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	SHOW(ptrace, PTRACE_PEEKDATA, pid, NOWHERE, &word);
	SHOW(ptrace, 12345, pid, 0, 0);
	sleep_ms(20);
	SHOW(ptrace, PTRACE_ATTACH, pid, 0, 0);
	SHOW(ptrace, PTRACE_ATTACH, pid, 0, 0);
	next(pid);
	SHOW(ptrace, 12345, pid, 0, 0);
	SHOW(ptrace, PTRACE_PEEKDATA, pid, NOWHERE, &word);
	SHOW(ptrace, PTRACE_POKEDATA, pid, NOWHERE, 1);
	SHOW(ptrace, PTRACE_INTERRUPT, pid, 0, 0);
	SHOW(ptrace, PTRACE_LISTEN, pid, 0, 0);
	SHOW(ptrace, PTRACE_DETACH, pid, 0, 65);
	SHOW(ptrace, PTRACE_DETACH, pid, 0, 0);
	SHOW(ptrace, PTRACE_DETACH, pid, 0, 0);
	SHOW(ptrace, PTRACE_ATTACH, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_KILL, pid, 0, 0);
	next(pid);
	/* a tracer that ends lets its tracees go on, or kills them */
	for (int i = 0; i < 2; i++) {
		pid = waiter();
		tracer = MUST(fork);
		if (!tracer) {
			MUST(ptrace, PTRACE_SEIZE, pid, 0, i ? PTRACE_O_EXITKILL : 0);
			MUST(ptrace, PTRACE_INTERRUPT, pid, 0, 0);
			next(pid);
			leave(0);
		}
		reap(tracer);
		if (!i)
			MUST(kill, pid, SIGTERM);
		next(pid);
	}
	/* who may not look into a process may not trace it */
	pid = waiter();
	other = MUST(fork);
	if (!other) {
		become(1000);
		SHOW(ptrace, PTRACE_ATTACH, pid, 0, 0);
		SHOW(ptrace, PTRACE_SEIZE, pid, 0, 0);
		leave(0);
	}
	reap(other);
	MUST(kill, pid, SIGKILL);
	next(pid);
	return 0;
}
