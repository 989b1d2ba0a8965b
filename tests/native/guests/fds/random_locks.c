/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Record locks of two processes that take turns, by chance. */
#include "native.h"

static int open_again(void)
{
	return MUST(open, "file", O_RDONLY);
}
static long one(int fd)
{
	struct flock lock = { .l_type = chance(3), .l_start = chance(30), .l_len = chance(12) };
	long result;

	if (chance(4)) {
		return SYS(fcntl, fd, F_SETLK, &lock);
	}
	if (lock.l_type == F_UNLCK)
		lock.l_type = F_WRLCK;
	result = SYS(fcntl, fd, F_GETLK, &lock);
	return result ?: lock.l_type * 10000 + (long)lock.l_start * 100 + (long)lock.l_len;
}

int main(void)
{
	int to[2], from[2];
	char byte;
	put("file", "x");
	MUST(pipe2, to, 0);
	MUST(pipe2, from, 0);
	int fd = MUST(open, "file", O_RDWR);
	long pid = MUST(fork);
	if (!pid) {
		for (int i = 0; i < 77; i++)
			chance(2);
		MUST(close, to[1]);
		while (SYS(read, to[0], &byte, 1) == 1) {
			for (int i = 0; i < 6; i++)
				print(" c%ld", one(fd));
			if (chance(20) == 0)
				SYS(close, open_again());
			MUST(write, from[1], "x", 1);
		}
		leave(0);
	}
	for (int line = 0; line < 120; line++) {
		for (int i = 0; i < 6; i++)
			print(" p%ld", one(fd));
		if (chance(20) == 0)
			SYS(close, open_again());
		MUST(write, to[1], "x", 1);
		MUST(read, from[0], &byte, 1);
		print("\n");
	}
	MUST(close, to[1]);
	reap(pid);
	return 0;
}
