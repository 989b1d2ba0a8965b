/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An epoll in an epoll, descriptors that are duplicated and closed, files of several kinds. */
#include "native.h"
#include <sys/epoll.h>

int main(void)
{
	int fds[2];
	struct epoll_event e = { EPOLLIN, { .u32 = 1 } }, got[4];
	u64 one = 1;
	MUST(pipe2, fds, 0);
	int inner = MUST(epoll_create1, 0), outer = MUST(epoll_create1, 0), event = MUST(eventfd2, 0, 0);
	MUST(epoll_ctl, inner, EPOLL_CTL_ADD, fds[0], &e);
	e.data.u32 = 2;
	MUST(epoll_ctl, outer, EPOLL_CTL_ADD, inner, &e);
	e.data.u32 = 3;
	MUST(epoll_ctl, outer, EPOLL_CTL_ADD, event, &e);
	SHOW(epoll_wait, outer, got, 4, 0);
	MUST(write, fds[1], "x", 1);
	SHOW(epoll_wait, outer, got, 4, 0);
	print("%u\n", got[0].data.u32);
	MUST(write, event, &one, 8);
	SHOW(epoll_wait, outer, got, 4, 0);
	int copy = MUST(dup, fds[0]);
	MUST(close, fds[0]);
	SHOW(epoll_wait, inner, got, 4, 0);
	SHOW(epoll_ctl, inner, EPOLL_CTL_DEL, fds[0], NULL);
	MUST(close, copy);
	SHOW(epoll_wait, inner, got, 4, 0);
	SHOW(epoll_wait, outer, got, 4, 0);
	print("%u\n", got[0].data.u32);
	return 0;
}
