/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rt_sigsuspend(2) and pause(2) end with EINTR after a handler. */
#include "native.h"

static void on_signal(int signo)
{
	print("handler %s\n", signal_name(signo));
}

int main(void)
{
	u64 none = 0, old = 0;
	handle(SIGUSR1, on_signal, SA_RESTART);
	block_only(SIGNAL_BIT(SIGUSR1));
	MUST(kill, SYS(getpid), SIGUSR1);
	SHOW(rt_sigsuspend, &none, 8);
	MUST(rt_sigprocmask, 0, NULL, &old, 8);
	print("%lx\n", old);
	SHOW(rt_sigsuspend, &none, 4);
	SHOW(rt_sigsuspend, NOWHERE, 8);
	block_only(0);
	long me = SYS(getpid), pid = MUST(fork);
	if (!pid) {
		sleep_ms(30);
		MUST(kill, me, SIGUSR1);
		leave(0);
	}
	SHOW(pause);
	reap(pid);
	return 0;
}
