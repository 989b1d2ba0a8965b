/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ppoll(2): a signal that is pending, sizes, times. */
#include "native.h"

static void on_signal(int signo)
{
	print("handler %s\n", signal_name(signo));
}

int main(void)
{
	u64 mask = 0;
	int fds[2];
	struct timespec zero = { 0, 0 }, bad = { -1, 0 };
	MUST(pipe2, fds, 0);
	struct pollfd p = { fds[0], POLLIN, 0 };
	handle(SIGUSR1, on_signal, SA_RESTART);
	block_only(SIGNAL_BIT(SIGUSR1));
	MUST(kill, SYS(getpid), SIGUSR1);
	SHOW(ppoll, &p, 1, &zero, NULL, 8);
	SHOW(ppoll, &p, 1, NULL, &mask, 8);
	SHOW(ppoll, &p, 1, &zero, &mask, 8);
	SHOW(ppoll, &p, 1, &zero, &mask, 4);
	SHOW(ppoll, &p, 1, &zero, NULL, 4);
	SHOW(ppoll, &p, 1, &bad, NULL, 8);
	SHOW(ppoll, &p, 1, NOWHERE, NULL, 8);
	SHOW(ppoll, &p, 1, &zero, NOWHERE, 8);
	SHOW(ppoll, NOWHERE, 1, &zero, NULL, 8);
	return 0;
}
