/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets that are on their way only through each other go, with what they carry. */
#include "net.h"

int main(void)
{
	char byte;
	int s[2], ends[2];

	for (int i = 0; i < 2000; i++) {
		MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
		if (failed(send_fd(s[0], s[1])) || failed(send_fd(s[1], s[0])))
			return 1;
		MUST(close, s[0]);
		MUST(close, s[1]);
	}
	print("cycles\n");
	MUST(pipe2, ends, 0);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	SAY(send_fd(s[0], ends[1]));
	SAY(send_fd(s[0], s[1]));
	MUST(close, ends[1]);
	MUST(close, s[1]);
	MUST(close, s[0]);
	SHOW(read, ends[0], &byte, 1); /* ends when nobody has the other end any more */
	MUST(pipe2, ends, 0);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	SAY(send_fd(s[0], ends[1]));
	MUST(close, ends[1]);
	MUST(fcntl, ends[0], F_SETFL, O_NONBLOCK);
	SHOW(read, ends[0], &byte, 1);
	MUST(close, s[1]);
	SHOW(read, ends[0], &byte, 1);
	return 0;
}
