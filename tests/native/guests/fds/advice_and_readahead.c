/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fadvise64(2) and readahead(2): checked, whatever they do. */
#include "native.h"

int main(void)
{
	int fds[2];
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY), wo = MUST(open, "file", O_WRONLY);
	MUST(pipe2, fds, 0);
	SHOW(fadvise64, fd, 0, 0, POSIX_FADV_WILLNEED);
	SHOW(fadvise64, fd, 0, 1, POSIX_FADV_DONTNEED);
	SHOW(fadvise64, fd, 0, 1, 6);
	SHOW(fadvise64, fd, -1, 1, 0);
	SHOW(fadvise64, fd, 0, -1, 0);
	SHOW(fadvise64, fds[0], 0, 1, 0);
	SHOW(fadvise64, 99, 0, 1, 0);
	SHOW(fadvise64, 99, 0, -1, 6);
	SHOW(readahead, fd, 0, 1);
	SHOW(readahead, wo, 0, 1);
	SHOW(readahead, 99, 0, 1);
	SHOW(readahead, fds[0], 0, 1);
	return 0;
}
