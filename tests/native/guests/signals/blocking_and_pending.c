/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rt_sigprocmask(2), rt_sigpending(2), and what comes when it is unblocked. */
#include "native.h"

static void on_signal(int signo)
{
	print("%s\n", signo < 32 ? signal_name(signo) : signo == 34 ? "34" : "35");
}

int main(void)
{
	u64 mask = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2) | SIGNAL_BIT(34) | SIGNAL_BIT(SIGKILL), old = 0;
	long me = SYS(getpid);
	handle(SIGUSR1, on_signal, 0);
	handle(SIGUSR2, on_signal, 0);
	handle(34, on_signal, 0);
	SHOW(rt_sigprocmask, SIG_BLOCK, &mask, &old, 8);
	print("%lx\n", old);
	SHOW(rt_sigprocmask, SIG_BLOCK, NULL, &old, 8);
	print("%lx\n", old);
	for (int i = 0; i < 3; i++) {
		MUST(kill, me, SIGUSR1);
		MUST(kill, me, 34);
	}
	SHOW(rt_sigpending, &old, 8);
	print("%lx\n", old);
	SHOW(rt_sigpending, &old, 4);
	SHOW(rt_sigpending, &old, 16);
	SHOW(rt_sigpending, NOWHERE, 8);
	mask = SIGNAL_BIT(SIGUSR1);
	SHOW(rt_sigprocmask, SIG_UNBLOCK, &mask, NULL, 8);
	mask = 0;
	SHOW(rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
	SHOW(rt_sigprocmask, 3, &mask, NULL, 8);
	SHOW(rt_sigprocmask, 3, NULL, NULL, 8);
	SHOW(rt_sigprocmask, 0, &mask, NULL, 4);
	SHOW(rt_sigprocmask, 0, NOWHERE, NULL, 8);
	SHOW(rt_sigprocmask, 0, NULL, NOWHERE, 8);
	return 0;
}
