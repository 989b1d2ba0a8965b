/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each signal stops its receiver: the tracer passes it on, suppresses it, or puts another in its place. */
#include "native.h"
#include <linux/ptrace.h>

static void on_signal(int signo, siginfo_t *info)
{
	print("  handler: %s, si_code %d, value %d\n", signal_name(signo), info->si_code, info->si_value.sival_int);
}

static void child(void)
{
	u64 mask = SIGNAL_BIT(SIGUSR2);

	handle(SIGUSR1, on_signal, SA_SIGINFO);
	handle(SIGUSR2, on_signal, SA_SIGINFO);
	MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
	for (int i = 0; i < 4; i++)
		SYS(kill, SYS(getpid), SIGUSR1);
	SYS(kill, SYS(getpid), SIGWINCH); /* ignored, but the tracer is told */
	block_only(mask);
	SYS(kill, SYS(getpid), SIGUSR2);
	SYS(kill, SYS(getpid), SIGTERM);
	leave(1);
}

static int next(long pid, int signo)
{
	int status;

	MUST(ptrace, PTRACE_CONT, pid, 0, signo);
	MUST(wait4, pid, &status, 0, NULL);
	if (WIFSTOPPED(status)) {
		print("stopped by %s\n", signal_name(WSTOPSIG(status)));
		return WSTOPSIG(status);
	}
	print("killed by %s\n", signal_name(WTERMSIG(status)));
	return 0;
}

int main(void)
{
	struct { u64 off; u32 flags; int nr; } peek = { 0, 1, 8 };
	siginfo_t info = { 0 }, queue[8];
	u64 mask = 0;
	long pid = MUST(fork);
	int status;

	if (!pid)
		child();
	MUST(wait4, pid, &status, 0, NULL);
	print("stopped by %s\n", signal_name(WSTOPSIG(status)));
	next(pid, SIGUSR1);
	next(pid, 0);
	next(pid, SIGUSR2);
	SHOW(ptrace, PTRACE_GETSIGINFO, pid, 0, &info);
	SAY(info.si_code);
	info.si_code = -7;
	info.si_value.sival_int = 77;
	SHOW(ptrace, PTRACE_SETSIGINFO, pid, 0, &info);
	SHOW(ptrace, PTRACE_SETSIGINFO, pid, 0, NOWHERE);
	next(pid, SIGUSR1);
	next(pid, SIGWINCH);
	SHOW(ptrace, PTRACE_GETSIGMASK, pid, 8, &mask);
	print("mask %lx\n", mask);
	SHOW(ptrace, PTRACE_GETSIGMASK, pid, 4, &mask);
	SHOW(ptrace, PTRACE_PEEKSIGINFO, pid, &peek, queue);
	print("%s\n", signal_name(queue[0].si_signo));
	peek.flags = 0;
	SHOW(ptrace, PTRACE_PEEKSIGINFO, pid, &peek, queue);
	peek.nr = -1;
	SHOW(ptrace, PTRACE_PEEKSIGINFO, pid, &peek, queue);
	mask = 0;
	SHOW(ptrace, PTRACE_SETSIGMASK, pid, 8, &mask);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 65);
	next(pid, 0);
	next(pid, SIGKILL);
	return 0;
}
