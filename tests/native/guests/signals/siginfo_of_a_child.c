/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIGCHLD: code, status, and SA_NOCLDWAIT. */
#include "native.h"

static void on_child(int signo, siginfo_t *info)
{
	print("%s code %d status %d\n", signal_name(signo), info->si_code, info->si_status);
}

int main(void)
{
	u64 child = SIGNAL_BIT(SIGCHLD), none = 0;
	handle(SIGCHLD, on_child, SA_SIGINFO);
	block_only(child);
	long pid = MUST(fork);
	if (!pid)
		leave(5);
	SHOW(rt_sigsuspend, &none, 8);
	reap(pid);
	pid = MUST(fork);
	if (!pid)
		for (;;)
			SYS(pause);
	MUST(kill, pid, SIGTERM);
	SHOW(rt_sigsuspend, &none, 8);
	reap(pid);
	handle(SIGCHLD, SIG_IGN, 0);
	pid = MUST(fork);
	if (!pid)
		leave(0);
	SHOW(wait4, pid, NULL, 0, NULL);
	handle(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
	pid = MUST(fork);
	if (!pid)
		leave(0);
	SHOW(wait4, -1, NULL, 0, NULL);
	return 0;
}
