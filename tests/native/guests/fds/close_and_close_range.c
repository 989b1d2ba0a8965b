/* SPDX-License-Identifier: GPL-2.0-or-later */
/* close(2) and close_range(2). */
#include "native.h"

int main(void)
{
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY);
	for (int i = 10; i < 16; i++)
		MUST(dup2, fd, i);
	SHOW(close, 10);
	SHOW(close, 10);
	SHOW(close, -1);
	SHOW(close_range, 11, 12, 0);
	SHOW(close, 11);
	SHOW(close, 13);
	SHOW(close_range, 14, 14, 4);
	SHOW(fcntl, 14, F_GETFD);
	SHOW(fcntl, 15, F_GETFD);
	SHOW(close_range, 15, 14, 0);
	SHOW(close_range, 15, 14, 1);
	SHOW(close_range, 14, 15, 1);
	SHOW(close_range, 14, ~0u, 2);
	SHOW(close, 14);
	SHOW(close_range, 100, 200, 0);
	return 0;
}
