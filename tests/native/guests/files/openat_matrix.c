/* SPDX-License-Identifier: GPL-2.0-or-later */
/* openat(2): each directory with each name with each flag. */
#include "native.h"

static const char *const paths[] = { NOWHERE, "", "file", "dir", "missing", "link", "dangling", "file/x", "dir/x", "dir/", "file/", ".", "/" };
static const char *const names[] = { "(bad)", "(empty)", "file", "dir", "missing", "link", "dangling", "file/x", "dir/x", "dir/", "file/", ".", "/" };
static const int flags[] = { O_RDONLY, O_WRONLY, O_RDONLY | O_CREAT | O_EXCL, O_DIRECTORY, O_PATH, O_PATH | O_NOFOLLOW, O_NOFOLLOW, O_TMPFILE | O_RDWR, O_CREAT | O_DIRECTORY, O_RDWR | O_TRUNC };

int main(void)
{
	int fds[4];
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	MUST(symlink, "file", "link");
	MUST(symlink, "nothing", "dangling");
	fds[0] = AT_FDCWD, fds[1] = MUST(open, "dir", O_RDONLY), fds[2] = MUST(open, "file", O_RDONLY), fds[3] = 99;
	for (u32 d = 0; d < COUNT(fds); d++)
		for (u32 p = 0; p < COUNT(paths); p++) {
			print("%s %s:", (const char *[]){ "here", "dir", "file", "none" }[d], names[p]);
			for (u32 f = 0; f < COUNT(flags); f++) {
				long fd = SYS(openat, fds[d], paths[p], flags[f], 0600);

				print(" %s", result_name(fd));
				if (fd >= 0)
					SYS(close, fd);
				if (fd >= 0 && (flags[f] & O_EXCL))
					SYS(unlinkat, fds[d], paths[p], 0);
			}
			print("\n");
		}
	return 0;
}
