/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poll(2): each kind of file in each state, all events asked for. */
#include "native.h"
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static void ask(const char *what, int fd)
{
	struct pollfd p = { fd, 0x3fff, 0 };
	long n = SYS(poll, &p, 1, 0);

	print("%s: %ld %x", what, n, p.revents);
	p = (struct pollfd){ fd, 0, 0 };
	SYS(poll, &p, 1, 0);
	print(" %x\n", p.revents);
}
static char room[300000];

int main(void)
{
	int a[2], s[2];
	u64 value = 1;
	MUST(pipe2, a, O_NONBLOCK);
	ask("empty pipe, reading", a[0]);
	ask("empty pipe, writing", a[1]);
	MUST(write, a[1], "x", 1);
	ask("pipe with a byte, reading", a[0]);
	while (SYS(write, a[1], room, 4096) > 0)
		;
	ask("full pipe, writing", a[1]);
	MUST(close, a[0]);
	ask("full pipe without reader", a[1]);
	MUST(pipe2, a, O_NONBLOCK);
	MUST(close, a[0]);
	ask("empty pipe without reader", a[1]);
	MUST(pipe2, a, O_NONBLOCK);
	MUST(write, a[1], "x", 1);
	MUST(close, a[1]);
	ask("pipe without writer, a byte left", a[0]);
	SYS(read, a[0], room, 1);
	ask("pipe without writer", a[0]);
	MUST(mknod, "fifo", S_IFIFO | 0600, 0);
	int f = MUST(open, "fifo", O_RDONLY | O_NONBLOCK);
	ask("fifo that had no writer", f);
	int w = MUST(open, "fifo", O_WRONLY | O_NONBLOCK);
	ask("fifo with a writer", f);
	MUST(close, w);
	ask("fifo without writer again", f);
	MUST(socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
	ask("socket", s[0]);
	MUST(write, s[1], "x", 1);
	ask("socket with a byte", s[0]);
	MUST(shutdown, s[1], SHUT_WR);
	ask("socket, the peer writes no more", s[0]);
	ask("the peer", s[1]);
	MUST(shutdown, s[0], SHUT_WR);
	ask("socket, nobody writes", s[0]);
	MUST(close, s[1]);
	ask("socket without peer", s[0]);
	MUST(socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
	while (SYS(write, s[0], room, 10000) > 0)
		;
	ask("full socket", s[0]);
	MUST(socketpair, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s);
	ask("datagrams", s[0]);
	MUST(close, s[1]);
	ask("datagrams without peer", s[0]);
	ask("stream without anything", MUST(socket, AF_UNIX, SOCK_STREAM, 0));
	int e = MUST(eventfd2, 0, 04000);
	ask("eventfd 0", e);
	MUST(write, e, &value, 8);
	ask("eventfd 1", e);
	value = -2;
	SYS(read, e, &value, 8);
	value = -2;
	MUST(write, e, &value, 8);
	ask("eventfd full", e);
	ask("epoll", MUST(epoll_create1, 0));
	ask("inotify", MUST(inotify_init1, 0));
	ask("timerfd", MUST(timerfd_create, 1, 0));
	put("file", "x");
	ask("file", MUST(open, "file", O_RDONLY));
	ask("directory", MUST(open, ".", O_RDONLY));
	ask("path", MUST(open, "file", O_PATH));
	ask("null", MUST(open, "/dev/null", O_RDWR));
	ask("memfd", MUST(memfd_create, "m", 0));
	return 0;
}
