/* SPDX-License-Identifier: GPL-2.0-or-later */
/* preadv(2), pwritev(2), and the second forms with flags. */
#include "native.h"

int main(void)
{
	char a[4] = "", b[4] = "";
	struct iovec v[2] = { { a, 3 }, { b, 3 } };
	int fds[2];
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR);
	MUST(pipe2, fds, 0);
	SHOW(preadv, fd, v, 2, 1);
	print("%s %s\n", a, b);
	SHOW(preadv, fd, v, 2, -1);
	SHOW(preadv, 99, v, 2, -1);
	SHOW(preadv, 99, v, 2, 0);
	SHOW(preadv, fds[0], v, 2, 0);
	SHOW(pwritev, fd, v, 2, 7);
	SHOW(pwritev, fd, v, 2, -1);
	SHOW(pwritev, fds[1], v, 2, 0);
	SHOW(pwritev, fd, v, 1025, 0);
	SHOW(preadv2, fd, v, 1, -1, 0, 0);
	SHOW(preadv2, fd, v, 1, -2, 0, 0);
	SHOW(preadv2, fd, v, 1, 0, 0, 0x40000000);
	SHOW(pwritev2, fd, v, 1, -1, 0, 0);
	SHOW(pwritev2, fd, v, 1, -2, 0, 0);
	SHOW(pwritev2, fd, v, 1, 0, 0, 0x40000000);
	SHOW(pwritev2, 99, v, 1, 0, 0, 0);
	SHOW(preadv2, 99, v, 1, 0, 0, 0);
	SHOW(lseek, fd, 0, SEEK_CUR);
	return 0;
}
