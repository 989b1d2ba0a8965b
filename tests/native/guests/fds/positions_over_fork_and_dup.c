/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A position belongs to the open file, not to the descriptor or the process. */
#include "native.h"

int main(void)
{
	char byte;
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDONLY), copy = MUST(dup, fd), other = MUST(open, "file", O_RDONLY);
	SHOW(read, fd, &byte, 1);
	SHOW(lseek, copy, 0, SEEK_CUR);
	SHOW(lseek, other, 0, SEEK_CUR);
	long pid = MUST(fork);
	if (!pid) {
		MUST(lseek, fd, 5, SEEK_SET);
		MUST(close, copy);
		leave(0);
	}
	reap(pid);
	SHOW(read, copy, &byte, 1);
	print("%c\n", byte);
	SHOW(fcntl, copy, F_SETFL, O_NONBLOCK);
	print("%lx %lx\n", SYS(fcntl, fd, F_GETFL) & O_NONBLOCK, SYS(fcntl, other, F_GETFL) & O_NONBLOCK);
	return 0;
}
