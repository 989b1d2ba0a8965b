/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: a ring outlives who has submitted, whose requests end with him; and no ring goes over a socket. */
// since: 6.18
#include "native.h"
#include "uring.h"
#include <sys/socket.h>

static struct ring ring;

static void wait_for(u32 number)
{
	SYS(io_uring_enter, ring.fd, 0, number, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
}

int main(int argc)
{
	char text[8];
	if (argc > 1)
		return 0;
	int fds[2], pair[2];
	setup(&ring, 8, 0);
	MUST(pipe, fds);
	long child = MUST(fork);
	if (!child) {
		entry(&ring, IORING_OP_READ, fds[0], text, 8, 0);
		print("child: submitted %ld\n", submit(&ring, 0));
		leave(0);
	}
	reap(child);
	MUST(write, fds[1], "x", 1);
	wait_for(1);
	child = MUST(fork);
	if (!child) {
		char *words[] = { "again", "x", NULL };
		entry(&ring, IORING_OP_READ, fds[0], text, 8, 0);
		print("child: submitted %ld\n", submit(&ring, 0));
		MUST(fcntl, fds[0], F_SETFD, FD_CLOEXEC);
		SYS(execve, "/proc/self/exe", words, NULL);
	}
	MUST(wait4, child, NULL, 0, 0);
	wait_for(1);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	struct {
		struct cmsghdr head;
		int fd;
	} control = { { 20, SOL_SOCKET, SCM_RIGHTS }, ring.fd };
	struct iovec out = { "x", 1 };
	struct msghdr message = { .msg_iov = &out, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = 20 };
	SHOW(sendmsg, pair[0], &message, 0);
	entry(&ring, IORING_OP_POLL_ADD, ring.fd, NULL, 0, 0)->poll32_events = POLLIN;
	go(&ring, 0);
	SHOW(close, ring.fd);
	return 0;
}
