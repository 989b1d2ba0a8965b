/* SPDX-License-Identifier: GPL-2.0-or-later */
/* epoll_wait(2), epoll_pwait(2), epoll_pwait2(2) end with EINTR. */
#include "native.h"
#include <sys/epoll.h>

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	struct epoll_event got;
	struct timespec t = { 100, 0 };
	int ep = MUST(epoll_create1, 0);
	handle(SIGUSR1, on_signal, SA_RESTART);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(epoll_wait, ep, &got, 1, -1);
	SHOW(epoll_wait, ep, &got, 1, 100000);
	SHOW(epoll_pwait, ep, &got, 1, -1, NULL, 8);
	SHOW(epoll_pwait2, ep, &got, 1, &t, NULL, 8);
	SHOW(epoll_pwait2, ep, &got, 1, NULL, NULL, 8);
	end_child(pid);
	return 0;
}
