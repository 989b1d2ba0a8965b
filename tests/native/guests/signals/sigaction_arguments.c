/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rt_sigaction(2): signals that have no handlers, sizes, addresses. */
#include "native.h"

int main(void)
{
	struct kernel_sigaction a = { SIG_IGN, 0, 0, 0 }, old;
	SHOW(rt_sigaction, SIGUSR1, &a, &old, 8);
	SHOW(rt_sigaction, SIGUSR1, NULL, &old, 8);
	SAY(old.handler == SIG_IGN);
	SHOW(rt_sigaction, SIGKILL, NULL, &old, 8);
	SHOW(rt_sigaction, SIGKILL, &a, NULL, 8);
	SHOW(rt_sigaction, SIGSTOP, &a, NULL, 8);
	SHOW(rt_sigaction, 0, NULL, NULL, 8);
	SHOW(rt_sigaction, 65, NULL, NULL, 8);
	SHOW(rt_sigaction, 64, &a, NULL, 8);
	SHOW(rt_sigaction, SIGUSR1, &a, NULL, 4);
	SHOW(rt_sigaction, SIGUSR1, NOWHERE, NULL, 8);
	SHOW(rt_sigaction, SIGUSR1, NULL, NOWHERE, 8);
	SHOW(rt_sigaction, 65, NOWHERE, NULL, 8);
	a.mask = -1;
	SHOW(rt_sigaction, SIGUSR2, &a, NULL, 8);
	SHOW(rt_sigaction, SIGUSR2, NULL, &old, 8);
	print("%lx\n", old.mask);
	return 0;
}
