/* SPDX-License-Identifier: GPL-2.0-or-later */
/* newfstatat(2): AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, and flags that are none. */
// since: 6.11
#include "native.h"

int main(void)
{
	struct stat st;
	put("file", "text");
	MUST(symlink, "file", "link");
	int fd = MUST(open, "file", O_RDONLY), dir = MUST(open, ".", O_RDONLY);
	SHOW(newfstatat, dir, "file", &st, 0);
	SHOW(newfstatat, dir, "link", &st, AT_SYMLINK_NOFOLLOW);
	SAY(st.st_mode & S_IFMT);
	SHOW(newfstatat, fd, "", &st, AT_EMPTY_PATH);
	SAY(st.st_size);
	SHOW(newfstatat, fd, NULL, &st, AT_EMPTY_PATH);
	SHOW(newfstatat, fd, "", &st, 0);
	SHOW(newfstatat, AT_FDCWD, "", &st, AT_EMPTY_PATH);
	SHOW(newfstatat, fd, "x", &st, 0);
	SHOW(newfstatat, 99, "x", &st, 0);
	SHOW(newfstatat, 99, "", &st, AT_EMPTY_PATH);
	SHOW(newfstatat, 99, NOWHERE, &st, 1);
	SHOW(newfstatat, dir, "file", NOWHERE, 0);
	SHOW(newfstatat, dir, "file", &st, AT_NO_AUTOMOUNT);
	return 0;
}
