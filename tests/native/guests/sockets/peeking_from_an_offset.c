/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_PEEK_OFF of streams and messages. */
#include "net.h"

int main(void)
{
	static const int kinds[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	for (u32 i = 0; i < COUNT(kinds); i++) {
		int s[2];

		print("kind %d\n", kinds[i]);
		MUST(socketpair, AF_UNIX, kinds[i], 0, s);
		GET(s[1], SOL_SOCKET, SO_PEEK_OFF);
		SET(s[1], SOL_SOCKET, SO_PEEK_OFF, 0);
		MUST(write, s[0], "abc", 3);
		MUST(write, s[0], "defg", 4);
		take(s[1], 2, MSG_PEEK);
		GET(s[1], SOL_SOCKET, SO_PEEK_OFF);
		take(s[1], 9, MSG_PEEK);
		take(s[1], 9, MSG_PEEK);
		take(s[1], 9, MSG_PEEK);
		GET(s[1], SOL_SOCKET, SO_PEEK_OFF);
		take(s[1], 1, 0);
		GET(s[1], SOL_SOCKET, SO_PEEK_OFF);
		SET(s[1], SOL_SOCKET, SO_PEEK_OFF, 1);
		take(s[1], 9, MSG_PEEK);
		SET(s[1], SOL_SOCKET, SO_PEEK_OFF, -1);
		take(s[1], 9, MSG_PEEK);
	}
	return 0;
}
