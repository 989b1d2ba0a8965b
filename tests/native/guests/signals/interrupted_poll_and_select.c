/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poll(2), ppoll(2), select(2), pselect6(2) end with EINTR, SA_RESTART or not. */
#include "native.h"

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	int fds[2];
	u64 set[16] = { 0 };
	struct timespec t = { 100, 0 };
	struct timeval v = { 100, 0 };
	MUST(pipe2, fds, 0);
	struct pollfd p = { fds[0], POLLIN, 0 };
	handle(SIGUSR1, on_signal, SA_RESTART);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(poll, &p, 1, -1);
	SHOW(poll, &p, 1, 100000);
	SHOW(ppoll, &p, 1, NULL, NULL, 8);
	SHOW(ppoll, &p, 1, &t, NULL, 8);
	SAY(t.tv_sec < 100);
	set[0] = 1UL << fds[0];
	SHOW(select, fds[0] + 1, set, NULL, NULL, NULL);
	SHOW(select, fds[0] + 1, set, NULL, NULL, &v);
	SAY(v.tv_sec < 100);
	SAY(set[0] == 1UL << fds[0]);
	SHOW(pselect6, fds[0] + 1, set, NULL, NULL, NULL, NULL);
	end_child(pid);
	return 0;
}
