/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_NOFILE: EMFILE of every call that makes a descriptor, and which one comes first. */
#include "native.h"
#include <sys/eventfd.h>
#include <sys/socket.h>

int main(void)
{
	struct rlimit limit = { 6, 6 };
	int fds[2], fd;
	put("file", "x");
	MUST(setrlimit, RLIMIT_NOFILE, &limit);
	SHOW(open, "file", O_RDONLY);
	SHOW(open, "file", O_RDONLY);
	SHOW(pipe2, fds, 0);
	SHOW(open, "file", O_RDONLY);
	SHOW(open, "missing", O_RDONLY);
	SHOW(open, "file", O_RDONLY);
	SHOW(open, "new", O_RDWR | O_CREAT, 0600);
	SHOW(access, "new", F_OK);
	SHOW(dup, 3);
	SHOW(dup2, 3, 6);
	SHOW(dup2, 3, 5);
	SHOW(fcntl, 3, F_DUPFD, 5);
	SHOW(fcntl, 3, F_DUPFD, 6);
	SHOW(pipe2, fds, 0);
	SHOW(pipe, fds);
	SHOW(socket, AF_UNIX, SOCK_STREAM, 0);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, fds);
	SHOW(eventfd2, 0, 0);
	SHOW(epoll_create1, 0);
	SHOW(epoll_create, 1);
	SHOW(inotify_init);
	SHOW(inotify_init1, 0);
	SHOW(timerfd_create, CLOCK_MONOTONIC, 0);
	SHOW(memfd_create, "m", 0);
	SHOW(eventfd, 0);
	u64 mask = 1;
	SHOW(signalfd4, -1, &mask, 8, 0);
	SHOW(pidfd_open, SYS(getpid), 0);
	SHOW(close, 4);
	SHOW(pipe2, fds, 0);
	fd = SHOW(open, "file", O_RDONLY);
	SHOW(pipe2, fds, 0);
	(void)fd;
	return 0;
}
