/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A socket waits in the inbox of one that waits in the inbox of the next, and so on; the last one is closed. */
#include "net.h"

static long pass(int to, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec vec = { "x", 1 };
	struct msghdr message = { .msg_iov = &vec, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof control };

	*(int *)CMSG_DATA(&control.header) = fd;
	return SYS(sendmsg, to, &message, 0);
}

int main(void)
{
	int p[2], inner, sent = 0;
	char byte;

	MUST(pipe2, p, 0);
	inner = p[1];
	for (int i = 0; i < 400; i++) {
		int s[2];

		MUST(socketpair, AF_UNIX, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0, s);
		sent += pass(s[0], inner) == 1;
		MUST(close, inner);
		MUST(close, s[0]);
		inner = s[1];
	}
	SAY(sent);
	SHOW(close, inner);
	SHOW(read, p[0], &byte, 1); /* the innermost is closed too */
	return 0;
}
