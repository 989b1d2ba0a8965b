/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SA_NODEFER, SA_RESETHAND, masks, and the flags that are kept. */
#include "native.h"

static int depth, calls;
static void nested(int signo)
{
	print("in %d\n", depth++);
	if (calls++ < 2)
		MUST(kill, SYS(getpid), signo);
	print("out %d\n", --depth);
}

int main(void)
{
	struct kernel_sigaction old;
	handle(SIGUSR1, nested, 0);
	MUST(kill, SYS(getpid), SIGUSR1);
	print("--\n");
	calls = 0;
	handle(SIGUSR1, nested, SA_NODEFER);
	MUST(kill, SYS(getpid), SIGUSR1);
	handle(SIGUSR2, nested, SA_RESETHAND);
	MUST(kill, SYS(getpid), SIGUSR2);
	MUST(rt_sigaction, SIGUSR2, NULL, &old, 8);
	print("%d %lx\n", old.handler == SIG_DFL, old.flags);
	handle(SIGUSR2, nested, SA_RESTART | SA_NOCLDSTOP | 0x800);
	MUST(rt_sigaction, SIGUSR2, NULL, &old, 8);
	print("%lx\n", old.flags);
	return 0;
}
