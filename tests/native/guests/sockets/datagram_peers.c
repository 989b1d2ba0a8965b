/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connected AF_UNIX datagram sockets: who may send to whom, full receivers, peers that change or go. */
#include "net.h"

static int named(struct sockaddr_un *name)
{
	int fd = MUST(socket, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	MUST(bind, fd, name, 2 + 3);
	return fd;
}

int main(void)
{
	struct sockaddr_un a = { AF_UNIX, "\0pa" }, b = { AF_UNIX, "\0pb" }, c = { AF_UNIX, "\0pc" };
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int one = named(&a), two = named(&b), three = named(&c), sent = 0;

	SHOW(connect, one, &b, 5);
	SHOW(connect, two, &a, 5);
	SHOW(connect, three, &b, 5);
	SHOW(sendto, three, "x", 1, 0, &b, 5);
	SHOW(write, one, "x", 1);
	take(two, 9, 0);
	SHOW(write, one, "lost", 4);
	SHOW(connect, two, &c, 5);
	events(one);
	SHOW(write, one, "y", 1);
	SHOW(write, one, "y", 1);
	SHOW(connect, two, &nobody, sizeof(nobody));
	SHOW(write, two, "y", 1);
	while (SYS(sendto, three, "z", 1, 0, &b, 5) == 1)
		sent++;
	SAY(sent);
	SHOW(sendto, three, "z", 1, 0, &b, 5);
	SHOW(connect, three, &b, 5);
	events(three);
	take(two, 9, 0);
	events(three);
	MUST(close, two);
	events(three);
	SHOW(write, three, "q", 1);
	SHOW(write, three, "q", 1);
	SHOW(sendto, three, "q", 1, 0, &b, 5);
	SHOW(sendto, three, "q", 1, 0, &c, 5);
	take(three, 9, 0);
	return 0;
}
