/* SPDX-License-Identifier: GPL-2.0-or-later */
/* F_GETPIPE_SZ and F_SETPIPE_SZ: rounding, limits, pipes with something in them. */
#include "native.h"

static char text[8192];

int main(void)
{
	int fds[2];
	put("file", "x");
	int fd = MUST(open, "file", O_RDWR);
	MUST(pipe2, fds, 0);
	SHOW(fcntl, fds[0], F_GETPIPE_SZ);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 1);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 4097);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 12288);
	SHOW(fcntl, fds[0], F_GETPIPE_SZ);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 0);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, -1);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 16384);
	SHOW(write, fds[1], text, sizeof(text));
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 4096);
	SHOW(read, fds[0], text, 4096);
	SHOW(fcntl, fds[1], F_SETPIPE_SZ, 4096);
	SHOW(fcntl, fd, F_SETPIPE_SZ, 4096);
	SHOW(fcntl, fd, F_GETPIPE_SZ);
	return 0;
}
