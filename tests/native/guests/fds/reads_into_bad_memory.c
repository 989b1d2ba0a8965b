/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing across the end of what is mapped: how much counts. */
#include "native.h"

static char big[3 * PAGE];

int main(void)
{
	int fds[2];
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR);
	char *p = anonymous(2 * PAGE, MAP_PRIVATE), *end = p + PAGE;
	MUST(munmap, end, PAGE);
	MUST(pipe2, fds, O_NONBLOCK);
	SHOW(pread64, fd, end - 4, 10, 0);
	SHOW(pread64, fd, end, 10, 0);
	memcpy(end - 4, "abcd", 4);
	SHOW(pwrite64, fd, end - 4, 10, 0);
	SHOW(pwrite64, fd, end, 10, 0);
	cat("file");
	SHOW(write, fds[1], end - 4, 10);
	SHOW(write, fds[1], big, sizeof(big));
	SHOW(read, fds[0], end - 8, 100);
	SHOW(read, fds[0], big, sizeof(big));
	MUST(mprotect, p, PAGE, PROT_READ);
	SHOW(pread64, fd, p, 10, 0);
	SHOW(pwrite64, fd, p, 4, 0);
	MUST(mprotect, p, PAGE, PROT_NONE);
	SHOW(pwrite64, fd, p, 4, 0);
	return 0;
}
