/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who watches a process hears of its end also if a thread has called execve meanwhile, and so become its leader. */
#include "native.h"
#include <sys/epoll.h>

static char *words[] = { "again", "and again", NULL };

static int execute(u64 unused UNUSED)
{
	sleep_ms(30);
	MUST(execve, "/proc/self/exe", words, NULL);
	return 0;
}

int main(int argc, char **argv UNUSED)
{
	struct epoll_event event = { .events = EPOLLIN };
	volatile int tid;
	long child, fd, set;

	if (argc > 1) {
		sleep_ms(60);
		leave(7);
	}
	child = MUST(fork);
	if (!child) {
		thread(execute, 0, &tid);
		for (;;)
			SYS(pause);
	}
	fd = MUST(pidfd_open, child, 0);
	set = MUST(epoll_create1, 0);
	MUST(epoll_ctl, set, EPOLL_CTL_ADD, fd, &event);
	SHOW(epoll_wait, set, &event, 1, 10);
	SHOW(epoll_wait, set, &event, 1, 3000);
	print("events %x\n", event.events);
	reap(child);
	return 0;
}
