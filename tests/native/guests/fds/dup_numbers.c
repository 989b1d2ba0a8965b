/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dup(2), dup2(2), dup3(2): which number, and what happens to what was there. */
#include "native.h"

int main(void)
{
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(dup, fd);
	SHOW(dup, 99);
	SHOW(dup, -1);
	SHOW(dup2, fd, 10);
	SHOW(dup2, fd, fd);
	SHOW(dup2, 99, 99);
	SHOW(dup2, 99, fd);
	SHOW(dup2, fd, -1);
	SHOW(dup2, fd, 1 << 30);
	SHOW(dup2, 99, -1);
	SHOW(dup3, fd, 11, O_CLOEXEC);
	SHOW(dup3, fd, fd, 0);
	SHOW(dup3, 99, 99, 0);
	SHOW(dup3, fd, 12, O_NONBLOCK);
	SHOW(dup3, fd, -1, 0);
	SHOW(dup3, fd, -1, O_NONBLOCK);
	SHOW(fcntl, 10, F_GETFD);
	SHOW(fcntl, 11, F_GETFD);
	SHOW(fcntl, fd, F_DUPFD, 20);
	SHOW(fcntl, fd, F_DUPFD_CLOEXEC, 20);
	SHOW(fcntl, fd, F_DUPFD, -1);
	SHOW(fcntl, fd, F_DUPFD, 1 << 30);
	SHOW(lseek, 10, 5, SEEK_SET);
	SHOW(lseek, fd, 0, SEEK_CUR);
	return 0;
}
