/* SPDX-License-Identifier: GPL-2.0-or-later */
/* linkat(2): directories, names and flags, each with each. */
#include "native.h"

static const char *const paths[] = { NOWHERE, "", "file", "dir", "missing", "link", "file/x", "new" };
static const char *const names[] = { "(bad)", "(empty)", "file", "dir", "missing", "link", "file/x", "new" };
static const int flags[] = { 0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH, 1 };

int main(void)
{
	int fds[3];
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	MUST(symlink, "file", "link");
	fds[0] = AT_FDCWD, fds[1] = MUST(open, "file", O_RDONLY), fds[2] = 99;
	for (u32 d = 0; d < COUNT(fds); d++)
		for (u32 p = 0; p < COUNT(paths); p++)
			for (u32 e = 0; e < COUNT(fds); e++) {
				print("%u %s %u:", d, names[p], e);
				for (u32 q = 0; q < COUNT(paths); q++)
					for (u32 f = 0; f < COUNT(flags); f++) {
						long result = SYS(linkat, fds[d], paths[p], fds[e], paths[q], flags[f]);

						print(" %s", result_name(result));
						if (result == 0)
							MUST(unlinkat, fds[e], paths[q], 0);
					}
				print("\n");
			}
	return 0;
}
