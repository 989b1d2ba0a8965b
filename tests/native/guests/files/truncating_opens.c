/* SPDX-License-Identifier: GPL-2.0-or-later */
/* O_TRUNC: with which rights, and of which kinds of files. */
// needs: root
#include "native.h"

int main(void)
{
	put("file", "text");
	put("readable", "text");
	MUST(chmod, "file", 0666);
	MUST(mkdir, "dir", 0755);
	MUST(mknod, "fifo", S_IFIFO | 0666, 0);
	SHOW(open, "dir", O_RDONLY | O_TRUNC);
	SHOW(open, "dir", O_WRONLY | O_TRUNC);
	SHOW(open, "fifo", O_RDWR | O_TRUNC);
	become(1000);
	SHOW(open, "readable", O_RDONLY | O_TRUNC);
	cat("readable");
	SHOW(open, "file", O_RDONLY | O_TRUNC);
	cat("file");
	SHOW(open, "missing", O_RDONLY | O_TRUNC);
	return 0;
}
