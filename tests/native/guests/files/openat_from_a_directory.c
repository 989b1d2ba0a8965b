/* SPDX-License-Identifier: GPL-2.0-or-later */
/* openat(2) begins at the descriptor, unless the path is absolute. */
#include "native.h"

int main(void)
{
	put("top", "x");
	MUST(mkdir, "dir", 0755);
	int dir = MUST(open, "dir", O_RDONLY | O_DIRECTORY);
	int file = MUST(open, "top", O_RDONLY);
	SHOW(openat, dir, "in", O_WRONLY | O_CREAT | O_EXCL, 0640);
	SHOW(openat, dir, "../top", O_RDONLY);
	SHOW(openat, dir, "top", O_RDONLY);
	SHOW(openat, file, "x", O_RDONLY);
	SHOW(openat, 99, "x", O_RDONLY);
	SHOW(openat, 99, "/", O_RDONLY);
	SHOW(openat, 99, "", O_RDONLY);
	SHOW(openat, -1, NOWHERE, O_RDONLY);
	SHOW(openat, AT_FDCWD, "top", O_RDONLY);
	SHOW(rmdir, "dir");
	SHOW(openat, dir, "..", O_RDONLY);
	MUST(unlinkat, dir, "in", 0);
	MUST(rmdir, "dir");
	SHOW(openat, dir, "x", O_RDWR | O_CREAT, 0644);
	SHOW(openat, dir, ".", O_RDONLY);
	return 0;
}
