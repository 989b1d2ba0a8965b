/* SPDX-License-Identifier: GPL-2.0-or-later */
/* epoll_ctl(2): what can be added, twice, removed, and nested. */
#include "native.h"
#include <sys/epoll.h>

int main(void)
{
	int fds[2];
	struct epoll_event event = { EPOLLIN, { .u64 = 5 } };
	MUST(pipe2, fds, 0);
	put("file", "x");
	int file = MUST(open, "file", O_RDONLY);
	SHOW(epoll_create, 0);
	SHOW(epoll_create, -1);
	int ep = SHOW(epoll_create, 1);
	SHOW(epoll_create1, 1);
	int other = SHOW(epoll_create1, EPOLL_CLOEXEC);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_MOD, fds[0], &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_MOD, fds[1], &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_DEL, fds[1], NULL);
	SHOW(epoll_ctl, ep, EPOLL_CTL_DEL, fds[0], NULL);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, file, &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, ep, &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, 99, &event);
	SHOW(epoll_ctl, 99, EPOLL_CTL_ADD, fds[0], &event);
	SHOW(epoll_ctl, fds[0], EPOLL_CTL_ADD, fds[1], &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], NOWHERE);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], NULL);
	SHOW(epoll_ctl, ep, 9, fds[0], &event);
	SHOW(epoll_ctl, ep, 9, 99, NOWHERE);
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, other, &event);
	SHOW(epoll_ctl, other, EPOLL_CTL_ADD, ep, &event);
	event.events = EPOLLIN | EPOLLEXCLUSIVE;
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], &event);
	SHOW(epoll_ctl, ep, EPOLL_CTL_MOD, fds[0], &event);
	event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	SHOW(epoll_ctl, ep, EPOLL_CTL_ADD, fds[1], &event);
	return 0;
}
