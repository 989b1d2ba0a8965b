/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PTRACE_SETSIGINFO with another number than that of the signal with which the tracee goes on. */
#include "native.h"
#include <linux/ptrace.h>

static void on_signal(int signo, siginfo_t *info)
{
	print("  handler: %s, si_signo %d, si_code %d\n", signal_name(signo), info->si_signo, info->si_code);
}

int main(void)
{
	static const int numbers[] = { 200, -1, 0, 64, SIGUSR2, SIGUSR1 };
	long pid = MUST(fork);
	int status;

	if (!pid) {
		handle(SIGUSR1, on_signal, SA_SIGINFO);
		handle(SIGUSR2, on_signal, SA_SIGINFO);
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		for (u32 i = 0; i < 2 * COUNT(numbers); i++)
			SYS(kill, SYS(getpid), SIGUSR1);
		leave(0);
	}
	MUST(wait4, pid, &status, 0, NULL);
	for (u32 i = 0; i < 2 * COUNT(numbers); i++) {
		siginfo_t info = { .si_signo = numbers[i / 2], .si_code = -7 };

		print("%d\n", info.si_signo);
		SHOW(ptrace, PTRACE_SETSIGINFO, pid, 0, &info);
		MUST(ptrace, PTRACE_CONT, pid, 0, i % 2 ? SIGUSR2 : SIGUSR1);
		MUST(wait4, pid, &status, 0, NULL);
	}
	SAY(status);
	return 0;
}
