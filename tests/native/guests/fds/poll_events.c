/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poll(2): files, pipes, ends that are closed, bad descriptors, counts. */
#include "native.h"

int main(void)
{
	int fds[2], more[2];
	MUST(pipe2, fds, 0);
	MUST(pipe2, more, 0);
	put("file", "x");
	int file = MUST(open, "file", O_RDONLY);
	struct pollfd p[5] = { { fds[0], POLLIN, 0 }, { fds[1], POLLOUT, 0 }, { file, POLLIN | POLLOUT, 0 }, { 99, POLLIN, 0 }, { -1, POLLIN, 7 } };
	SHOW(poll, p, 5, 0);
	for (int i = 0; i < 5; i++)
		print("%d: %x\n", i, p[i].revents);
	MUST(write, fds[1], "x", 1);
	SHOW(poll, p, 1, -1);
	print("%x\n", p[0].revents);
	MUST(close, fds[1]);
	SHOW(poll, p, 1, -1);
	print("%x\n", p[0].revents);
	p[1] = (struct pollfd){ more[1], POLLOUT, 0 };
	MUST(close, more[0]);
	SHOW(poll, p + 1, 1, -1);
	print("%x\n", p[1].revents);
	SHOW(poll, NULL, 0, 1);
	SHOW(poll, NOWHERE, 1, 0);
	SHOW(poll, p, -1, 0);
	SHOW(poll, NOWHERE, 1 << 30, 0);
	return 0;
}
