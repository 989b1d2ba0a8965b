/* SPDX-License-Identifier: GPL-2.0-or-later */
/* renameat2(2): each old name with each new one and each flag. */
#define WHOLE_LINES
#include "native.h"

static const char *const paths[] = { NOWHERE, "", "file", "dir", "full", "full/in", "link", "missing", "file/x", ".", "dir/..", "dir/" };
static const char *const names[] = { "(bad)", "(empty)", "file", "dir", "full", "full/in", "link", "missing", "file/x", ".", "dir/..", "dir/" };
static const u32 flags[] = { 0, 1, 2, 3, 4, 8 };
static void make(void)
{
	put("file", "x");
	SYS(mkdir, "dir", 0755);
	SYS(mkdir, "full", 0755);
	put("full/in", "x");
	SYS(symlink, "file", "link");
}
static void clear(void)
{
	static const char *const all[] = { "file/in", "dir/in", "full/in", "link/in", "missing/in", "file", "dir", "full", "link", "missing" };

	for (u32 i = 0; i < COUNT(all); i++)
		if (SYS(unlink, all[i]) == -EISDIR)
			MUST(rmdir, all[i]);
}

int main(void)
{
	for (u32 p = 0; p < COUNT(paths); p++)
		for (u32 q = 0; q < COUNT(paths); q++) {
			print("%s %s:", names[p], names[q]);
			for (u32 f = 0; f < COUNT(flags); f++) {
				if (flags[f] == 4)
					continue;
				make();
				print(" %s", result_name(SYS(renameat2, AT_FDCWD, paths[p], AT_FDCWD, paths[q], flags[f])));
				clear();
			}
			print("\n");
		}
	return 0;
}
