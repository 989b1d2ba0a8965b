/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.0
/* SEEK_DATA and SEEK_HOLE in a file of tmpfs: what fallocate has made is a hole until it is written or mapped. */
#include "native.h"

int main(void)
{
	long fd = MUST(open, "file", O_RDWR | O_CREAT, 0600);

	SHOW(ftruncate, fd, 16 * PAGE);
	SHOW(fallocate, fd, 0, 2 * PAGE, 4 * PAGE);
	SHOW(lseek, fd, 0, SEEK_DATA);
	SHOW(lseek, fd, 2 * PAGE, SEEK_HOLE);
	SHOW(pwrite64, fd, "x", 1, 10 * PAGE);
	SHOW(lseek, fd, 0, SEEK_DATA);
	SHOW(lseek, fd, 10 * PAGE, SEEK_HOLE);
	SHOW(pwrite64, fd, "\0", 1, 3 * PAGE);
	SHOW(lseek, fd, 0, SEEK_DATA);
	SHOW(lseek, fd, 3 * PAGE, SEEK_HOLE);
	char *map = (char *)MUST(mmap, 0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	map[4 * PAGE] = 1;
	SHOW(lseek, fd, 4 * PAGE, SEEK_DATA);
	SHOW(lseek, fd, 5 * PAGE, SEEK_DATA);
	SHOW(fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE, PAGE);
	SHOW(lseek, fd, 3 * PAGE, SEEK_DATA);
	SHOW(lseek, fd, 16 * PAGE, SEEK_DATA);
	SHOW(lseek, fd, 16 * PAGE - 1, SEEK_HOLE);
	return 0;
}
