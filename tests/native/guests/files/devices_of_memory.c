/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /dev/null, /dev/zero, /dev/full: reading, writing, seeking, mapping. */
#include "native.h"

int main(void)
{
	char text[8] = "abcdefg";
	int n = SHOW(open, "/dev/null", O_RDWR), z = SHOW(open, "/dev/zero", O_RDWR), f = SHOW(open, "/dev/full", O_RDWR);
	SHOW(read, n, text, 8);
	SHOW(read, z, text, 4);
	print("%d %c\n", text[0], text[4]);
	SHOW(read, f, text, 8);
	SHOW(write, n, text, 8);
	SHOW(write, z, text, 8);
	SHOW(write, f, text, 8);
	SHOW(write, f, text, 0);
	SHOW(write, n, NOWHERE, 8);
	SHOW(read, z, NOWHERE, 8);
	SHOW(lseek, n, 5, SEEK_SET);
	SHOW(lseek, z, -5, SEEK_SET);
	SHOW(ftruncate, n, 0);
	SHOW(fallocate, n, 0, 0, 1);
	char *p = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, z, 0);
	SAY(p[0]);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, n, 0);
	SHOW(pread64, z, text, 8, 100);
	SHOW(fsync, n);
	SHOW(open, "/dev/null/", O_RDWR);
	SHOW(open, "/dev/null", O_RDWR | O_TRUNC | O_CREAT, 0600);
	return 0;
}
