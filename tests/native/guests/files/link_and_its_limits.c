/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link(2): what may be linked where. */
#include "native.h"

int main(void)
{
	struct stat st;
	put("a", "x");
	MUST(mkdir, "dir", 0755);
	SHOW(link, "a", "b");
	SHOW(link, "a", "b");
	SHOW(link, "a", "dir");
	SHOW(link, "a", "dir/c");
	SHOW(link, "missing", "d");
	SHOW(link, "missing", "b");
	SHOW(link, "a", "missing/d");
	SHOW(link, "a", "b/d");
	SHOW(link, "dir", "d");
	SHOW(link, "dir", "b");
	SHOW(link, "a", "");
	SHOW(link, "", "d");
	SHOW(link, NOWHERE, "d");
	SHOW(link, "a", NOWHERE);
	SHOW(link, "a", "d/");
	SHOW(link, "a", "/proc/self/x");
	MUST(stat, "a", &st);
	SAY(st.st_nlink);
	MUST(symlink, "a", "s");
	SHOW(link, "s", "t");
	MUST(lstat, "t", &st);
	print("%o\n", st.st_mode & S_IFMT);
	return 0;
}
