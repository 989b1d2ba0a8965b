/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP connections that are shut in one or both directions, reset, or disconnected. */
#include "net.h"

int main(void)
{
	struct linger now = { 1, 0 };
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int s[2];

	handle(SIGPIPE, SIG_IGN, 0);
	print("the reader shuts\n");
	tcp_pair(s);
	SHOW(shutdown, s[1], SHUT_RD);
	SHOW(write, s[0], "abc", 3);
	sleep_ms(20);
	events(s[1]);
	take(s[1], 9, 0);
	take(s[1], 9, 0);
	print("both shut\n");
	tcp_pair(s);
	SHOW(shutdown, s[0], SHUT_WR);
	sleep_ms(20);
	events(s[0]);
	events(s[1]);
	take(s[1], 9, 0);
	SHOW(write, s[0], "a", 1);
	SHOW(write, s[1], "bc", 2);
	SHOW(shutdown, s[1], SHUT_WR);
	sleep_ms(20);
	take(s[0], 9, 0);
	events(s[0]);
	SHOW(shutdown, s[0], SHUT_WR);
	SHOW(shutdown, s[1], SHUT_RDWR);
	print("closed\n");
	tcp_pair(s);
	MUST(write, s[0], "abc", 3);
	MUST(close, s[0]);
	sleep_ms(20);
	events(s[1]);
	take(s[1], 9, 0);
	take(s[1], 9, 0);
	SHOW(write, s[1], "x", 1);
	sleep_ms(20);
	events(s[1]);
	SHOW(write, s[1], "x", 1);
	SHOW(write, s[1], "x", 1);
	print("closed with something unread\n");
	tcp_pair(s);
	MUST(write, s[0], "abc", 3);
	sleep_ms(20);
	MUST(close, s[1]);
	sleep_ms(20);
	events(s[0]);
	SHOW(write, s[0], "x", 1);
	take(s[0], 9, 0);
	print("closed at once\n");
	tcp_pair(s);
	SHOW(setsockopt, s[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	MUST(close, s[1]);
	sleep_ms(20);
	events(s[0]);
	GET(s[0], SOL_SOCKET, SO_ERROR);
	take(s[0], 9, 0);
	print("disconnected\n");
	tcp_pair(s);
	SHOW(connect, s[0], &nobody, sizeof(nobody));
	sleep_ms(20);
	events(s[0]);
	SHOW(write, s[0], "x", 1);
	take(s[1], 9, 0);
	SHOW(getpeername, s[0], &nobody, &(int){ sizeof(nobody) });
	return 0;
}
