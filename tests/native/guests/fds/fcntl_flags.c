/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fcntl(2): descriptor flags, file flags, commands that are none. */
#include "native.h"

int main(void)
{
	int fds[2];
	put("file", "x");
	int fd = MUST(open, "file", O_RDWR), path = MUST(open, "file", O_PATH);
	MUST(pipe2, fds, O_CLOEXEC);
	SHOW(fcntl, fd, F_GETFD);
	SHOW(fcntl, fds[0], F_GETFD);
	SHOW(fcntl, fd, F_SETFD, -1);
	SHOW(fcntl, fd, F_GETFD);
	print("%lx\n", MUST(fcntl, fd, F_GETFL));
	SHOW(fcntl, fd, F_SETFL, O_APPEND | O_NONBLOCK | O_RDONLY | O_TRUNC);
	print("%lx\n", MUST(fcntl, fd, F_GETFL));
	print("%lx\n", MUST(fcntl, fds[1], F_GETFL));
	print("%lx\n", MUST(fcntl, path, F_GETFL));
	SHOW(fcntl, fd, 9999);
	SHOW(fcntl, 99, 9999);
	SHOW(fcntl, 99, F_GETFD);
	SHOW(fcntl, path, F_SETFL, 0);
	SHOW(fcntl, path, F_GETFD);
	SHOW(fcntl, path, F_GETLK, NOWHERE);
	SHOW(fcntl, fd, F_GETLK, NOWHERE);
	return 0;
}
