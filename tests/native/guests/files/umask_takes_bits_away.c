/* SPDX-License-Identifier: GPL-2.0-or-later */
/* umask(2), and which calls it holds for. */
#include "native.h"

int main(void)
{
	SHOW(umask, 077);
	SHOW(umask, 07777);
	SHOW(umask, 027);
	SHOW(mkdir, "dir", 07777);
	SHOW(open, "file", O_RDWR | O_CREAT, 07777);
	SHOW(mknod, "fifo", S_IFIFO | 0666, 0);
	SHOW(symlink, "x", "link");
	SHOW(chmod, "file", 0666);
	SHOW(umask, 0);
	return 0;
}
