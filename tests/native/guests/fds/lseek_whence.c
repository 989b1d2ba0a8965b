/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lseek(2): from where, how far, holes, and what cannot seek. */
#include "native.h"

int main(void)
{
	int fds[2];
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR), path = MUST(open, "file", O_PATH);
	MUST(pipe2, fds, 0);
	SHOW(lseek, fd, 4, SEEK_SET);
	SHOW(lseek, fd, 2, SEEK_CUR);
	SHOW(lseek, fd, -3, SEEK_END);
	SHOW(lseek, fd, -11, SEEK_END);
	SHOW(lseek, fd, -1, SEEK_SET);
	SHOW(lseek, fd, 0x7fffffffffffffff, SEEK_SET);
	SHOW(lseek, fd, 1, SEEK_CUR);
	SHOW(lseek, fd, 0, 99);
	SHOW(lseek, fd, 0, -1);
	SHOW(lseek, fds[0], 0, SEEK_CUR);
	SHOW(lseek, fds[0], 0, 99);
	SHOW(lseek, 99, 0, 99);
	SHOW(lseek, path, 0, SEEK_SET);
	SHOW(lseek, fd, 0, SEEK_DATA);
	SHOW(lseek, fd, 0, SEEK_HOLE);
	SHOW(lseek, fd, 10, SEEK_DATA);
	SHOW(lseek, fd, 10, SEEK_HOLE);
	MUST(ftruncate, fd, 3 * PAGE);
	SHOW(pwrite64, fd, "x", 1, 2 * PAGE);
	SHOW(lseek, fd, 0, SEEK_HOLE);
	SHOW(lseek, fd, PAGE, SEEK_DATA);
	SHOW(lseek, fd, -1, SEEK_DATA);
	return 0;
}
