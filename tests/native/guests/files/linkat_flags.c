/* SPDX-License-Identifier: GPL-2.0-or-later */
/* linkat(2): AT_SYMLINK_FOLLOW, AT_EMPTY_PATH, directories' descriptors. */
#include "native.h"

int main(void)
{
	struct stat st;
	put("a", "x");
	MUST(symlink, "a", "s");
	MUST(mkdir, "dir", 0755);
	int dir = MUST(open, "dir", O_RDONLY), file = MUST(open, "a", O_RDONLY);
	SHOW(linkat, AT_FDCWD, "s", dir, "followed", AT_SYMLINK_FOLLOW);
	SHOW(linkat, AT_FDCWD, "s", dir, "link", 0);
	SHOW(linkat, AT_FDCWD, "s", dir, "link", 1);
	SHOW(linkat, 99, NOWHERE, 99, NOWHERE, 1);
	SHOW(linkat, 99, "a", dir, "x", 0);
	SHOW(linkat, AT_FDCWD, "a", 99, "x", 0);
	SHOW(linkat, AT_FDCWD, "a", file, "x", 0);
	SHOW(linkat, file, "", dir, "x", 0);
	SHOW(linkat, file, "", dir, "empty", AT_EMPTY_PATH);
	SHOW(linkat, dir, "", dir, "self", AT_EMPTY_PATH);
	MUST(stat, "a", &st);
	SAY(st.st_nlink);
	return 0;
}
