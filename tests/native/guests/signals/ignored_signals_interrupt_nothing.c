/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signal that is ignored, or does nothing by default, ends no call. */
#include "native.h"

static void on_alarm(int signo)
{
	(void)signo;
}

int main(void)
{
	char byte;
	int fds[2];
	struct itimerval t = { { 0, 0 }, { 0, 200000 } };
	MUST(pipe2, fds, 0);
	handle(SIGUSR1, SIG_IGN, 0);
	handle(SIGALRM, on_alarm, 0);
	long pid = signals_from_a_child(SIGUSR1), other = signals_from_a_child(SIGWINCH);
	MUST(setitimer, ITIMER_REAL, &t, NULL);
	SHOW(read, fds[0], &byte, 1);
	MUST(setitimer, ITIMER_REAL, &t, NULL);
	SHOW(pause);
	struct pollfd p = { fds[0], POLLIN, 0 };
	SHOW(poll, &p, 1, 100);
	end_child(pid);
	end_child(other);
	return 0;
}
