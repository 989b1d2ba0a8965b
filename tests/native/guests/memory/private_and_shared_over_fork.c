/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Anonymous and file memory, private and shared, before and after fork(2). */
#include "native.h"

int main(void)
{
	put("file", "f");
	int fd = MUST(open, "file", O_RDWR);
	char *ap = anonymous(PAGE, MAP_PRIVATE), *as = anonymous(PAGE, MAP_SHARED);
	char *fp = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char *fs = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ap[0] = as[0] = 'a';
	long pid = MUST(fork);
	if (!pid) {
		ap[0] = as[0] = 'b';
		print("child %c\n", fp[0]);
		fp[0] = 'c';
		fs[0] = 'd';
		print("child %c %c %c %c\n", ap[0], as[0], fp[0], fs[0]);
		leave(0);
	}
	reap(pid);
	print("%c %c %c %c\n", ap[0], as[0], fp[0], fs[0]);
	fp[0] = 'e';
	print("%c %c\n", fp[0], fs[0]);
	SHOW(pwrite64, fd, "g", 1, 0);
	print("%c %c\n", fp[0], fs[0]);
	cat("file");
	return 0;
}
