/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fallocate(2): what it makes, punches and refuses. */
#include "native.h"
#include <linux/falloc.h>

int main(void)
{
	struct stat st;
	char byte = 'x';
	int fds[2];
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR), ro = MUST(open, "file", O_RDONLY);
	MUST(pipe2, fds, 0);
	SHOW(fallocate, fd, 0, 0, 20);
	MUST(fstat, fd, &st);
	SAY(st.st_size);
	SHOW(fallocate, fd, FALLOC_FL_KEEP_SIZE, 0, 8192);
	MUST(fstat, fd, &st);
	SAY(st.st_size);
	SHOW(fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 2);
	SHOW(pread64, fd, &byte, 1, 1);
	SAY(byte);
	SHOW(fallocate, fd, FALLOC_FL_PUNCH_HOLE, 1, 2);
	SHOW(fallocate, fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
	SHOW(fallocate, fd, FALLOC_FL_ZERO_RANGE, 0, 4096);
	SHOW(fallocate, fd, 0x400, 0, 4096);
	SHOW(fallocate, fd, 0, -1, 1);
	SHOW(fallocate, fd, 0, 0, 0);
	SHOW(fallocate, fd, 0, 0, -1);
	SHOW(fallocate, fd, 0, 0x7fffffffffffffff, 1);
	SHOW(fallocate, ro, 0, 0, 1);
	SHOW(fallocate, ro, 0x400, 0, 0);
	SHOW(fallocate, 99, 0x400, -1, 0);
	SHOW(fallocate, fds[1], 0, 0, 1);
	SHOW(fallocate, MUST(open, ".", O_RDONLY), 0, 0, 1);
	return 0;
}
