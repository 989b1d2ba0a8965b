/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order in which open(2) looks at flags, name and file. */
#include "native.h"

int main(void)
{
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	MUST(symlink, "file", "link");
	MUST(symlink, "nothing", "dangling");
	SHOW(open, "dir", O_WRONLY);
	SHOW(open, "dir", O_RDONLY | O_CREAT, 0644);
	SHOW(open, "dir", O_RDONLY | O_CREAT | O_DIRECTORY, 0644);
	SHOW(open, "link", O_RDONLY | O_NOFOLLOW);
	SHOW(open, "link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY);
	SHOW(open, "dangling", O_RDONLY);
	SHOW(open, "dangling", O_RDWR | O_CREAT | O_EXCL, 0644);
	SHOW(open, "dangling", O_RDWR | O_CREAT, 0644);
	SHOW(open, "nothing", O_RDONLY);
	SHOW(open, "new/", O_RDWR | O_CREAT, 0644);
	SHOW(open, "dir/.", O_RDWR | O_CREAT, 0644);
	SHOW(open, "dir/..", O_RDONLY | O_CREAT | O_EXCL, 0644);
	SHOW(open, "file/.", O_RDONLY);
	SHOW(open, "file", O_RDONLY | O_TMPFILE, 0600);
	SHOW(open, "dir", O_RDONLY | O_TMPFILE, 0600);
	return 0;
}
