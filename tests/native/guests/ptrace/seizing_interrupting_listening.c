/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PTRACE_SEIZE stops nothing; PTRACE_INTERRUPT does, and PTRACE_LISTEN waits for SIGCONT in a stop of the process. */
#include "native.h"
#include <linux/ptrace.h>

static void next(long pid)
{
	int status;
	siginfo_t info;

	MUST(wait4, pid, &status, __WALL, NULL);
	if (WIFSTOPPED(status)) {
		print("%s, event %d", signal_name(WSTOPSIG(status)), status >> 16);
		if (!SYS(ptrace, PTRACE_GETSIGINFO, pid, 0, &info))
			print(", si_signo %d, si_code %x", info.si_signo, info.si_code);
		print("\n");
	} else {
		print("killed by %s\n", signal_name(WTERMSIG(status)));
	}
}

int main(void)
{
	long pid = MUST(fork);

	if (!pid)
		for (;;)
			SYS(pause);
	SHOW(ptrace, PTRACE_SEIZE, pid, 1, 0);
	SHOW(ptrace, PTRACE_SEIZE, pid, 0, 0x80000000);
	SHOW(ptrace, PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD);
	SHOW(ptrace, PTRACE_SEIZE, pid, 0, 0);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0); /* it runs */
	SHOW(ptrace, PTRACE_INTERRUPT, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_INTERRUPT, pid, 0, 0);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_LISTEN, pid, 0, 0);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0); /* it listens */
	SHOW(kill, pid, SIGSTOP);
	SHOW(ptrace, PTRACE_INTERRUPT, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_LISTEN, pid, 0, 0); /* no stop of the process */
	SHOW(ptrace, PTRACE_CONT, pid, 0, SIGSTOP);
	next(pid);
	SHOW(ptrace, PTRACE_LISTEN, pid, 0, 0);
	SHOW(kill, pid, SIGCONT);
	next(pid);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_CONT, pid, 0, SIGCONT);
	SHOW(kill, pid, SIGUSR1);
	next(pid);
	SHOW(ptrace, PTRACE_DETACH, pid, 0, SIGUSR1);
	next(pid);
	SHOW(ptrace, PTRACE_SEIZE, pid, 0, 0);
	return 0;
}
