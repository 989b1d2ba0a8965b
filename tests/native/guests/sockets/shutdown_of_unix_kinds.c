/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shutdown(2) of each kind of AF_UNIX pair: what can be written, read and polled afterwards. */
#include "net.h"

int main(void)
{
	static const int kinds[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	handle(SIGPIPE, SIG_IGN, 0);
	for (u32 i = 0; i < COUNT(kinds); i++)
		for (int how = SHUT_RD; how <= SHUT_RDWR; how++) {
			int s[2];

			print("kind %d, how %d\n", kinds[i], how);
			MUST(socketpair, AF_UNIX, kinds[i], 0, s);
			MUST(write, s[0], "ab", 2);
			SHOW(shutdown, s[0], how);
			SHOW(write, s[0], "x", 1);
			SHOW(write, s[1], "y", 1);
			events(s[0]);
			events(s[1]);
			take(s[1], 9, 0);
			take(s[1], 9, 0);
			take(s[0], 9, 0);
			SHOW(shutdown, s[1], SHUT_RDWR);
			events(s[0]);
			SHOW(write, s[0], "x", 1);
			MUST(close, s[1]);
			events(s[0]);
			SHOW(write, s[0], "x", 1);
			take(s[0], 9, 0);
			MUST(close, s[0]);
		}
	return 0;
}
