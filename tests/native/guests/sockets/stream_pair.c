/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pair of stream sockets: ends, shutdown(2), SIGPIPE and MSG_NOSIGNAL, peeking. */
#include "native.h"
#include <sys/socket.h>

static void on_pipe(int signo)
{
	print("%s\n", signal_name(signo));
}

int main(void)
{
	int s[2];
	char text[16] = "";
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	handle(SIGPIPE, on_pipe, 0);
	SHOW(sendto, s[0], "abcdef", 6, 0, NULL, 0);
	SHOW(recvfrom, s[1], text, 2, MSG_PEEK, NULL, NULL);
	SHOW(recvfrom, s[1], text, 4, 0, NULL, NULL);
	print("%s\n", text);
	SHOW(recvfrom, s[1], text, 16, MSG_DONTWAIT, NULL, NULL);
	SHOW(recvfrom, s[1], text, 16, MSG_DONTWAIT, NULL, NULL);
	SHOW(recvfrom, s[1], NOWHERE, 16, MSG_DONTWAIT, NULL, NULL);
	SHOW(sendto, s[0], NOWHERE, 6, 0, NULL, 0);
	SHOW(sendto, 99, "a", 1, 0, NULL, 0);
	SHOW(sendto, 1, "a", 1, 0, NULL, 0);
	SHOW(recvfrom, 99, text, 1, 0, NULL, NULL);
	SHOW(recvfrom, 1, text, 1, 0, NULL, NULL);
	SHOW(shutdown, s[0], 3);
	SHOW(shutdown, 99, 3);
	SHOW(shutdown, 1, SHUT_RD);
	SHOW(shutdown, s[0], SHUT_WR);
	SHOW(sendto, s[0], "a", 1, MSG_NOSIGNAL, NULL, 0);
	SHOW(sendto, s[0], "a", 1, 0, NULL, 0);
	SHOW(write, s[0], "a", 1);
	SHOW(recvfrom, s[1], text, 16, 0, NULL, NULL);
	SHOW(write, s[1], "xyz", 3);
	SHOW(close, s[1]);
	SHOW(read, s[0], text, 16);
	SHOW(read, s[0], text, 16);
	return 0;
}
