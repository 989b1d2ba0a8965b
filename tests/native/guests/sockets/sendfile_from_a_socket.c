/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendfile(2) into a pipe: from a socket, and of no bytes, which needs nothing of the source. */
#include "native.h"
#include <sys/socket.h>

int main(void)
{
	int pair[2], ends[2], other[2];
	char text[16] = { 0 };
	long null = MUST(open, "/dev/null", O_RDWR);

	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	MUST(pipe2, ends, 0);
	MUST(pipe2, other, 0);
	SHOW(sendfile, ends[1], pair[0], NULL, 0);
	SHOW(sendfile, ends[1], other[0], NULL, 0);
	SHOW(sendfile, ends[1], null, NULL, 0);
	SHOW(sendfile, ends[1], null, NULL, 1);
	SHOW(sendfile, null, null, NULL, 0);
	MUST(write, pair[1], "abcdef", 6);
	SHOW(sendfile, ends[1], pair[0], NULL, 4);
	SHOW(read, ends[0], text, sizeof(text));
	print("%s\n", text);
	SHOW(sendfile, null, pair[0], NULL, 1);
	SHOW(sendfile, ends[1], pair[0], NULL, 100);
	MUST(fcntl, ends[1], F_SETFL, O_NONBLOCK);
	SHOW(sendfile, ends[1], pair[0], NULL, 1);
	MUST(close, pair[1]);
	SHOW(sendfile, ends[1], pair[0], NULL, 1);
	return 0;
}
