/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A FIFO: O_NONBLOCK for each end, both ends, and a child on the other side. */
#include "native.h"

int main(void)
{
	char text[8] = "";
	MUST(mknod, "fifo", S_IFIFO | 0600, 0);
	SHOW(open, "fifo", O_WRONLY | O_NONBLOCK);
	int r = SHOW(open, "fifo", O_RDONLY | O_NONBLOCK);
	SHOW(read, r, text, 1);
	int w = SHOW(open, "fifo", O_WRONLY | O_NONBLOCK);
	SHOW(read, r, text, 1);
	SHOW(write, w, "ab", 2);
	SHOW(close, w);
	SHOW(read, r, text, 8);
	SHOW(read, r, text, 8);
	SHOW(close, r);
	int both = SHOW(open, "fifo", O_RDWR);
	SHOW(write, both, "c", 1);
	SHOW(read, both, text, 8);
	SHOW(close, both);
	long pid = MUST(fork);
	if (!pid) {
		int fd = MUST(open, "fifo", O_WRONLY);

		MUST(write, fd, "child", 5);
		leave(0);
	}
	r = SHOW(open, "fifo", O_RDONLY);
	SHOW(read, r, text, 8);
	SHOW(read, r, text, 8);
	reap(pid);
	return 0;
}
