/* SPDX-License-Identifier: GPL-2.0-or-later */
/* msync(2): flags, alignment, holes. */
#include "native.h"

int main(void)
{
	put("file", "x");
	int fd = MUST(open, "file", O_RDWR);
	char *p = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *a = anonymous(4 * PAGE, MAP_PRIVATE);
	p[0] = 'y';
	SHOW(msync, p, PAGE, MS_SYNC);
	SHOW(msync, p, PAGE, MS_ASYNC | MS_INVALIDATE);
	SHOW(msync, p, PAGE, 0);
	SHOW(msync, p, PAGE, MS_SYNC | MS_ASYNC);
	SHOW(msync, p, PAGE, 8);
	SHOW(msync, p + 1, PAGE, MS_SYNC);
	SHOW(msync, p, 0, MS_SYNC);
	SHOW(msync, p, -PAGE, MS_SYNC);
	SHOW(msync, p, -1UL, MS_SYNC);
	SHOW(msync, a, 4 * PAGE, MS_SYNC);
	MUST(munmap, a + PAGE, PAGE);
	SHOW(msync, a, 4 * PAGE, MS_SYNC);
	SHOW(msync, a, 4 * PAGE, MS_ASYNC);
	MUST(mlock, p, PAGE);
	SHOW(msync, p, PAGE, MS_INVALIDATE);
	cat("file");
	return 0;
}
