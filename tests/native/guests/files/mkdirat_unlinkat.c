/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls with a directory's descriptor, and what AT_REMOVEDIR takes away. */
#include "native.h"

int main(void)
{
	MUST(mkdir, "dir", 0755);
	int dir = MUST(open, "dir", O_RDONLY);
	SHOW(mkdirat, dir, "a", 0700);
	SHOW(mkdirat, dir, "a", 0700);
	SHOW(mkdirat, 99, "a", 0700);
	SHOW(mkdirat, 1, "a", 0700);
	SHOW(mkdirat, AT_FDCWD, "b", 0700);
	SHOW(unlinkat, dir, "a", 0);
	SHOW(unlinkat, dir, "a", 1);
	SHOW(unlinkat, dir, "a", AT_REMOVEDIR | AT_SYMLINK_NOFOLLOW);
	SHOW(unlinkat, dir, "a", AT_REMOVEDIR);
	SHOW(unlinkat, dir, "a", AT_REMOVEDIR);
	SHOW(unlinkat, dir, "", 0);
	put("dir/f", "x");
	SHOW(unlinkat, dir, "f", AT_REMOVEDIR);
	SHOW(unlinkat, dir, "f", 0);
	SHOW(unlinkat, 99, "f", 0);
	SHOW(unlinkat, 99, NOWHERE, 1);
	return 0;
}
