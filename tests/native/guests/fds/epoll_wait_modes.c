/* SPDX-License-Identifier: GPL-2.0-or-later */
/* epoll_wait(2), epoll_pwait(2), epoll_pwait2(2): level, edge, one shot, arguments. */
#include "native.h"
#include <sys/epoll.h>

int main(void)
{
	int fds[2];
	char byte;
	u64 mask = 0;
	struct timespec zero = { 0, 0 }, bad = { 0, -1 };
	struct epoll_event event = { EPOLLIN, { .u64 = 7 } }, got[4];
	MUST(pipe2, fds, 0);
	int ep = MUST(epoll_create1, 0);
	MUST(epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], &event);
	SHOW(epoll_wait, ep, got, 4, 0);
	MUST(write, fds[1], "ab", 2);
	SHOW(epoll_wait, ep, got, 4, -1);
	print("%x %ld\n", got[0].events, (long)got[0].data.u64);
	SHOW(epoll_wait, ep, got, 4, 0);
	event.events = EPOLLIN | EPOLLET;
	MUST(epoll_ctl, ep, EPOLL_CTL_MOD, fds[0], &event);
	SHOW(epoll_wait, ep, got, 4, 0);
	SHOW(epoll_wait, ep, got, 4, 0);
	MUST(write, fds[1], "c", 1);
	SHOW(epoll_pwait, ep, got, 4, 0, NULL, 8);
	event.events = EPOLLIN | EPOLLONESHOT;
	MUST(epoll_ctl, ep, EPOLL_CTL_MOD, fds[0], &event);
	SHOW(epoll_pwait2, ep, got, 4, &zero, NULL, 8);
	SHOW(epoll_pwait2, ep, got, 4, &zero, NULL, 8);
	event.events = EPOLLIN | EPOLLOUT;
	MUST(epoll_ctl, ep, EPOLL_CTL_ADD, fds[1], &event);
	SHOW(epoll_wait, ep, got, 1, 0);
	MUST(close, fds[0]);
	SHOW(epoll_wait, ep, got, 4, 0);
	print("%x\n", got[0].events);
	SHOW(epoll_wait, ep, got, 0, 0);
	SHOW(epoll_wait, ep, got, -1, 0);
	SHOW(epoll_wait, ep, got, 1 << 29, 0);
	SHOW(epoll_wait, 99, got, 4, 0);
	SHOW(epoll_wait, fds[1], got, 4, 0);
	SHOW(epoll_wait, ep, NOWHERE, 4, 0);
	SHOW(epoll_pwait, ep, got, 4, 0, &mask, 4);
	SHOW(epoll_pwait, ep, got, 4, 0, NOWHERE, 8);
	SHOW(epoll_pwait2, ep, got, 4, &bad, NULL, 8);
	SHOW(epoll_pwait2, ep, got, 4, NOWHERE, NULL, 8);
	SHOW(epoll_pwait2, 99, got, 4, &bad, NULL, 8);
	SHOW(read, ep, &byte, 1);
	return 0;
}
