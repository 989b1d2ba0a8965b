/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pread64(2) and pwrite64(2): the position stays; what has none. */
#include "native.h"

int main(void)
{
	char text[8] = "";
	int fds[2];
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR), app = MUST(open, "file", O_WRONLY | O_APPEND);
	MUST(pipe2, fds, 0);
	SHOW(pread64, fd, text, 3, 4);
	print("%s\n", text);
	SHOW(pwrite64, fd, "ab", 2, 8);
	SHOW(lseek, fd, 0, SEEK_CUR);
	SHOW(pread64, fd, text, 3, 100);
	SHOW(pread64, fd, text, 3, -1);
	SHOW(pwrite64, fd, text, 3, -1);
	SHOW(pread64, 99, text, 3, -1);
	SHOW(pwrite64, 99, text, 3, 0);
	SHOW(pread64, fds[0], text, 3, 0);
	SHOW(pwrite64, fds[1], text, 3, 0);
	SHOW(pread64, fds[1], text, 3, 0);
	SHOW(pread64, app, text, 3, 0);
	SHOW(pwrite64, app, "end", 3, 0);
	SHOW(pread64, fd, NOWHERE, 3, 0);
	SHOW(pwrite64, fd, NOWHERE, 3, 0);
	SHOW(pwrite64, fd, "x", 1, 0x7fffffffffffffff);
	return 0;
}
